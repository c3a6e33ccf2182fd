/*
 * io.c - plain TCP. Runs in workers; owns nothing.
 */
#include "http/io.h"

#include <errno.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

static int io_error(void)
{
    if (errno == EAGAIN || errno == EWOULDBLOCK)
        return ERR_BUSY;
    return ERR_CLOSED;
}

int io_read(int fd, void *data, size_t len, size_t *done_r)
{
    ssize_t got;

    do {
        got = recv(fd, data, len, 0);
    } while (got < 0 && errno == EINTR);
    *done_r = got > 0 ? (size_t)got : 0;
    if (got > 0)
        return 0;
    return got == 0 ? ERR_CLOSED : io_error();
}

int io_write(int fd, struct iovec *parts, size_t count, bool more, size_t *done_r)
{
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
    ssize_t put;

    do {
        put = sendmsg(fd, &message, MSG_NOSIGNAL | (more ? MSG_MORE : 0));
    } while (put < 0 && errno == EINTR);
    *done_r = put > 0 ? (size_t)put : 0;
    return put >= 0 ? 0 : io_error();
}

int io_send_file(int fd, int file_fd, uint64_t offset, size_t len, size_t *done_r)
{
    off_t at = (off_t)offset;
    ssize_t put;

    do {
        put = sendfile(fd, file_fd, &at, len);
    } while (put < 0 && errno == EINTR);
    *done_r = put > 0 ? (size_t)put : 0;
    if (put == 0)
        return ERR_DAMAGED;
    if (put < 0 && (errno == EIO || errno == EINVAL || errno == EBADF || errno == ENOMEM))
        return ERR_IO; /* the file's side */
    return put > 0 ? 0 : io_error();
}

size_t io_unsent(int fd)
{
    int unsent = 0;

    return ioctl(fd, SIOCOUTQ, &unsent) == 0 && unsent > 0 ? (size_t)unsent : 0;
}

void io_shutdown(int fd)
{
    shutdown(fd, SHUT_WR);
}

void io_break(int fd)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}
