/*
 * pool.h - a few threads for what blocks: fdatasync, rename, cold reads, hashing.
 */
#ifndef ENTREPOT_BASE_POOL_H
#define ENTREPOT_BASE_POOL_H

#include "base/err.h"
#include "base/loop.h"

#include <stdbool.h>
#include <stddef.h>

struct pool;

/* Embedded in its owner, which must live until `done` was called. `work` runs
 * on a pool thread and touches nothing but the job; `done` runs on the loop. */
struct pool_job {
    void (*work)(struct pool_job *job);
    void (*done)(struct pool_job *job);
    struct pool_job *next; /* these two are the pool's */
    bool slow;
};

/* Starts `threads` threads with all signals blocked. */
must_check int pool_new(struct loop *loop, size_t threads, struct pool **pool_r);
/* Waits for all jobs; their `done` is called. Nulls the pointer. */
void pool_free(struct pool **pool);
/* First in, first out. */
void pool_submit(struct pool *pool, struct pool_job *job);
/* For what may take long, such as reading from a cold disk: one thread always
 * stays free of these, so that short jobs do not wait behind them. */
void pool_submit_slow(struct pool *pool, struct pool_job *job);
/* Jobs submitted whose `done` has not run. */
size_t pool_pending(const struct pool *pool);

#endif
