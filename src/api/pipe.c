/*
 * pipe.c - pieces of uploads, written and hashed by the pool.
 *
 * Runs in workers: calls on the loop, pipe_work on a thread, one piece of a pipe
 * at a time, so bytes keep their order and the hash has one user. A crash loses
 * what was not written yet, which nobody was told to be here.
 */
#include "api/pipe.h"

#include "base/container.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIECE_BYTES (8u * PIPE_PUT_MAX)
/* Of full-sized pieces in all pipes of a worker. */
#define HELD_MAX  (4u << 20)
#define SPARE_MAX 4
/* The disk begins to write whenever this much is there, so that the sync at the end is short. */
#define WRITEBACK_BYTES (8u << 20)

struct piece {
    char *data; /* NULL: none */
    size_t len, cap;
};

struct pipes {
    struct pool *pool;
    size_t held;
    char *spare[SPARE_MAX];
    size_t spare_count;
};

struct pipe {
    struct pool_job job;
    struct pipe_setup setup; /* its fd and hash are ours */
    struct piece filling, flying;
    uint64_t written, writeback;
    int err;
    enum pipe_state state;
    bool busy;    /* a thread has `flying` */
    bool unclean; /* a piece could neither be written nor be cut off again */
    void (*left)(void *ctx, uint64_t size, struct digest_ctx **hash);
    void *left_ctx;
};

STATES_DEFINE(pipe_states, "a pipe", PIPE_STATES);

static void pipe_move(struct pipe *p, enum pipe_state state)
{
    states_must(&pipe_states, p->state, state);
    p->state = state;
}

struct pipes *pipes_new(struct pool *pool)
{
    struct pipes *pipes = mem_alloc(sizeof(*pipes));

    pipes->pool = pool;
    return pipes;
}

void pipes_free(struct pipes **pipes_p)
{
    struct pipes *pipes = *pipes_p;

    if (!pipes)
        return;
    *pipes_p = NULL;
    MUST(pipes->held == 0);
    while (pipes->spare_count > 0)
        free(pipes->spare[--pipes->spare_count]);
    free(pipes);
}

/* Full-sized while the limit allows, else for one read. */
static void piece_take(struct pipes *pipes, struct piece *piece)
{
    piece->len = 0;
    piece->cap = PIPE_PUT_MAX;
    if (pipes->held + PIECE_BYTES > HELD_MAX) {
        piece->data = mem_grow(NULL, piece->cap);
        return;
    }
    piece->cap = PIECE_BYTES;
    pipes->held += PIECE_BYTES;
    piece->data =
        pipes->spare_count > 0 ? pipes->spare[--pipes->spare_count] : mem_grow(NULL, PIECE_BYTES);
}

static void piece_release(struct pipes *pipes, struct piece *piece)
{
    if (!piece->data)
        return;
    if (piece->cap == PIECE_BYTES)
        pipes->held -= PIECE_BYTES;
    if (piece->cap == PIECE_BYTES && pipes->spare_count < SPARE_MAX)
        pipes->spare[pipes->spare_count++] = piece->data;
    else
        free(piece->data);
    *piece = (struct piece){0};
}

static void pipe_free(struct pipe *p)
{
    if (p->left)
        p->left(p->left_ctx, p->written, &p->setup.hash);
    if (p->setup.hash)
        digest_ctx_free(&p->setup.hash);
    piece_release(p->setup.pipes, &p->filling);
    piece_release(p->setup.pipes, &p->flying);
    close(p->setup.fd);
    free(p);
}

/* On a thread. */
static int piece_write(struct pipe *p, const struct piece *piece)
{
    int err = FAIL_POINT(worker_upload_write);

    err = err != 0 ? err_from_errno(err) : file_write_full(p->setup.fd, piece->data, piece->len);
    if (err != 0) {
        /* Of a half-written piece nothing may stay: sizes are told from what was hashed. */
        p->unclean = ftruncate(p->setup.fd, (off_t)p->written) != 0;
        return err;
    }
    if (p->setup.hash)
        digest_ctx_update(p->setup.hash, piece->data, piece->len);
    p->written += piece->len;
    FAIL_POINT(worker_upload_written);
    if (p->written - p->writeback >= WRITEBACK_BYTES) {
        file_writeback_start(p->setup.fd, p->writeback, p->written - p->writeback);
        p->writeback = p->written;
    }
    return 0;
}

static void pipe_work(struct pool_job *job)
{
    struct pipe *p = CONTAINER_OF(job, struct pipe, job);

    p->err = piece_write(p, &p->flying);
}

static void pipe_next(struct pipe *p)
{
    p->flying = p->filling;
    p->filling = (struct piece){0};
    p->busy = true;
    pool_submit_slow(p->setup.pipes->pool, &p->job);
}

static void undo_work(struct pool_job *job)
{
    struct pipe *p = CONTAINER_OF(job, struct pipe, job);

    p->unclean = ftruncate(p->setup.fd, (off_t)p->setup.size) != 0;
}

static void undo_done(struct pool_job *job)
{
    struct pipe *p = CONTAINER_OF(job, struct pipe, job);

    if (p->unclean)
        log_warn("cannot cut off what a broken request left in an upload session", NULL);
    pipe_free(p);
}

/* No thread works for it any more. */
static void pipe_gone(struct pipe *p)
{
    if (p->state != PIPE_UNDOING || (p->written == p->setup.size && !p->unclean)) {
        pipe_free(p);
        return;
    }
    p->job.work = undo_work;
    p->job.done = undo_done;
    pool_submit_slow(p->setup.pipes->pool, &p->job);
}

static void pipe_done(struct pool_job *job)
{
    struct pipe *p = CONTAINER_OF(job, struct pipe, job);

    p->busy = false;
    piece_release(p->setup.pipes, &p->flying);
    if (p->err == 0 && p->filling.len > 0)
        pipe_next(p);
    if (p->state == PIPE_LEAVING || p->state == PIPE_UNDOING) {
        if (!p->busy)
            pipe_gone(p);
        return;
    }
    if (p->err == 0 && (p->state == PIPE_OPEN || (p->state == PIPE_ENDING && p->busy)))
        return;
    if (p->state != PIPE_OPEN)
        pipe_move(p, p->state == PIPE_FULL ? PIPE_OPEN : PIPE_ENDED);
    p->setup.ready(p->setup.ctx, p->err);
}

struct pipe *pipe_new(const struct pipe_setup *setup)
{
    struct pipe *p = mem_alloc(sizeof(*p));

    MUST(setup->whole <= PIPE_PUT_MAX);
    p->setup = *setup;
    p->job.work = pipe_work;
    p->job.done = pipe_done;
    p->written = p->writeback = setup->size;
    return p;
}

void *pipe_room(struct pipe *p, size_t *len_r)
{
    struct piece *piece = &p->filling;

    if (!piece->data && p->setup.whole > 0) {
        piece->cap = (size_t)p->setup.whole;
        piece->data = mem_grow(NULL, piece->cap);
    } else if (!piece->data) {
        piece_take(p->setup.pipes, piece);
    }
    *len_r = piece->cap - piece->len;
    return piece->data + piece->len;
}

bool pipe_put(struct pipe *p, const void *data, size_t len)
{
    struct piece *piece = &p->filling;
    size_t room;
    void *at = pipe_room(p, &room);

    MUST(p->state == PIPE_OPEN);
    MUST(len <= room && (p->busy || p->err == 0));
    if (at != data)
        memcpy(at, data, len);
    piece->len += len;
    if (p->setup.whole > 0)
        return true;
    if (!p->busy) {
        pipe_next(p);
        return true;
    }
    if (piece->cap - piece->len >= PIPE_PUT_MAX)
        return true;
    pipe_move(p, PIPE_FULL);
    return false;
}

void pipe_end(struct pipe *p)
{
    pipe_move(p, PIPE_ENDING);
    if (!p->busy && p->filling.len > 0)
        pipe_next(p);
    if (p->busy)
        return;
    pipe_move(p, PIPE_ENDED);
    p->setup.ready(p->setup.ctx, 0);
}

bool pipe_idle(const struct pipe *p)
{
    return !p->busy;
}

int pipe_write_rest(struct pipe *p)
{
    int err = 0;

    MUST(!p->busy);
    if (p->filling.len > 0)
        err = piece_write(p, &p->filling);
    p->filling.len = 0;
    return err;
}

uint64_t pipe_written(const struct pipe *p)
{
    return p->written;
}

bool pipe_clean(const struct pipe *p)
{
    return !p->unclean;
}

int pipe_fd(const struct pipe *p)
{
    return p->setup.fd;
}

const struct digest_ctx *pipe_hash(const struct pipe *p)
{
    return p->setup.hash;
}

void pipe_leave(struct pipe **p_p, void (*left)(void *ctx, uint64_t size, struct digest_ctx **hash),
                void *ctx)
{
    struct pipe *p = *p_p;

    *p_p = NULL;
    p->left = left;
    p->left_ctx = ctx;
    pipe_move(p, PIPE_LEAVING);
    if (!p->busy && p->filling.len > 0 && p->err == 0 && left)
        pipe_next(p);
    if (!p->busy)
        pipe_free(p);
}

void pipe_undo(struct pipe **p_p)
{
    struct pipe *p = *p_p;

    *p_p = NULL;
    pipe_move(p, PIPE_UNDOING);
    piece_release(p->setup.pipes, &p->filling);
    if (!p->busy)
        pipe_gone(p);
}
