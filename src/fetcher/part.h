/*
 * part.h - a download's file: opened, filled in order, hashed as it fills, placed.
 * What blocks runs on the pool, one step at a time.
 */
#ifndef ENTREPOT_FETCHER_PART_H
#define ENTREPOT_FETCHER_PART_H

#include "base/digest.h"
#include "base/pool.h"
#include "base/states.h"
#include "base/str.h"
#include "store/store.h"

#include <stdbool.h>

/* What runs on the pool; the functions of the same names begin it, part_finished ends it. */
#define PART_STEPS(X)                                                                              \
    X(PART_IDLE, TO(PART_OPEN) | TO(PART_RESERVE) | TO(PART_WRITE) | TO(PART_PLACE))               \
    X(PART_OPEN, TO(PART_IDLE))    /* opened; what an earlier download left in it is hashed */     \
    X(PART_RESERVE, TO(PART_IDLE)) /* its space on the disk is taken */                            \
    X(PART_WRITE, TO(PART_IDLE))                                                                   \
    X(PART_PLACE, TO(PART_IDLE)) /* made durable under its digest */
enum part_step { PART_STEPS(STATES_ENUM) };
extern const struct states part_steps;

struct part {
    /* set before part_open */
    struct pool *pool;
    const struct store *store;
    const char *repo;
    struct digest digest; /* alg 0: a file without a name, which is not hashed */
    uint64_t keep_free;
    /* After each step, from the loop; the part is idle again. */
    void (*done)(struct part *part, enum part_step step, int err);

    /* to be read between steps */
    uint64_t size; /* bytes in the file */
    int read_fd;   /* for readers; -1 before part_open */
    enum part_step step;

    int fd;
    struct digest_ctx *hash;
    struct str out;
    uint64_t want, wrote;
    bool bounded; /* its space was reserved */
    int err;
    struct pool_job job;
};

void part_open(struct part *part);
void part_reserve(struct part *part, uint64_t total);
/* Appends; takes the string's bytes and leaves it empty with memory for the next. */
void part_write(struct part *part, struct str *bytes);
void part_place(struct part *part);
/* Does the hash of all that was written equal the digest? */
bool part_good(const struct part *part);
/* Only while idle. `unlink`: it is of no use to anybody. */
void part_close(struct part *part, bool unlink);

#endif
