/*
 * readahead.c - pieces of files that lie on a cold disk are read by a thread of the
 * pool first, so that nobody else's request waits for the disk.
 *
 * Runs in workers. What the thread reads it throws away: it is for the kernel's
 * page cache, from where the piece is sent. A crash here costs the worker's
 * connections.
 */
#include "base/container.h"
#include "base/mem.h"
#include "http/conn.h"
#include "http/io.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define READ_BYTES (64u << 10)
/* The kernel fetches what comes next while a piece is being sent. */
#define AHEAD_BYTES (4u << 20)

struct http_readahead {
    struct pool_job job;
    struct http_conn *c; /* NULL: it left */
    int fd;              /* our own: the request may end before us */
    uint64_t offset;
    size_t len;
};

static void readahead_work(struct pool_job *job)
{
    struct http_readahead *ahead = CONTAINER_OF(job, struct http_readahead, job);
    char scratch[READ_BYTES];
    size_t at = 0;

    posix_fadvise(ahead->fd, (off_t)ahead->offset, (off_t)ahead->len + AHEAD_BYTES,
                  POSIX_FADV_WILLNEED);
    while (at < ahead->len) {
        size_t piece = ahead->len - at > sizeof(scratch) ? sizeof(scratch) : ahead->len - at;
        ssize_t got = pread(ahead->fd, scratch, piece, (off_t)(ahead->offset + at));

        if (got <= 0)
            break; /* sending will meet the same and tell it */
        at += (size_t)got;
    }
}

static void readahead_done(struct pool_job *job)
{
    struct http_readahead *ahead = CONTAINER_OF(job, struct http_readahead, job);
    struct http_conn *c = ahead->c;

    close(ahead->fd);
    free(ahead);
    if (!c)
        return;
    c->reading_ahead = NULL;
    c->ready_ms = loop_now_ms(c->server->setup.loop);
    conn_run(c);
}

bool readahead_start(struct http_conn *c, int fd, uint64_t offset, size_t len)
{
    struct pool *pool = c->server->setup.pool;
    struct http_readahead *ahead;
    int own;

    if (!pool || io_file_in_memory(fd, offset, len))
        return false;
    own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (own < 0)
        return false;
    ahead = mem_alloc(sizeof(*ahead));
    ahead->job.work = readahead_work;
    ahead->job.done = readahead_done;
    ahead->c = c;
    ahead->fd = own;
    ahead->offset = offset;
    ahead->len = len;
    c->reading_ahead = ahead;
    atomic_fetch_add_explicit(&c->server->setup.counters->cold_reads, 1, memory_order_relaxed);
    pool_submit(pool, &ahead->job);
    return true;
}

void readahead_abandon(struct http_conn *c)
{
    if (c->reading_ahead)
        c->reading_ahead->c = NULL;
    c->reading_ahead = NULL;
}
