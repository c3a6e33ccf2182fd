/*
 * trash.c - empties the trash of all stores.
 *
 * Runs in the catalog; the files go on a pool thread, one walk at a time. A crash here leaves
 * files in the trash, for the next time.
 */
#include "catalog/trash.h"

#include "base/container.h"
#include "base/fail.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdlib.h>

/* Longer than any worker's question may be under way. */
#define TRASH_MS 60000

struct trash {
    struct catalog *c;
    struct loop_timer timer;
    struct pool_job job;
    bool busy;
};

static void empty_work(struct pool_job *job)
{
    struct catalog *c = CONTAINER_OF(job, struct trash, job)->c;

    for (size_t i = 0; i < c->conf->store_count; i++)
        if (store_is_open(c->stores[i]) && store_trash_empty(c->stores[i], TRASH_MS) != 0)
            log_warn("cannot look through the trash", "store=%s", c->conf->stores[i].name);
    FAIL_POINT(catalog_gc_emptied);
}

static void empty_done(struct pool_job *job)
{
    CONTAINER_OF(job, struct trash, job)->busy = false;
}

static void empty_due(struct loop_timer *timer)
{
    trash_empty(CONTAINER_OF(timer, struct trash, timer));
}

void trash_empty(struct trash *trash)
{
    if (trash->busy)
        return;
    trash->busy = true;
    pool_submit_slow(trash->c->pool, &trash->job);
}

void trash_empty_later(struct trash *trash)
{
    loop_timer_set(trash->c->loop, &trash->timer, TRASH_MS + 1000);
}

struct trash *trash_new(struct catalog *c)
{
    struct trash *trash = mem_alloc(sizeof(*trash));

    trash->c = c;
    trash->timer.fire = empty_due;
    trash->job = (struct pool_job){.work = empty_work, .done = empty_done};
    return trash;
}

void trash_free(struct trash **trash)
{
    loop_timer_cancel((*trash)->c->loop, &(*trash)->timer);
    free(*trash);
    *trash = NULL;
}
