/*
 * warm.c - pieces of files that lie on a cold disk are read by a thread of the
 * pool first, so that nobody else's request waits for the disk.
 *
 * Runs in workers. What the thread reads it throws away: it is for the kernel's
 * page cache, from where the piece is sent. A crash here costs the worker's
 * connections.
 */
#include "base/mem.h"
#include "http/conn.h"
#include "http/io.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define READ_BYTES (64u << 10)
/* The kernel fetches what comes next while a piece is being sent. */
#define AHEAD_BYTES (4u << 20)

struct http_warm {
    struct pool_job job;
    struct http_conn *c; /* NULL: it left */
    int fd;              /* our own: the request may end before us */
    uint64_t offset;
    size_t len;
};

static void warm_work(struct pool_job *job)
{
    struct http_warm *w = (struct http_warm *)job;
    char scratch[READ_BYTES];
    size_t at = 0;

    posix_fadvise(w->fd, (off_t)w->offset, (off_t)w->len + AHEAD_BYTES, POSIX_FADV_WILLNEED);
    while (at < w->len) {
        size_t piece = w->len - at > sizeof(scratch) ? sizeof(scratch) : w->len - at;
        ssize_t got = pread(w->fd, scratch, piece, (off_t)(w->offset + at));

        if (got <= 0)
            break; /* sending will meet the same and tell it */
        at += (size_t)got;
    }
}

static void warm_done(struct pool_job *job)
{
    struct http_warm *w = (struct http_warm *)job;
    struct http_conn *c = w->c;

    close(w->fd);
    free(w);
    if (!c)
        return;
    c->warming = NULL;
    conn_run(c);
}

bool warm_start(struct http_conn *c, int fd, uint64_t offset, size_t len)
{
    struct pool *pool = c->server->setup.pool;
    struct http_warm *w;
    int own;

    if (!pool || io_file_in_memory(fd, offset, len))
        return false;
    own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (own < 0)
        return false;
    w = mem_alloc(sizeof(*w));
    w->job.work = warm_work;
    w->job.done = warm_done;
    w->c = c;
    w->fd = own;
    w->offset = offset;
    w->len = len;
    c->warming = w;
    atomic_fetch_add_explicit(&c->server->setup.counters->cold_reads, 1, memory_order_relaxed);
    pool_submit_slow(pool, &w->job);
    return true;
}

void warm_abandon(struct http_conn *c)
{
    if (c->warming)
        c->warming->c = NULL;
    c->warming = NULL;
}
