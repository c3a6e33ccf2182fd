/*
 * slow_disk.c - a disk that answers when the test says so.
 *
 * Preloaded into the daemon: while the file $SLOW_DISK_GATE exists, pread(2) and
 * fdatasync(2) of files whose path holds $SLOW_DISK_PATH and that have at least
 * $SLOW_DISK_BYTES wait, and say so by making the file $SLOW_DISK_GATE.reached.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void gate(int fd)
{
    const char *path = getenv("SLOW_DISK_GATE"), *part = getenv("SLOW_DISK_PATH");
    char link[64], name[4096], reached[4096];
    struct stat st;
    ssize_t len;

    if (!path || !part || access(path, F_OK) != 0 || fstat(fd, &st) != 0 ||
        st.st_size < atoll(getenv("SLOW_DISK_BYTES")))
        return;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    len = readlink(link, name, sizeof(name) - 1);
    name[len < 0 ? 0 : len] = 0;
    if (!strstr(name, part))
        return;
    snprintf(reached, sizeof(reached), "%s.reached", path);
    close(open(reached, O_WRONLY | O_CREAT, 0644));
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
