/*
 * pipe.h - bytes of an upload on their way to the disk: a thread writes and
 * hashes one piece while the next one comes.
 *
 * One a request, in workers. What a client sends slowly is not held here: a piece
 * leaves as soon as the one before it is written. All pipes of a worker share a
 * limit of memory; beyond it a pipe takes no more than one read at a time.
 */
#ifndef ENTREPOT_API_PIPE_H
#define ENTREPOT_API_PIPE_H

#include "base/digest.h"
#include "base/err.h"
#include "base/pool.h"
#include "base/states.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The most that one pipe_put may bring from elsewhere than pipe_room. */
#define PIPE_PUT_MAX 65536

struct pipes;
struct pipe;

/* What its owner has said; a thread may be writing a piece in any of them. pipe_move alone moves
 * it. */
#define PIPE_STATES(X)                                                                             \
    /* takes bytes: pipe_new; pipe_done, when there is room again */                               \
    X(PIPE_OPEN, TO(PIPE_FULL) | TO(PIPE_ENDING) | TO(PIPE_LEAVING) | TO(PIPE_UNDOING))            \
    /* said no; `ready` is called when there is room: pipe_put */                                  \
    X(PIPE_FULL, TO(PIPE_OPEN) | TO(PIPE_ENDING) | TO(PIPE_LEAVING) | TO(PIPE_UNDOING))            \
    /* nothing more comes; `ready` is called when all is written: pipe_end */                      \
    X(PIPE_ENDING, TO(PIPE_ENDED) | TO(PIPE_LEAVING) | TO(PIPE_UNDOING))                           \
    /* it was */                                                                                   \
    X(PIPE_ENDED, TO(PIPE_LEAVING) | TO(PIPE_UNDOING))                                             \
    /* its owner is gone; freed when no thread works for it: pipe_leave */                         \
    X(PIPE_LEAVING, 0)                                                                             \
    /* the same, and the file goes back to setup.size before: pipe_undo */                         \
    X(PIPE_UNDOING, 0)
enum pipe_state { PIPE_STATES(STATES_ENUM) };
extern const struct states pipe_states;

/* A worker's: the limit and buffers that are used again. */
struct pipes *pipes_new(struct pool *pool);
void pipes_free(struct pipes **pipes);

struct pipe_setup {
    struct pipes *pipes;
    int fd;                  /* of the session's file, which has `size` bytes; taken over */
    struct digest_ctx *hash; /* SHA-256 of them, or NULL: unknown; taken over */
    uint64_t size;
    /* At most PIPE_PUT_MAX bytes come, whose writing waits for pipe_write_rest or
     * pipe_end; 0: write what comes as it comes. */
    uint64_t whole;
    /* There is room again after pipe_put said no, or all is written after
     * pipe_end (err 0); or a piece could not be written (err, once). */
    void (*ready)(void *ctx, int err);
    void *ctx;
};

struct pipe *pipe_new(const struct pipe_setup *setup);
/* Where the next bytes may be put, so that pipe_put need not copy them: at least
 * PIPE_PUT_MAX of them unless the pipe is a small blob's. */
void *pipe_room(struct pipe *p, size_t *len_r);
/* False: nothing more until `ready`. */
bool pipe_put(struct pipe *p, const void *data, size_t len);
/* `ready` follows, now or later, when everything is written. */
void pipe_end(struct pipe *p);
/* No thread works for it; a small rest may still be unwritten. */
bool pipe_idle(const struct pipe *p);
/* Writes the rest of an idle pipe. Blocks: for a pool thread. */
must_check int pipe_write_rest(struct pipe *p);
/* Of an idle pipe: bytes that are in the file and in the hash. A piece that could
 * not be written has been cut off again; false when even that failed. */
uint64_t pipe_written(const struct pipe *p);
bool pipe_clean(const struct pipe *p);
int pipe_fd(const struct pipe *p);
const struct digest_ctx *pipe_hash(const struct pipe *p);

/* Gives the pipe up: what came is still written, then the file is closed. Before
 * that `left` (NULL: nothing) is told how much there is, may keep the hash (by
 * setting *hash to NULL) and frees `ctx`. */
void pipe_leave(struct pipe **p, void (*left)(void *ctx, uint64_t size, struct digest_ctx **hash),
                void *ctx);
/* Gives the pipe up as if it had never been: the file goes back to setup.size bytes, on a thread,
 * before it is closed and so before anybody else has its lock. */
void pipe_undo(struct pipe **p);

#endif
