/*
 * part.c - the steps of a download's file.
 *
 * The fetcher: the loop starts a step, a pool thread carries it out. Owns the file's
 * descriptors and the running hash. A crash leaves a partial file, which part_open of
 * the next download hashes and goes on with.
 */
#include "fetcher/part.h"

#include "base/container.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/must.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define READ_BYTES 262144
/* Another fetcher, about to end, may still hold the file. */
#define OPEN_TRIES   50
#define OPEN_WAIT_US 100000

STATES_DEFINE(part_steps, "a download's file", PART_STEPS);

static void part_move(struct part *part, enum part_step step)
{
    states_must(&part_steps, part->step, step);
    part->step = step;
}

static void part_finished(struct pool_job *job)
{
    struct part *part = CONTAINER_OF(job, struct part, job);
    enum part_step step = part->step;

    part_move(part, PART_IDLE);
    part->size += part->wrote;
    part->wrote = 0;
    str_reset(&part->out);
    part->done(part, step, part->err);
}

static void part_submit(struct part *part, enum part_step step, void (*work)(struct pool_job *job))
{
    part_move(part, step);
    part->err = 0;
    part->job.work = work;
    part->job.done = part_finished;
    pool_submit(part->pool, &part->job);
}

static int rehash(struct part *part, uint64_t size)
{
    uint64_t at = 0;
    char *data = mem_alloc(READ_BYTES);
    int err = 0;

    while (at < size && err == 0) {
        size_t n = size - at < READ_BYTES ? (size_t)(size - at) : READ_BYTES;

        err = file_pread_full(part->fd, data, n, at);
        if (err == 0)
            digest_ctx_update(part->hash, data, n);
        at += n;
    }
    part->wrote = at;
    free(data);
    return err;
}

/* A second description of the file that cannot write. */
static int reopen(struct part *part)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", part->fd);
    part->read_fd = open(path, O_RDONLY | O_CLOEXEC);
    return part->read_fd >= 0 ? 0 : err_from_errno(errno);
}

static void open_work(struct pool_job *job)
{
    struct part *part = CONTAINER_OF(job, struct part, job);
    uint64_t size = 0;

    if (part->digest.alg == 0) {
        part->err = store_partial_unnamed(part->store, &part->fd);
    } else {
        for (int tries = 0; tries < OPEN_TRIES; tries++) {
            part->err =
                store_partial_open(part->store, part->repo, &part->digest, &part->fd, &size);
            if (part->err != ERR_BUSY)
                break;
            usleep(OPEN_WAIT_US);
        }
        part->hash = digest_ctx_new(part->digest.alg);
    }
    if (part->err == 0 && size > 0)
        part->err = rehash(part, size);
    if (part->err == 0)
        part->err = reopen(part);
}

void part_open(struct part *part)
{
    part->fd = part->read_fd = -1;
    part_submit(part, PART_OPEN, open_work);
}

static void reserve_work(struct pool_job *job)
{
    struct part *part = CONTAINER_OF(job, struct part, job);

    part->err = store_partial_reserve(part->store, part->fd, part->want, part->keep_free);
}

void part_reserve(struct part *part, uint64_t total)
{
    part->want = total;
    part->bounded = true;
    part_submit(part, PART_RESERVE, reserve_work);
}

static void write_work(struct pool_job *job)
{
    struct part *part = CONTAINER_OF(job, struct part, job);
    const char *data = part->out.data;
    size_t left = part->out.len;
    uint64_t at = part->size; /* the loop reads it meanwhile */
    int failed = FAIL_POINT(fetcher_write);

    part->err = failed ? err_from_errno(failed) : 0;
    if (part->err == 0 && !part->bounded)
        part->err = store_partial_reserve(part->store, part->fd, at + left, part->keep_free);
    while (left > 0 && part->err == 0) {
        ssize_t n = pwrite(part->fd, data, left, (off_t)at);

        if (n < 0) {
            if (errno != EINTR)
                part->err = err_from_errno(errno);
            continue;
        }
        if (part->hash)
            digest_ctx_update(part->hash, data, (size_t)n);
        data += n;
        left -= (size_t)n;
        at += (uint64_t)n;
    }
    part->wrote = at - part->size;
}

void part_write(struct part *part, struct str *bytes)
{
    struct str empty = part->out;

    MUST(part->step == PART_IDLE); /* or the bytes that are being written would change */
    part->out = *bytes;
    *bytes = empty;
    str_reset(bytes);
    part_submit(part, PART_WRITE, write_work);
}

static void place_work(struct pool_job *job)
{
    struct part *part = CONTAINER_OF(job, struct part, job);

    part->err = store_partial_place(part->store, part->fd, part->repo, &part->digest);
}

void part_place(struct part *part)
{
    part_submit(part, PART_PLACE, place_work);
}

bool part_good(const struct part *part)
{
    struct digest found;

    digest_ctx_peek(part->hash, &found);
    return digest_equal(&found, &part->digest);
}

void part_close(struct part *part, bool unlink)
{
    MUST(part->step == PART_IDLE);
    if (unlink && part->digest.alg && part->fd >= 0)
        store_partial_unlink(part->store, part->repo, &part->digest);
    if (part->fd >= 0)
        close(part->fd);
    if (part->read_fd >= 0)
        close(part->read_fd);
    part->fd = part->read_fd = -1;
    digest_ctx_free(&part->hash);
    str_free(&part->out);
}
