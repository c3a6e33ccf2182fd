/*
 * whereabouts.c - is each blob store still where the configuration says?
 *
 * Runs in the catalog: a thread looks each second, for a path may lead to a disk that does not
 * answer. A lazy unmount, a directory that was moved or one that was mounted over leave us with a
 * file system that nobody else sees and no successor of ours would find: what is there is read, and
 * nothing is pushed into it. Owns catalog.elsewhere; a crash leaves nothing.
 */
#include "catalog/whereabouts.h"

#include "base/container.h"
#include "base/log.h"
#include "base/mem.h"
#include "catalog/trouble.h"

#include <stdlib.h>

#define LOOK_MS 1000

struct whereabouts {
    struct catalog *c;
    struct loop_timer timer;
    struct pool_job job;
    bool found[INDEX_STORES_MAX]; /* the thread's */
};

static void look(struct pool_job *job)
{
    struct whereabouts *w = CONTAINER_OF(job, struct whereabouts, job);

    for (size_t i = 0; i < w->c->conf->store_count; i++)
        w->found[i] = store_is_elsewhere(w->c->stores[i]);
}

static void found(struct pool_job *job)
{
    struct whereabouts *w = CONTAINER_OF(job, struct whereabouts, job);
    struct catalog *c = w->c;

    for (size_t i = 0; i < c->conf->store_count; i++) {
        bool elsewhere = w->found[i] && store_is_open(c->stores[i]);

        if (elsewhere == c->elsewhere[i])
            continue;
        c->elsewhere[i] = elsewhere;
        if (elsewhere)
            log_error("a blob store's path leads elsewhere: its disk was unmounted, or its "
                      "directory moved or mounted over; what it has is served from where it is, "
                      "and nothing is pushed into it. Bring it back to its path, then reload",
                      "store=%s path=%s", c->conf->stores[i].name,
                      log_quote(c->conf->stores[i].path));
        else
            log_notice("the blob store is at its path again", "store=%s", c->conf->stores[i].name);
        publish_stores(c);
        trouble_tell(c);
    }
    loop_timer_set(c->loop, &w->timer, LOOK_MS);
}

static void due(struct loop_timer *timer)
{
    struct whereabouts *w = CONTAINER_OF(timer, struct whereabouts, timer);

    w->job.work = look;
    w->job.done = found;
    pool_submit(w->c->pool, &w->job);
}

struct whereabouts *whereabouts_new(struct catalog *c)
{
    struct whereabouts *w = mem_alloc(sizeof(*w));

    w->c = c;
    w->timer.fire = due;
    loop_timer_set(c->loop, &w->timer, LOOK_MS);
    return w;
}

void whereabouts_free(struct whereabouts **w_p)
{
    loop_timer_cancel((*w_p)->c->loop, &(*w_p)->timer);
    free(*w_p);
    *w_p = NULL;
}
