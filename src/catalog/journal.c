/*
 * journal.c - the blob stores' journals, written by the catalog.
 *
 * Runs in the catalog. Owns the journals' lines between a turn and the file, and their thread. A
 * crash loses lines, which the numbers in the database tell (meta/witness.h).
 */
#include "catalog/journal.h"

#include "base/container.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "catalog/journal_one.h"
#include "catalog/lacks.h"
#include "meta/witness.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SYNC_MS 1000
/* After a failure; doubled by each further one. */
#define RETRY_MS     2000
#define RETRY_MAX_MS 256000
/* Of lines that could not be written yet; beyond it the journal is made anew later. */
#define WAITING_MAX (8u << 20)

static void next(struct journal *j);

const char *journal_name(const struct journal *j)
{
    return j->all->c->conf->stores[j->place].name;
}

static void wait_reset(struct journal *j)
{
    str_reset(&j->wait);
    j->wait_count = 0;
}

void journal_state(struct journal *j, enum journal_health state)
{
    if (j->walk && meta_walk_end(&j->walk) != 0)
        log_warn("cannot read the database for a journal", "store=%s", journal_name(j));
    db_close(&j->from);
    str_reset(&j->tail);
    j->tail_count = 0;
    j->kind = META_NONE;
    j->state = state;
    if (state == JOURNAL_KEPT) {
        j->told = false;
        j->retry_ms = RETRY_MS;
    }
}

void journal_failed(struct journal *j, int err)
{
    if (!j->told)
        log_warn("cannot write the journal of a blob store: pushes go on without it, and it is "
                 "tried again",
                 "store=%s path=%s err=%s", journal_name(j),
                 log_quote(j->all->c->conf->stores[j->place].path),
                 log_quote(journal_err_text(err)));
    j->told = true;
    j->ignore = j->running;
    journal_state(j, JOURNAL_FAILED);
    wait_reset(j);
    if (!j->all->closing)
        loop_timer_set(j->all->c->loop, &j->retry, j->retry_ms);
    if (j->retry_ms < RETRY_MAX_MS)
        j->retry_ms *= 2;
}

static void retry_due(struct loop_timer *timer)
{
    struct journal *j = CONTAINER_OF(timer, struct journal, retry);

    if (j->state != JOURNAL_FAILED)
        return;
    journal_state(j, JOURNAL_CHECKING);
    next(j);
}

void journal_submit(struct journal *j, enum journal_task task)
{
    j->work.task = task;
    j->running = true;
    pool_submit(j->all->pool, &j->work.job);
}

static void check(struct journal *j)
{
    const struct catalog *c = j->all->c;
    struct journal_work *w = &j->work;

    store_free(&w->store);
    w->store = store_again(c->stores[j->place]);
    strcpy(w->database, c->meta.identity.id);
    strcpy(w->identity, c->store_ids[j->place]);
    j->checked = j->number - j->wait_count;
    journal_submit(j, JOURNAL_CHECK);
}

static void next(struct journal *j)
{
    if (j->running)
        return;
    if (j->wait.len > 0 && j->work.there) {
        struct str swap = j->work.out;

        str_reset(&swap);
        j->work.out = j->wait;
        j->wait = swap;
        j->wait_count = 0;
        journal_submit(j, JOURNAL_APPEND);
    } else if (j->due && j->work.there) {
        j->due = j->unsynced = false;
        journal_submit(j, JOURNAL_SYNC);
    } else if (j->all->closing) {
        return;
    } else if (j->state == JOURNAL_CHECKING) {
        check(j);
    } else if (j->state == JOURNAL_MAKING) {
        journal_make(j);
    } else if (j->state == JOURNAL_KEPT && journal_long_winded(j)) {
        journal_state(j, JOURNAL_MAKING);
        journal_make(j);
    }
}

static void sync_due(struct loop_timer *timer)
{
    struct journals *js = CONTAINER_OF(timer, struct journals, sync);

    js->sync_set = false;
    for (size_t i = 0; i < js->c->conf->store_count; i++) {
        js->list[i].due = js->list[i].unsynced;
        next(&js->list[i]);
    }
}

static void appended(struct journal *j)
{
    struct journals *js = j->all;

    j->unsynced = true;
    if (js->closing) {
        j->due = true;
    } else if (!js->sync_set) {
        js->sync_set = true;
        loop_timer_set(js->c->loop, &js->sync, SYNC_MS);
    }
}

/* The whole file was read. */
static void checked(struct journal *j)
{
    const struct journal_file *f = &j->work.file;
    bool here = j->work.there;
    const char *reason = f->bad > 0 || f->torn ? "damaged" : "behind";

    j->lines = f->lines;
    if (here && journal_ahead(f, j->checked)) {
        j->work.there = false; /* nothing is added to it */
        wait_reset(j);
        lacks_found(j->all->c, j->place, j->checked, f->last);
        return;
    }
    if (here && journal_whole(f) && !f->torn && f->last == j->checked) {
        journal_state(j, JOURNAL_KEPT);
        return;
    }
    log_notice("the journal of a blob store is written anew", "store=%s reason=%s", journal_name(j),
               here            ? reason
               : j->work.aside ? "foreign"
                               : "missing");
    j->work.there = false;
    wait_reset(j);
    journal_state(j, JOURNAL_MAKING);
}

static void done(struct pool_job *job)
{
    struct journal *j = CONTAINER_OF(job, struct journal, work.job);
    enum journal_task task = j->work.task;
    int err = j->work.err;

    j->running = false;
    if (j->ignore) {
        j->ignore = false;
    } else if (err != 0) {
        journal_failed(j, err);
        return;
    } else if (task == JOURNAL_CHECK) {
        checked(j);
    } else if (task == JOURNAL_PLACE) {
        struct str tail = j->tail;

        j->tail = j->wait; /* for an older file */
        j->wait = tail;
        j->wait_count = j->tail_count;
        journal_state(j, JOURNAL_KEPT);
    }
    if (task == JOURNAL_APPEND)
        appended(j);
    next(j);
}

struct journals *journals_new(struct catalog *c)
{
    struct journals *js = mem_alloc(sizeof(*js));

    js->c = c;
    js->sync.fire = sync_due;
    js->list = mem_alloc_array(c->conf->store_count + 1, sizeof(*js->list));
    MUST(pool_new(c->loop, 1, &js->pool) == 0);
    for (size_t i = 0; i < c->conf->store_count; i++) {
        struct journal *j = &js->list[i];

        j->all = js;
        j->place = i;
        j->retry_ms = RETRY_MS;
        j->retry.fire = retry_due;
        journal_work_init(&j->work);
        j->work.job.done = done;
    }
    return js;
}

void journals_free(struct journals **js_p)
{
    struct journals *js = *js_p;

    *js_p = NULL;
    js->closing = true;
    loop_timer_cancel(js->c->loop, &js->sync);
    for (size_t i = 0; i < js->c->conf->store_count; i++) {
        js->list[i].due = js->list[i].unsynced;
        next(&js->list[i]);
    }
    pool_free(&js->pool);
    for (size_t i = 0; i < js->c->conf->store_count; i++) {
        struct journal *j = &js->list[i];

        loop_timer_cancel(js->c->loop, &j->retry);
        journal_state(j, JOURNAL_OFF);
        journal_work_free(&j->work);
        str_free(&j->turn);
        str_free(&j->wait);
        str_free(&j->tail);
    }
    free(js->list);
    free(js);
}

static void begin(struct journal *j)
{
    struct catalog *c = j->all->c;

    if (witness_number(c->db, c->conf->stores[j->place].key, &j->number) != 0)
        j->number = 0; /* what cannot be read is not relied on */
    j->turned = j->number;
    if (!store_is_open(c->stores[j->place]))
        return;
    if (!j->work.there && !j->running)
        wait_reset(j);
    journal_state(j, JOURNAL_CHECKING);
    next(j);
}

void journals_begin(struct journals *js)
{
    for (size_t i = 0; i < js->c->conf->store_count; i++)
        if (js->list[i].state == JOURNAL_OFF)
            begin(&js->list[i]);
}

void journals_suspend(struct journals *js)
{
    for (size_t i = 0; i < js->c->conf->store_count; i++) {
        struct journal *j = &js->list[i];

        j->ignore = j->running;
        journal_state(j, JOURNAL_OFF);
    }
}

static void collect(void *ctx, const struct meta_key *key, const struct db_change *change)
{
    struct journals *js = ctx;
    struct journal_line line;
    size_t place = 0, store = SIZE_MAX;

    if (!witness_line(key, change->now, change->now_len, &line))
        return;
    if (catalog_repo(js->c, line.repo, &place) == 0)
        store = catalog_store_of(js->c, place);
    for (size_t i = 0; i < js->c->conf->store_count; i++) {
        struct journal *j = &js->list[i];

        if (store != SIZE_MAX && store != i)
            continue;
        line.number = ++j->turned;
        journal_put(&j->turn, &line);
    }
}

void journals_turn(struct journals *js)
{
    meta_batch_since(js->c->db, META_MANIFEST, 0, collect, js);
    meta_batch_since(js->c->db, META_TAG, 0, collect, js);
    for (size_t i = 0; i < js->c->conf->store_count; i++)
        if (js->list[i].turned != js->list[i].number)
            witness_number_put(js->c->db, js->c->conf->stores[i].key, js->list[i].turned);
}

/* The lines of a turn that is durable now: to those that wait to be appended to the file that is
 * there, and to the tail of the one that is being made anew. */
static void keep(struct journal *j, uint64_t count)
{
    if (j->state == JOURNAL_MAKING) {
        str_append(&j->tail, j->turn.data, j->turn.len);
        j->tail_count += count;
    }
    if (j->state == JOURNAL_KEPT || j->state == JOURNAL_CHECKING ||
        (j->state == JOURNAL_MAKING && j->work.there)) {
        str_append(&j->wait, j->turn.data, j->turn.len);
        j->wait_count += count;
    }
    j->lines += count;
}

void journals_turn_done(struct journals *js, int err)
{
    for (size_t i = 0; i < js->c->conf->store_count; i++) {
        struct journal *j = &js->list[i];

        if (err == 0 && j->turn.len > 0)
            keep(j, j->turned - j->number);
        if (err == 0)
            j->number = j->turned;
        else
            j->turned = j->number;
        str_reset(&j->turn);
        if (j->wait.len > WAITING_MAX || j->tail.len > WAITING_MAX)
            journal_failed(j, ERR_BUSY);
        else
            next(j);
    }
}

enum journal_health journals_health(const struct journals *js, size_t store)
{
    return js->list[store].state;
}

bool journals_doubtful(const struct journals *js, size_t store)
{
    const struct journal *j = &js->list[store];

    return j->state == JOURNAL_OFF || j->state == JOURNAL_CHECKING;
}
