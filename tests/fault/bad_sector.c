/* Preloaded: the second page of tables that the file $BAD_SECTORS names cannot be read, as on a
 * disk with a bad sector: EIO to whoever reads, SIGBUS to whoever has mapped it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE 4096

static bool is_bad(int fd)
{
    const char *list = getenv("BAD_SECTORS");
    char link[64], path[4096], names[4096] = "";
    int list_fd = list ? open(list, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t len = -1;

    if (list_fd >= 0) {
        len = read(list_fd, names, sizeof(names) - 1);
        close(list_fd);
    }
    if (len <= 0)
        return false;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    len = readlink(link, path, sizeof(path) - 1);
    if (len < 0)
        return false;
    path[len] = 0;
    /* Of the database itself, not of copies. */
    return strstr(path, "/data/catalog/") && strstr(names, strrchr(path, '/') + 1);
}

static void *map(void *addr, size_t len, int prot, int flags, int fd, off_t at)
{
    void *p = (void *)syscall(SYS_mmap, addr, len, prot, flags, fd, at);

    if (p != MAP_FAILED && fd >= 0 && len > PAGE && is_bad(fd)) {
        int empty = memfd_create("bad", MFD_CLOEXEC);

        syscall(SYS_mmap, (char *)p + PAGE, PAGE, prot, MAP_SHARED | MAP_FIXED, empty, 0);
        close(empty);
    }
    return p;
}

void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t at)
{
    return map(addr, len, prot, flags, fd, at);
}

void *mmap64(void *addr, size_t len, int prot, int flags, int fd, off_t at)
{
    return map(addr, len, prot, flags, fd, at);
}

static ssize_t read_at(int fd, void *data, size_t len, off_t at)
{
    if (at < 2 * PAGE && at + (off_t)len > PAGE && is_bad(fd)) {
        errno = EIO;
        return -1;
    }
    return syscall(SYS_pread64, fd, data, len, at);
}

ssize_t pread(int fd, void *data, size_t len, off_t at)
{
    return read_at(fd, data, len, at);
}

ssize_t pread64(int fd, void *data, size_t len, off_t at)
{
    return read_at(fd, data, len, at);
}

ssize_t copy_file_range(int in, off_t *in_at, int out, off_t *out_at, size_t len, unsigned flags)
{
    if (is_bad(in)) {
        errno = EIO;
        return -1;
    }
    return syscall(SYS_copy_file_range, in, in_at, out, out_at, len, flags);
}
