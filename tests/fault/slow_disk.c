/*
 * slow_disk.c - a disk that answers when the test says so.
 *
 * Preloaded into the daemon: while the file $SLOW_DISK_GATE exists, pread(2) and
 * fdatasync(2) of files whose path holds $SLOW_DISK_PATH and that have at least
 * $SLOW_DISK_BYTES wait, and say so by a byte in the file $SLOW_DISK_GATE.reached. preadv2(2)
 * that must not wait finds nothing of them in memory. Connections have short queues, so that
 * what a client does not take stays in the file.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* Is the gate shut, and the file behind it? */
static int behind(int fd)
{
    const char *path = getenv("SLOW_DISK_GATE"), *part = getenv("SLOW_DISK_PATH");
    char link[64], name[4096];
    struct stat st;
    ssize_t len;

    if (!path || !part || access(path, F_OK) != 0 || fstat(fd, &st) != 0 ||
        st.st_size < atoll(getenv("SLOW_DISK_BYTES")))
        return 0;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    len = readlink(link, name, sizeof(name) - 1);
    name[len < 0 ? 0 : len] = 0;
    return strstr(name, part) != NULL;
}

static void gate(int fd)
{
    const char *path = getenv("SLOW_DISK_GATE");
    char reached[4096];

    if (!behind(fd))
        return;
    snprintf(reached, sizeof(reached), "%s.reached", path);
    fd = open(reached, O_WRONLY | O_CREAT | O_APPEND, 0644);
    (void)!write(fd, "x", 1);
    close(fd);
    while (access(path, F_OK) == 0)
        usleep(1000);
}

ssize_t pread(int fd, void *data, size_t len, off_t offset)
{
    ssize_t (*next)(int, void *, size_t, off_t) = dlsym(RTLD_NEXT, "pread");

    gate(fd);
    return next(fd, data, len, offset);
}

int fdatasync(int fd)
{
    int (*next)(int) = dlsym(RTLD_NEXT, "fdatasync");

    gate(fd);
    return next(fd);
}

ssize_t preadv2(int fd, const struct iovec *parts, int count, off_t offset, int flags)
{
    ssize_t (*next)(int, const struct iovec *, int, off_t, int) = dlsym(RTLD_NEXT, "preadv2");

    if ((flags & RWF_NOWAIT) && behind(fd)) {
        errno = EAGAIN;
        return -1;
    }
    return next(fd, parts, count, offset, flags);
}

int accept4(int fd, struct sockaddr *peer, socklen_t *len, int flags)
{
    int (*next)(int, struct sockaddr *, socklen_t *, int) = dlsym(RTLD_NEXT, "accept4");
    int bytes = 65536, accepted = next(fd, peer, len, flags);

    if (accepted >= 0 && peer) /* a client, not a role */
        setsockopt(accepted, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    return accepted;
}
