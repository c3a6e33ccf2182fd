/*
 * orphans.c - files of blobs without a record.
 *
 * Runs in the catalog: one piece of a store's list at a time is read by a thread; then, between two
 * turns, it is decided which of its files no record knows. Owns the state of the walk, nothing
 * durable: after a crash it begins anew.
 */
#include "catalog/orphans.h"

#include "base/container.h"
#include "base/log.h"
#include "base/mem.h"
#include "catalog/journal.h"
#include "catalog/sweep.h"
#include "catalog/turn.h"
#include "ipc/msg_operator.h"
#include "store/belong.h"

#include <stdlib.h>
#include <string.h>

/* A slow walk over a store takes a day. */
#define STEP_MS   (24u * 3600 * 1000 / STORE_LIST_PIECES)
#define FOUND_MAX 4096
/* More than a count has found, before a walk that takes stops. */
#define MORE 8

enum walk {
    WALK_COUNT, /* how many are there? */
    WALK_FEW,   /* takes them where they are few */
    WALK_ALL,   /* somebody has said so */
};

struct count {
    uint64_t files, unknown, bytes; /* of the last count; bytes: of the unknown */
    uint64_t taken;                 /* by the running walk, those that are moving, too */
    bool told;
};

struct orphan {
    struct file_ask ask;
    struct orphans *all;
    uint64_t size;
};

struct orphans {
    struct catalog *c;
    struct loop_timer timer;
    struct turn_task task;
    struct pool_job job;
    bool busy;
    /* The walk that runs, and the one that was asked for meanwhile: it takes over at the next
     * piece of the list. */
    struct course {
        enum walk walk;
        bool fast; /* without waiting between pieces */
        bool few;  /* when it has counted, another one takes what is few */
    } now, asked;
    bool has_asked;
    size_t store; /* whose list it is at */
    struct store_cursor cursor;
    struct store_found *found;
    size_t found_count;
    struct orphan *orphans; /* of `found`, those that go; NULL: none do */
    size_t orphan_count, moving;
    struct count counts[INDEX_STORES_MAX], counting[INDEX_STORES_MAX];
    uint64_t counted; /* walks that counted, since the start */
    uint64_t taken, taken_bytes;
};

/* On a thread: the next piece of what is older than gc_grace. Files that come while it walks are
 * younger. */
static void list_work(struct pool_job *job)
{
    struct orphans *o = CONTAINER_OF(job, struct orphans, job);
    const struct store *store = o->c->stores[o->store];

    o->found_count = 0;
    if (store_blobs_list(store, &o->cursor, o->c->conf->gc_grace_ms, o->found, FOUND_MAX,
                         &o->found_count) != 0 &&
        store_is_open(store))
        log_warn("cannot look through a directory of blobs", NULL);
}

/* May a walk that nobody asked for take anything of this store? */
static bool may_take(const struct orphans *o, size_t store)
{
    const struct catalog *c = o->c;
    const struct count *n = &o->counts[store];

    /* A database that lacks changes may lack the records of these very files. */
    return !journals_doubtful(c->journals, store) &&
           belong_orphans_few(c->meta.identity.created_s, c->store_created_s[store], n->files,
                              n->unknown);
}

static void tell_held(struct orphans *o)
{
    for (size_t i = 0; i < o->c->conf->store_count; i++) {
        struct count *n = &o->counts[i];
        bool held = n->unknown > 0 && !may_take(o, i);

        if (held && !n->told)
            log_warn("files in a blob store have no record in the database: too many to be what a "
                     "crash left, or older than the database, or the database lacks changes. They "
                     "are left alone; see entrepotctl gc --orphans",
                     "store=%s files=%llu of=%llu bytes=%llu", o->c->conf->stores[i].name,
                     (unsigned long long)n->unknown, (unsigned long long)n->files,
                     (unsigned long long)n->bytes);
        n->told = held;
    }
}

static void course_begin(struct orphans *o, struct course course)
{
    o->now = course;
    o->store = 0;
    o->cursor = (struct store_cursor){0};
    memset(o->counting, 0, sizeof(o->counting));
    for (size_t i = 0; i < o->c->conf->store_count; i++)
        o->counts[i].taken = 0;
}

/* The walk has seen everything. */
static void walk_end(struct orphans *o)
{
    struct course next = {.walk = WALK_COUNT, .few = true};

    if (o->now.walk == WALK_COUNT) {
        for (size_t i = 0; i < o->c->conf->store_count; i++) {
            o->counting[i].told = o->counts[i].told;
            o->counts[i] = o->counting[i];
        }
        o->counted++;
        tell_held(o);
        if (o->now.few)
            next = (struct course){.walk = WALK_FEW, .fast = o->now.fast};
    } else if (o->now.walk == WALK_ALL) {
        next.fast = true; /* so that what is left is told */
        next.few = false;
    }
    course_begin(o, next);
}

static void step_next(struct orphans *o)
{
    o->busy = false;
    if (o->has_asked) {
        o->has_asked = false;
        course_begin(o, o->asked);
    } else if (o->cursor.end) {
        o->cursor = (struct store_cursor){0};
        if (++o->store == o->c->conf->store_count)
            walk_end(o);
    }
    loop_timer_set(o->c->loop, &o->timer, o->now.fast ? 0 : STEP_MS);
}

static void listed(struct pool_job *job)
{
    struct orphans *o = CONTAINER_OF(job, struct orphans, job);

    if (o->found_count == 0)
        step_next(o);
    else
        turn_add_task(o->c->turn, &o->task);
}

static void task_run(struct turn_task *task)
{
    (void)task; /* nothing to change: it only takes its place in the order */
}

static void orphan_moved(struct file_ask *ask)
{
    const struct orphan *orphan = CONTAINER_OF(ask, struct orphan, ask);
    struct orphans *o = orphan->all;

    if (ask->err == 0) {
        o->taken++;
        o->taken_bytes += orphan->size;
    }
    if (--o->moving > 0)
        return;
    free(o->orphans);
    o->orphans = NULL;
    step_next(o);
}

static void take(struct orphans *o, size_t store, const struct store_found *found)
{
    struct count *n = &o->counts[store];

    /* More than were counted: something happens here that nobody has looked at. */
    if (o->now.walk == WALK_FEW && (!may_take(o, store) || n->taken > n->unknown + MORE))
        return;
    n->taken++;
    if (!o->orphans)
        o->orphans = mem_alloc_array(o->found_count, sizeof(*o->orphans));
    o->orphans[o->orphan_count++] = (struct orphan){
        .ask = {.task = FILE_ASIDE, .store = store, .digest = found->digest, .done = orphan_moved},
        .all = o,
        .size = found->size};
}

/* Between two turns, like the files of a sweep. */
static void task_done(struct turn_task *task, int err)
{
    struct orphans *o = CONTAINER_OF(task, struct orphans, task);
    size_t store = o->store;

    o->orphan_count = 0;
    for (size_t i = 0; err == 0 && i < o->found_count; i++) {
        const struct store_found *found = &o->found[i];
        bool unknown = sweep_unknown(o->c, store, &found->digest);

        o->counting[store].files++;
        if (!unknown)
            continue;
        o->counting[store].unknown++;
        o->counting[store].bytes += found->size;
        if (o->now.walk != WALK_COUNT)
            take(o, store, found);
    }
    o->moving = o->orphan_count;
    if (o->moving == 0)
        step_next(o);
    for (size_t i = 0; i < o->orphan_count; i++)
        files_ask(o->c->files, &o->orphans[i].ask);
}

static void step_due(struct loop_timer *timer)
{
    struct orphans *o = CONTAINER_OF(timer, struct orphans, timer);

    if (o->busy)
        return;
    o->busy = true;
    pool_submit(o->c->pool, &o->job);
}

/* Begins with the next piece. Whoever wants all taken is not overruled by who wants less. */
static void ask_for(struct orphans *o, struct course course)
{
    if (o->has_asked && o->asked.walk == WALK_ALL)
        return;
    o->asked = course;
    o->has_asked = true;
    if (!o->busy)
        step_next(o);
}

struct orphans *orphans_new(struct catalog *c)
{
    struct orphans *o = mem_alloc(sizeof(*o));

    o->c = c;
    o->now = (struct course){.walk = WALK_COUNT, .few = true};
    o->timer.fire = step_due;
    o->task = (struct turn_task){.run = task_run, .done = task_done};
    o->job = (struct pool_job){.work = list_work, .done = listed};
    o->found = mem_alloc_array(FOUND_MAX, sizeof(*o->found));
    return o;
}

void orphans_free(struct orphans **o_p)
{
    struct orphans *o = *o_p;

    *o_p = NULL;
    loop_timer_cancel(o->c->loop, &o->timer);
    free(o->found);
    free(o->orphans);
    free(o);
}

void orphans_start(struct orphans *o)
{
    loop_timer_set(o->c->loop, &o->timer, STEP_MS);
}

void orphans_hurry(struct orphans *o)
{
    ask_for(o, (struct course){.walk = WALK_COUNT, .fast = true, .few = true});
}

void orphans_stats(const struct orphans *o, struct stats_gc *stats)
{
    stats->running = stats->running || o->has_asked || o->now.fast;
    stats->orphans = o->taken;
    stats->bytes += o->taken_bytes;
    stats->orphan_counts = o->counted;
    stats->orphans_left = stats->orphans_left_bytes = 0;
    for (size_t i = 0; i < o->c->conf->store_count; i++) {
        stats->orphans_left += o->counts[i].unknown;
        stats->orphans_left_bytes += o->counts[i].bytes;
    }
}

void orphans_op(struct catalog *c, struct msg_reader *question, struct msg_writer *answer)
{
    bool all = operator_orphans_get(question);
    int err = msg_end(question);

    if (err == 0)
        ask_for(c->orphans, (struct course){.walk = all ? WALK_ALL : WALK_COUNT, .fast = true});
    reply_err_put(answer, err);
}
