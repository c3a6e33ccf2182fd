/*
 * held.c - the catalog's side of conf/holdings.h, and what nobody's repositories hold.
 *
 * Runs in the catalog. Owns the list of repositories that hold something. A repository is
 * in the file before its first content is in the database, and leaves it in a turn after
 * its last: a crash in between leaves one too many, which the next start corrects.
 */
#include "catalog/held.h"

#include "base/container.h"
#include "base/fail.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

struct held {
    struct catalog *c;
    struct holdings holdings; /* what the file says, or shall say after this turn */
    bool *listed;             /* by place in conf->repos: is in there */
    struct held_unowned *unowned;
    size_t unowned_count;
    struct turn_task task; /* changes nothing: it brings a turn about */
    struct str text;       /* being written */
    bool needed;           /* a failure to write fails the turn */
    bool pending;          /* the task waits */
};

static void task_run(struct turn_task *task)
{
    (void)task;
}

static void task_done(struct turn_task *task, int err)
{
    struct held *held = CONTAINER_OF(task, struct held, task);

    (void)err; /* the file names one too many until the next change */
    held->pending = false;
}

struct held *held_new(struct catalog *c)
{
    struct held *held = mem_alloc(sizeof(*held));

    held->c = c;
    held->listed = mem_alloc_array(c->conf->repo_count + 1, sizeof(*held->listed));
    held->task = (struct turn_task){.run = task_run, .done = task_done};
    return held;
}

static void unowned_free(struct held *held)
{
    for (size_t i = 0; i < held->unowned_count; i++)
        free(held->unowned[i].name);
    free(held->unowned);
    held->unowned = NULL;
    held->unowned_count = 0;
}

void held_free(struct held **held_p)
{
    struct held *held = *held_p;

    *held_p = NULL;
    unowned_free(held);
    holdings_free(&held->holdings);
    str_free(&held->text);
    free(held->listed);
    free(held);
}

void held_count_begin(struct held *held)
{
    unowned_free(held);
}

struct held_unowned *held_unowned_find(struct held *held, const char *repo)
{
    for (size_t i = held->unowned_count; i-- > 0;) /* the same one comes again and again */
        if (strcmp(held->unowned[i].name, repo) == 0)
            return &held->unowned[i];
    return NULL;
}

struct catalog_count *held_count(struct held *held, const char *repo)
{
    struct held_unowned *u = held_unowned_find(held, repo);

    if (!u) {
        held->unowned = mem_room(held->unowned, held->unowned_count, sizeof(*held->unowned));
        u = &held->unowned[held->unowned_count++];
        *u = (struct held_unowned){.name = mem_strdup(repo)};
    }
    return &u->count;
}

const struct held_unowned *held_unowned(const struct held *held, size_t at)
{
    return at < held->unowned_count ? &held->unowned[at] : NULL;
}

const struct holding *held_holding(const struct held *held, const char *repo)
{
    return holdings_find(&held->holdings, repo);
}

static bool empty(const struct catalog_count *count)
{
    return count->images <= 0 && count->manifests <= 0 && count->blobs <= 0 && count->tags <= 0;
}

/* Makes the list name the repositories that hold something, and no others. What it says of one that
 * was named already stays, except the name and path of its store, which may have changed. */
static void fit(struct held *held)
{
    const struct conf *conf = held->c->conf;
    struct holdings *h = &held->holdings;

    holdings_follow(h, conf);
    for (size_t i = 0; i < conf->repo_count; i++) {
        bool named = holdings_find(h, conf->repos[i].name) != NULL;

        held->listed[i] = !empty(&held->c->counts[i]);
        if (held->listed[i] && !named)
            holdings_add(h, conf->repos[i].name, &conf->repos[i]);
        else if (!held->listed[i] && named)
            holdings_remove(h, conf->repos[i].name);
    }
    for (size_t i = 0; i < held->unowned_count; i++)
        if (!holdings_find(h, held->unowned[i].name))
            holdings_add(h, held->unowned[i].name, NULL);
    for (size_t i = h->count; i-- > 0;)
        if (!conf_repo_by_name(conf, h->list[i].name, strlen(h->list[i].name)) &&
            !held_unowned_find(held, h->list[i].name))
            holdings_remove(h, h->list[i].name);
}

void held_settle(struct held *held)
{
    struct str before = {0};
    int err;

    holdings_free(&held->holdings); /* of before the database was opened again */
    err = holdings_read(held->c->conf->data_dir, &held->holdings);

    if (err == ERR_DAMAGED)
        log_warn("the list of repositories that hold something is damaged and made anew", NULL);
    holdings_text(&held->holdings, &before);
    fit(held);
    str_reset(&held->text);
    holdings_text(&held->holdings, &held->text);
    if (err != 0 || strcmp(before.data, held->text.data) != 0)
        err = holdings_write(held->c->conf->data_dir, &held->text);
    if (err != 0)
        log_error("cannot write the list of repositories that hold something", "err=%s",
                  log_quote(err_text(err)));
    str_free(&before);
    for (size_t i = 0; i < held->unowned_count; i++) {
        const struct held_unowned *u = &held->unowned[i];

        log_warn("a repository holds images and has no section: they are kept and not served; "
                 "give it its section back, or entrepotctl repo drop deletes them",
                 "repository=%s images=%lld bytes=%lld", log_quote(u->name),
                 (long long)u->count.images, (long long)u->count.bytes);
    }
}

bool held_turn(struct held *held)
{
    const struct conf *conf = held->c->conf;
    bool stale = false;

    held->needed = false;
    for (size_t i = 0; i < conf->repo_count; i++) {
        bool adds = turn_adds_images(held->c->turn, i);

        if (adds && !held->listed[i]) {
            holdings_add(&held->holdings, conf->repos[i].name, &conf->repos[i]);
            held->listed[i] = stale = held->needed = true;
        } else if (!adds && held->listed[i] && empty(&held->c->counts[i])) {
            holdings_remove(&held->holdings, conf->repos[i].name);
            held->listed[i] = false;
            stale = true;
        }
    }
    for (size_t i = held->unowned_count; i-- > 0;) {
        struct held_unowned *u = &held->unowned[i];

        if (!empty(&u->count))
            continue;
        holdings_remove(&held->holdings, u->name);
        free(u->name);
        *u = held->unowned[--held->unowned_count];
        stale = true;
    }
    if (stale) {
        str_reset(&held->text);
        holdings_text(&held->holdings, &held->text);
    }
    return stale;
}

int held_write(struct held *held)
{
    int err = holdings_write(held->c->conf->data_dir, &held->text);

    FAIL_POINT(catalog_held_written);
    if (err != 0 && held->needed)
        log_error("cannot write which repositories hold something: the change is refused",
                  "path=%s/catalog err=%s", log_quote(held->c->conf->data_dir),
                  log_quote(err_text(err)));
    return held->needed ? err : 0;
}

void held_written(struct held *held, int err)
{
    bool stale = false;

    if (err != 0 || held->pending)
        return;
    for (size_t i = 0; i < held->c->conf->repo_count; i++)
        stale = stale || (held->listed[i] && empty(&held->c->counts[i]));
    for (size_t i = 0; i < held->unowned_count; i++)
        stale = stale || empty(&held->unowned[i].count);
    if (!stale)
        return;
    held->pending = true;
    turn_add_task(held->c->turn, &held->task);
}
