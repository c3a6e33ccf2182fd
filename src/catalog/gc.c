/*
 * gc.c - when garbage is collected, and what came of it.
 *
 * Runs in the catalog. A sweep is a row of slices, each a task of a turn, so
 * that questions of workers never wait for more than one slice. Owns the state
 * of the running sweep, nothing durable: after a crash the next sweep begins
 * anew with what is still queued.
 */
#include "catalog/gc.h"

#include "base/clock.h"
#include "base/container.h"
#include "base/log.h"
#include "base/mem.h"
#include "catalog/ops.h"
#include "catalog/orphans.h"
#include "catalog/sweep.h"
#include "catalog/trash.h"
#include "catalog/turn.h"
#include "ipc/msg_operator.h"

#include <stdlib.h>
#include <string.h>

struct gc {
    struct catalog *c;
    struct loop_timer timer;
    struct turn_task slice_task;
    struct sweep sweep;
    struct stats_gc stats;
    /* A sweep was asked for while one ran; and one that does not wait for gc_grace. */
    bool again, again_now;
};

/* now: what no push can need goes before its time, too. */
static void sweep_begin(struct gc *gc, bool now)
{
    struct catalog *c = gc->c;

    if (gc->stats.running) {
        gc->again = true;
        gc->again_now = gc->again_now || now;
        return;
    }
    gc->again = gc->again_now = false;
    gc->stats.running = true;
    gc->stats.started_s = op_now();
    gc->stats.looked_at_now = 0;
    memset(&gc->sweep, 0, sizeof(gc->sweep));
    gc->sweep.c = c;
    gc->sweep.deadline_s = clock_deadline_s(c->conf->gc_grace_ms);
    gc->sweep.queued_s = now ? op_now() : gc->sweep.deadline_s;
    turn_add_task(c->turn, &gc->slice_task);
}

static void sweep_end(struct gc *gc, bool good)
{
    gc->stats.running = false;
    gc->stats.finished_s = op_now();
    gc->stats.sweeps += good;
    if (gc->stats.looked_at_now > 0)
        log_info("garbage collected", "looked_at=%llu",
                 (unsigned long long)gc->stats.looked_at_now);
    trash_empty(gc->c->trash);
    if (gc->again)
        sweep_begin(gc, gc->again_now);
    else
        loop_timer_set(gc->c->loop, &gc->timer, gc->c->conf->gc_interval_ms);
}

static void slice_run(struct turn_task *task)
{
    struct gc *gc = CONTAINER_OF(task, struct gc, slice_task);

    sweep_anew(&gc->sweep);
    sweep_slice(&gc->sweep);
}

static bool slice_still(struct turn_task *task)
{
    return sweep_still(&CONTAINER_OF(task, struct gc, slice_task)->sweep);
}

static void slice_moved(struct sweep *s)
{
    struct gc *gc = CONTAINER_OF(s, struct gc, sweep);

    gc->stats.bytes += s->moved_bytes;
    if (s->finished)
        sweep_end(gc, true);
    else
        turn_add_task(gc->c->turn, &gc->slice_task);
}

static void slice_done(struct turn_task *task, int err)
{
    struct gc *gc = CONTAINER_OF(task, struct gc, slice_task);
    struct sweep *s = &gc->sweep;

    if (err != 0) {
        gc->again = false; /* the database is in trouble: not before the next interval */
        sweep_end(gc, false);
        return;
    }
    gc->stats.looked_at += s->looked_at;
    gc->stats.looked_at_now += s->looked_at;
    gc->stats.links += s->links;
    gc->stats.kept += s->kept;
    gc->stats.blobs += s->file_count;
    sweep_files(s, slice_moved);
}

static void sweep_due(struct loop_timer *timer)
{
    sweep_begin(CONTAINER_OF(timer, struct gc, timer), false);
}

struct gc *gc_new(struct catalog *c)
{
    struct gc *gc = mem_alloc(sizeof(*gc));

    gc->c = c;
    gc->timer.fire = sweep_due;
    gc->slice_task = (struct turn_task){.run = slice_run, .done = slice_done, .still = slice_still};
    return gc;
}

void gc_free(struct gc **gc_p)
{
    struct gc *gc = *gc_p;

    *gc_p = NULL;
    loop_timer_cancel(gc->c->loop, &gc->timer);
    free(gc);
}

void gc_start(struct gc *gc)
{
    loop_timer_set(gc->c->loop, &gc->timer, gc->c->conf->gc_interval_ms);
}

void gc_op_run(struct catalog *c, struct msg_reader *question, struct msg_writer *answer)
{
    struct gc *gc = c->gc;
    bool now = operator_gc_get(question);
    int err = msg_end(question);

    if (err == 0) {
        loop_timer_cancel(c->loop, &gc->timer);
        sweep_begin(gc, now);
        orphans_hurry(c->orphans);
    }
    reply_err_put(answer, err);
}

void gc_stats(const struct gc *gc, struct stats_gc *stats_r)
{
    *stats_r = gc->stats;
    stats_r->grace_ms = gc->c->conf->gc_grace_ms;
    stats_r->interval_ms = gc->c->conf->gc_interval_ms;
    stats_r->running = gc->stats.running;
    orphans_stats(gc->c->orphans, stats_r);
}

void gc_op_status(struct catalog *c, struct msg_reader *question, struct msg_writer *answer)
{
    struct stats_gc stats;
    int err = msg_end(question);

    gc_stats(c->gc, &stats);
    reply_err_put(answer, err);
    if (err == 0)
        stats_gc_put(answer, &stats);
}
