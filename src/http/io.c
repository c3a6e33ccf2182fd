/*
 * io.c - sockets: plain TCP here, TLS handed on. Runs in workers; owns nothing
 * but a connection's TLS session.
 */
#include "http/io.h"

#include "http/tls_session.h"

#include <errno.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE         ((uint64_t)4096)
#define PAGES_A_LOOK 512
#define PROBE_BYTES  (64u << 10)
/* The same on every architecture that Debian has. */
#define NUMBER_CACHESTAT 451

int io_start_tls(struct io *io, struct tls *tls)
{
    return tls_session_new(tls, io->fd, &io->tls);
}

void io_end(struct io *io, bool broken)
{
    if (io->tls)
        tls_session_free(&io->tls, broken);
}

static int io_error(void)
{
    if (errno == EAGAIN || errno == EWOULDBLOCK)
        return ERR_BUSY;
    return ERR_CLOSED;
}

int io_read(struct io *io, void *data, size_t len, size_t *done_r)
{
    ssize_t got;

    if (io->tls) {
        int err = tls_session_read(io->tls, data, len, done_r);

        if (err == ERR_PROTOCOL)
            tls_session_free(&io->tls, true);
        return err;
    }
    do {
        got = recv(io->fd, data, len, 0);
    } while (got < 0 && errno == EINTR);
    *done_r = got > 0 ? (size_t)got : 0;
    if (got > 0)
        return 0;
    return got == 0 ? ERR_CLOSED : io_error();
}

int io_read_line(struct io *io, void *data, size_t len, size_t *done_r)
{
    const char *end;
    ssize_t seen;

    *done_r = 0;
    do {
        seen = recv(io->fd, data, len, MSG_PEEK);
    } while (seen < 0 && errno == EINTR);
    if (seen <= 0)
        return seen == 0 ? ERR_CLOSED : io_error();
    end = memchr(data, '\n', (size_t)seen);
    return io_read(io, data, end ? (size_t)(end - (const char *)data) + 1 : (size_t)seen, done_r);
}

int io_write(struct io *io, struct iovec *parts, size_t count, bool more, size_t *done_r)
{
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
    ssize_t put;

    if (io->tls)
        return tls_session_write(io->tls, parts, count, done_r);
    do {
        put = sendmsg(io->fd, &message, MSG_NOSIGNAL | (more ? MSG_MORE : 0));
    } while (put < 0 && errno == EINTR);
    *done_r = put > 0 ? (size_t)put : 0;
    return put >= 0 ? 0 : io_error();
}

int io_send_file(struct io *io, int file_fd, uint64_t offset, size_t len, size_t *done_r)
{
    off_t at = (off_t)offset;
    ssize_t put;

    if (io->tls)
        return tls_session_send_file(io->tls, file_fd, offset, len, done_r);
    do {
        put = sendfile(io->fd, file_fd, &at, len);
    } while (put < 0 && errno == EINTR);
    *done_r = put > 0 ? (size_t)put : 0;
    if (put == 0)
        return ERR_DAMAGED;
    if (put < 0 && (errno == EIO || errno == EINVAL || errno == EBADF || errno == ENOMEM))
        return ERR_IO; /* the file's side */
    return put > 0 ? 0 : io_error();
}

uint32_t io_wants(const struct io *io)
{
    return io->tls ? tls_session_wants(io->tls) : 0;
}

bool io_pending(const struct io *io)
{
    return io->tls && tls_session_pending(io->tls);
}

void io_client_name(const struct io *io, char *out)
{
    out[0] = 0;
    if (io->tls)
        tls_session_client_name(io->tls, out);
}

size_t io_unsent(const struct io *io)
{
    int unsent = 0;

    return ioctl(io->fd, SIOCOUTQ, &unsent) == 0 && unsent > 0 ? (size_t)unsent : 0;
}

void io_shutdown(struct io *io)
{
    if (io->tls)
        tls_session_goodbye(io->tls);
    shutdown(io->fd, SHUT_WR);
}

void io_break(const struct io *io)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};

    setsockopt(io->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

/* What cachestat(2), Linux 6.5, takes and gives: younger than the headers we build with. */
struct cachestat_range {
    uint64_t offset, len;
};
struct cachestat_result {
    uint64_t cached, dirty, writeback, evicted, recently_evicted; /* pages */
};

/* cachestat(2) counts pages, also those that are still being read; a read that must not
 * wait tells, for one byte in PROBE_BYTES, that it has come. Together a fifth of what
 * mincore(2) costs. UNSUPPORTED: the kernel or the file system cannot tell. */
static int look_quickly(int file_fd, uint64_t first, size_t span, bool *there_r)
{
    struct cachestat_range range = {first, span};
    struct cachestat_result result = {0};

    if (syscall(NUMBER_CACHESTAT, file_fd, &range, &result, 0) != 0)
        return ERR_UNSUPPORTED;
    *there_r = result.cached >= (span + PAGE - 1) / PAGE;
    for (size_t at = 0; at < span && *there_r; at += PROBE_BYTES) {
        char byte;
        struct iovec part = {&byte, 1};
        ssize_t got = preadv2(file_fd, &part, 1, (off_t)(first + at), RWF_NOWAIT);

        if (got < 0 && errno == EAGAIN)
            *there_r = false;
        else if (got < 0)
            return ERR_UNSUPPORTED;
    }
    return 0;
}

/* mincore(2) tells of any file that we may write; a mapping that nobody touches
 * costs no page fault. */
static bool look_closely(int file_fd, uint64_t first, size_t span)
{
    unsigned char pages[PAGES_A_LOOK];
    bool there = true;
    void *map;

    map = mmap(NULL, span, PROT_READ, MAP_SHARED, file_fd, (off_t)first);
    if (map == MAP_FAILED)
        return true;
    if (mincore(map, span, pages) == 0)
        for (size_t i = 0; i < (span + PAGE - 1) / PAGE && there; i++)
            there = pages[i] & 1;
    munmap(map, span);
    return there;
}

bool io_file_in_memory(int file_fd, uint64_t offset, size_t len)
{
    uint64_t first = offset & ~(PAGE - 1), end = offset + len;
    bool there = true;
    size_t span;

    if (end - first > PAGES_A_LOOK * PAGE)
        end = first + PAGES_A_LOOK * PAGE;
    span = (size_t)(end - first);
    if (look_quickly(file_fd, first, span, &there) != 0)
        there = look_closely(file_fd, first, span);
    return there;
}
