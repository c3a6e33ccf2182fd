/*
 * files.c - files of blobs, looked at and moved for operations.
 *
 * Runs in the catalog: order and all decisions on the loop, one job at a time for each store on the
 * pool. Owns what waits for a look, and which finds count still. A crash leaves files that were
 * brought back from the trash without a record, which are orphans.
 */
#include "catalog/files.h"

#include "base/container.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/must.h"
#include "base/siphash.h"
#include "catalog/turn.h"

#include <stdlib.h>
#include <uthash.h>

/* Of one job: those behind it hear of a file of before it. */
#define LOOKS_MAX 128
/* What waits for one store, of what changes in all may wait (turn.c). */
#define ASKS_MAX  (TURN_QUEUE_MAX / 4)
#define BYTES_MAX (TURN_QUEUE_BYTES_MAX / 4)

/* A file that somebody has found, or looks for. */
struct file_watch {
    uint64_t id[2]; /* keyed hash of store and digest: strangers choose digests */
    uint64_t moves;
    size_t asks;
    UT_hash_handle hh;
};

TAILQ_HEAD(file_asks, file_ask);

struct lane {
    struct files *files;
    size_t place;
    struct store *store; /* its own: the loop may close the catalog's meanwhile */
    uint64_t epoch;      /* of the catalog's: files_doubt() */
    uint64_t opened;     /* the epoch in which `store` was */
    struct file_asks waiting, working;
    size_t count, bytes; /* of both */
    struct pool_job job;
    bool running, scheduled;
};

struct files {
    struct catalog *c;
    uint8_t seed[16];
    struct file_watch *watches;
    struct lane lanes[INDEX_STORES_MAX];
};

static struct file_watch *watch_of(const struct files *files, size_t store,
                                   const struct digest *digest, uint64_t id_r[2])
{
    struct file_watch *watch;

    siphash_128(files->seed, digest, sizeof(digest->alg) + digest_len(digest->alg), id_r);
    id_r[0] ^= store;
    HASH_FIND(hh, files->watches, id_r, sizeof(watch->id), watch);
    return watch;
}

static void watch_begin(struct files *files, struct file_ask *ask)
{
    uint64_t id[2];
    struct file_watch *watch = watch_of(files, ask->store, &ask->digest, id);

    if (!watch) {
        watch = mem_alloc(sizeof(*watch));
        memcpy(watch->id, id, sizeof(id));
        HASH_ADD(hh, files->watches, id, sizeof(watch->id), watch);
    }
    watch->asks++;
    ask->watch = watch;
    ask->moves = watch->moves;
    ask->epoch = files->lanes[ask->store].epoch;
}

void files_forget(struct files *files, struct file_ask *ask)
{
    struct file_watch *watch = ask->watch;

    ask->watch = NULL;
    if (!watch || --watch->asks > 0)
        return;
    HASH_DEL(files->watches, watch);
    free(watch);
}

bool files_holds(const struct files *files, const struct file_ask *ask)
{
    return ask->watch && ask->watch->moves == ask->moves &&
           ask->epoch == files->lanes[ask->store].epoch;
}

/* What was found of it does not hold from now on. */
static void moving(struct files *files, size_t store, const struct digest *digest)
{
    uint64_t id[2];
    struct file_watch *watch = watch_of(files, store, digest, id);

    if (watch)
        watch->moves++;
}

void files_doubt(struct files *files, size_t store)
{
    files->lanes[store].epoch++;
}

static void look(const struct store *store, struct file_ask *ask)
{
    ask->err = store_blob_size(store, &ask->digest, &ask->size);
    if (ask->task == FILE_BACK && ask->err == ERR_NOT_FOUND &&
        store_blob_back(store, &ask->digest) == 0)
        ask->err = store_blob_size(store, &ask->digest, &ask->size);
}

static void ask_work(const struct store *store, struct file_ask *ask)
{
    switch (ask->task) {
    case FILE_NONE:
    case FILE_PASS:
        break;
    case FILE_LOOK:
    case FILE_BACK:
        look(store, ask);
        break;
    case FILE_ASIDE:
        ask->err = store_blob_aside(store, &ask->digest);
        FAIL_POINT(catalog_gc_aside);
        break;
    case FILE_QUARANTINE:
        ask->err = store_blob_quarantine(store, &ask->digest, ask->fd);
        FAIL_POINT(catalog_quarantine);
        break;
    }
}

static void lane_work(struct pool_job *job)
{
    struct lane *lane = CONTAINER_OF(job, struct lane, job);
    struct file_ask *ask;

    TAILQ_FOREACH(ask, &lane->working, entry)
        ask_work(lane->store, ask);
    FAIL_POINT(catalog_file_looked);
}

static void lane_go(struct lane *lane);

static void deliver(struct lane *lane, struct file_asks *asks)
{
    struct file_ask *ask;

    while ((ask = TAILQ_FIRST(asks)) != NULL) {
        TAILQ_REMOVE(asks, ask, entry);
        lane->count--;
        lane->bytes -= ask->bytes;
        ask->done(ask);
    }
}

static void lane_done(struct pool_job *job)
{
    struct lane *lane = CONTAINER_OF(job, struct lane, job);

    deliver(lane, &lane->working);
    lane->running = false;
    lane_go(lane);
}

static void lane_begin(void *ctx)
{
    struct lane *lane = ctx;
    struct files *files = lane->files;
    struct file_ask *ask;

    lane->scheduled = false;
    if (lane->running || TAILQ_EMPTY(&lane->waiting) || files->c->stopping)
        return;
    if (!lane->store || lane->opened != lane->epoch) {
        store_free(&lane->store);
        lane->store = store_again(files->c->stores[lane->place]);
        lane->opened = lane->epoch;
    }
    for (size_t i = 0; i < LOOKS_MAX && (ask = TAILQ_FIRST(&lane->waiting)) != NULL; i++) {
        TAILQ_REMOVE(&lane->waiting, ask, entry);
        TAILQ_INSERT_TAIL(&lane->working, ask, entry);
    }
    lane->running = true;
    pool_submit(files->c->pool, &lane->job);
}

/* With all that comes in this round of the loop: they make one turn, as without a look. */
static void lane_go(struct lane *lane)
{
    if (lane->scheduled || lane->running || TAILQ_EMPTY(&lane->waiting))
        return;
    lane->scheduled = true;
    loop_after_round(lane->files->c->loop, lane_begin, lane);
}

/* What the kernel knows without the disk, it has for most pushes: they need no thread for it. */
static bool look_here(const struct lane *lane, struct file_ask *ask)
{
    if (FAIL_POINT(catalog_file_here) != 0)
        return false;
    ask->err =
        store_blob_size_cached(lane->files->c->stores[lane->place], &ask->digest, &ask->size);
    return ask->err == 0;
}

void files_ask(struct files *files, struct file_ask *ask)
{
    struct lane *lane = &files->lanes[ask->store];
    bool idle = !lane->running && TAILQ_EMPTY(&lane->waiting);
    bool finds = ask->task == FILE_LOOK || ask->task == FILE_BACK;

    MUST(ask->task != FILE_NONE);
    files_forget(files, ask);
    if (finds)
        watch_begin(files, ask);
    else if (ask->task != FILE_PASS)
        moving(files, ask->store, &ask->digest);
    if (idle && (ask->task == FILE_PASS || (finds && look_here(lane, ask)))) {
        ask->done(ask);
        return;
    }
    TAILQ_INSERT_TAIL(&lane->waiting, ask, entry);
    lane->count++;
    lane->bytes += ask->bytes;
    lane_go(lane);
}

bool files_crowded(const struct files *files, size_t store)
{
    return files->lanes[store].count >= ASKS_MAX || files->lanes[store].bytes >= BYTES_MAX;
}

void files_end(struct files *files)
{
    for (size_t i = 0; i < files->c->conf->store_count; i++) {
        struct lane *lane = &files->lanes[i];
        struct file_ask *ask;

        TAILQ_FOREACH(ask, &lane->waiting, entry)
            if (ask->task == FILE_ASIDE || ask->task == FILE_QUARANTINE)
                ask_work(files->c->stores[i], ask);
        deliver(lane, &lane->waiting);
    }
}

struct files *files_new(struct catalog *c)
{
    struct files *files = mem_alloc(sizeof(*files));

    files->c = c;
    file_random(files->seed, sizeof(files->seed));
    for (size_t i = 0; i < c->conf->store_count; i++) {
        struct lane *lane = &files->lanes[i];

        lane->files = files;
        lane->place = i;
        lane->job = (struct pool_job){.work = lane_work, .done = lane_done};
        TAILQ_INIT(&lane->waiting);
        TAILQ_INIT(&lane->working);
    }
    return files;
}

void files_free(struct files **files_p)
{
    struct files *files = *files_p;

    *files_p = NULL;
    MUST(!files->watches);
    for (size_t i = 0; i < files->c->conf->store_count; i++)
        store_free(&files->lanes[i].store);
    free(files);
}
