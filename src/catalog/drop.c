/*
 * drop.c - all that a repository holds goes, whether or not it has a section.
 *
 * Runs in the catalog as a row of turn tasks of bounded size: an image's tags, then its
 * manifests, then its links, then the next image. Bytes that nobody else holds go to the
 * trash. Each slice leaves a database without contradictions; a crash ends the row, and
 * who asked begins it again.
 */
#include "catalog/drop.h"

#include "base/container.h"
#include "base/fail.h"
#include "base/log.h"
#include "base/mem.h"
#include "catalog/held.h"
#include "catalog/ops.h"
#include "catalog/sweep.h"
#include "catalog/turn.h"

#include <stdlib.h>
#include <string.h>

/* Records one slice takes away; a manifest counts as many as it names. */
#define SLICE 64

struct drop {
    struct catalog *c;
    struct turn_task task;
    struct sweep sweep; /* the files of a slice */
    char *repo;         /* the last one that was dropped, or is */
    size_t left;        /* of the slice */
    enum stats_drop state;
    bool finished; /* nothing was left for the last slice */
};

/* It may lie in a store that is not the one of its section, or of none any more. */
static void release(struct drop *d, const struct meta_key *key)
{
    const struct conf *conf = d->c->conf;
    const struct holding *holding = held_holding(d->c->held, d->repo);
    struct meta_key holder = meta_holder("", &key->digest, key->kind, d->repo, key->image);

    if (holding) {
        holder.store = holding->store;
        meta_delete(d->c->db, holder);
    }
    for (size_t i = 0; i < conf->store_count; i++) {
        bool named = holding && strcmp(holding->store, conf->stores[i].name) == 0;

        holder.store = conf->stores[i].key;
        if (!named && !meta_has(d->c->db, holder))
            continue;
        meta_delete(d->c->db, holder);
        sweep_bytes(&d->sweep, i, &key->digest);
    }
}

/* The record on which the walk stands, and what follows from it; a damaged one goes all the same.
 */
static void drop_one(struct drop *d, struct meta_walk *walk, const struct meta_key *key)
{
    size_t len, names;
    const char *value = meta_walk_value(walk, &len);
    struct record_manifest manifest;
    struct record_tag tag;

    if (key->kind == META_TAG && record_tag_decode(value, len, &tag) == 0) {
        meta_tag_delete(d->c->db, *key, &tag.digest);
    } else if (key->kind == META_MANIFEST &&
               record_manifest_decode(value, len, turn_arena(d->c->turn), &manifest) == 0) {
        names = manifest.contents.ref_count;
        meta_manifest_delete(d->c->db, *key, &manifest);
        d->left -= d->left < names ? d->left : names;
    } else {
        meta_walk_delete(walk);
    }
    if (key->kind == META_MANIFEST || key->kind == META_LINK)
        release(d, key);
}

/* What an image has of a kind, whatever it is. True: nothing is left. */
static bool drop_kind(struct drop *d, enum meta_kind kind, const char *image)
{
    struct meta_walk *walk = meta_walk_new(d->c->db, meta_of_image(kind, d->repo, image), NULL);
    struct meta_key key;
    bool more;

    while ((more = meta_walk_step(walk, &key)) && d->left > 0 &&
           d->sweep.file_count < SWEEP_SLICE) {
        d->left--;
        drop_one(d, walk, &key);
    }
    return meta_walk_end(&walk) == 0 && !more;
}

/* The first image that is left, or NULL. */
static const char *next_image(struct drop *d)
{
    struct meta_walk *walk = meta_walk_new(d->c->db, meta_image(d->repo, NULL), NULL);
    const char *image = NULL;
    struct meta_key key;

    if (meta_walk_next(walk, &key))
        image = mem_arena_strdup(turn_arena(d->c->turn), key.image);
    d->finished = meta_walk_end(&walk) == 0 && !image; /* else the turn fails */
    return image;
}

static void drop_run(struct turn_task *task)
{
    struct drop *d = CONTAINER_OF(task, struct drop, task);
    const char *image = next_image(d);

    sweep_anew(&d->sweep);
    d->left = SLICE;
    if (image && drop_kind(d, META_TAG, image) && drop_kind(d, META_MANIFEST, image) &&
        drop_kind(d, META_LINK, image))
        meta_delete(d->c->db, meta_image(d->repo, image));
}

static void drop_moved(struct sweep *sweep)
{
    struct drop *d = CONTAINER_OF(sweep, struct drop, sweep);

    if (!d->finished) {
        turn_add_task(d->c->turn, &d->task);
        return;
    }
    log_notice("audit", "event=repo-dropped repo=%s", log_quote(d->repo));
    d->state = STATS_DROP_DONE;
}

static void drop_done(struct turn_task *task, int err)
{
    struct drop *d = CONTAINER_OF(task, struct drop, task);

    if (err != 0) {
        d->state = STATS_DROP_FAILED;
        return;
    }
    FAIL_POINT(catalog_drop_written);
    sweep_files(&d->sweep, drop_moved);
}

static void drop_begin(struct drop *d, const char *repo)
{
    free(d->repo);
    d->repo = mem_strdup(repo);
    d->sweep.c = d->c;
    d->state = STATS_DROP_RUNNING;
    log_notice("audit", "event=repo-drop repo=%s", log_quote(repo));
    turn_add_task(d->c->turn, &d->task);
}

void drop_op(struct catalog *c, struct msg_reader *question, struct msg_writer *answer)
{
    struct drop *d = c->drop;
    bool running = d->state == STATS_DROP_RUNNING, ours;
    struct operator_dropped told = {.state = STATS_DROP_NONE};
    struct operator_drop q;
    int err;

    operator_drop_get(question, &q);
    err = msg_end(question);
    ours = err == 0 && d->repo && strcmp(d->repo, q.repo) == 0;
    if (err == 0 && !op_repo_stats_of(c, q.repo, &told.stats))
        err = ERR_NOT_FOUND;
    if (err == 0 && told.stats.kind == CONF_GROUP)
        err = ERR_UNSUPPORTED;
    if (err == 0 && q.begin && running && !ours)
        err = ERR_BUSY;
    reply_err_put(answer, err);
    if (err != 0)
        return;
    if (q.begin && !running) {
        drop_begin(d, q.repo);
        ours = true;
    }
    if (ours)
        told.state = (uint8_t)d->state;
    operator_dropped_put(answer, &told);
}

struct drop *drop_new(struct catalog *c)
{
    struct drop *d = mem_alloc(sizeof(*d));

    d->c = c;
    d->task = (struct turn_task){.run = drop_run, .done = drop_done};
    return d;
}

void drop_free(struct drop **drop_p)
{
    free((*drop_p)->repo);
    free(*drop_p);
    *drop_p = NULL;
}
