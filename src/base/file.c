/*
 * file.c - files and directories. Any process; what syncs belongs on a pool thread.
 *
 * A crash in what replaces a file leaves the old one or the new one, and perhaps a temporary one
 * beside it.
 */
#include "base/file.h"

#include "base/mem.h"
#include "base/must.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>
#if __has_include(<linux/openat2.h>)
#include <linux/openat2.h>
#endif

#define RANDOM_MAX 64

/* A directory that was made a moment ago gets its mode and owner through a
 * descriptor: in a directory of the service's account, a name may lead elsewhere
 * by now, and root must not follow it. */
static int own_directory(int dir_fd, const char *name, mode_t mode, uid_t uid, gid_t gid, int *fd_r)
{
    int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int err;

    if (fd < 0)
        return err_from_errno(errno);
    if (fchmod(fd, mode) != 0 || (uid != (uid_t)-1 && fchown(fd, uid, gid) != 0)) {
        err = err_from_errno(errno);
        close(fd);
        return err;
    }
    *fd_r = fd;
    return 0;
}

/* One component below dir_fd; the next directory in *fd_r. Only the last is made when it
 * is missing, and only it needs to be readable for us: on the way, passing through is
 * enough. errno tells what failed. */
static int step_into(int dir_fd, const char *name, mode_t mode, uid_t uid, gid_t gid, bool last,
                     int *fd_r)
{
    *fd_r = openat(dir_fd, name, (last ? O_RDONLY : O_PATH) | O_DIRECTORY | O_CLOEXEC);
    if (*fd_r >= 0)
        return 0;
    if (errno == ENOENT && last) {
        if (mkdirat(dir_fd, name, mode) == 0)
            return own_directory(dir_fd, name, mode, uid, gid, fd_r);
        if (errno == EEXIST) /* somebody else made it just now */
            *fd_r = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (*fd_r >= 0)
            return 0;
    }
    return err_from_errno(errno);
}

int file_mkdir_open(const char *path, mode_t mode, uid_t uid, gid_t gid, int *fd_r)
{
    char *copy = mem_strdup(path), *rest = copy, *name;
    bool steps = path[strspn(path, "/")] != 0;
    int fd =
        open(path[0] == '/' ? "/" : ".", (steps ? O_PATH : O_RDONLY) | O_DIRECTORY | O_CLOEXEC);
    int err = fd < 0 ? err_from_errno(errno) : 0, failed = errno;

    while (err == 0 && (name = strsep(&rest, "/")) != NULL) {
        int next = -1;

        if (!*name)
            continue;
        err = step_into(fd, name, mode, uid, gid, !rest || !rest[strspn(rest, "/")], &next);
        failed = errno;
        close(fd);
        fd = next;
    }
    free(copy);
    errno = failed;
    if (err == 0)
        *fd_r = fd;
    return err;
}

int file_mkdirs(const char *path, mode_t mode)
{
    char *copy = mem_strdup(path);
    int err = 0;

    for (char *slash = strchr(copy + 1, '/'); err == 0; slash = strchr(slash + 1, '/')) {
        if (slash)
            *slash = 0;
        if (mkdir(copy, mode) != 0 && errno != EEXIST)
            err = err_from_errno(errno);
        if (!slash)
            break;
        *slash = '/';
    }
    free(copy);
    return err;
}

int file_dir_open(int dir_fd, const char *path, DIR **dir_r)
{
    int fd = openat(dir_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), err;

    *dir_r = fd >= 0 ? fdopendir(fd) : NULL;
    if (*dir_r)
        return 0;
    err = err_from_errno(errno);
    if (fd >= 0)
        close(fd);
    return err;
}

int file_mkdirat(int dir_fd, const char *name, mode_t mode, uid_t uid, gid_t gid)
{
    int fd = -1, err;

    if (mkdirat(dir_fd, name, mode) != 0)
        return errno == EEXIST ? 0 : err_from_errno(errno);
    err = own_directory(dir_fd, name, mode, uid, gid, &fd);
    if (err == 0)
        close(fd);
    return err;
}

int file_read_all(const char *path, size_t max, struct str *out)
{
    char buffer[65536];
    size_t before = out->len;
    int fd = open(path, O_RDONLY | O_CLOEXEC), err = 0;

    if (fd < 0)
        return err_from_errno(errno);
    while (err == 0) {
        ssize_t got = read(fd, buffer, sizeof(buffer));

        if (got == 0)
            break;
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            err = err_from_errno(errno);
        else if (out->len - before + (size_t)got > max)
            err = ERR_TOO_BIG;
        else
            str_append(out, buffer, (size_t)got);
    }
    close(fd);
    return err;
}

int file_pread_full(int fd, void *data, size_t len, uint64_t offset)
{
    char *p = data;

    while (len > 0) {
        ssize_t got = pread(fd, p, len, (off_t)offset);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_from_errno(errno);
        if (got == 0)
            return ERR_IO;
        p += got;
        offset += (uint64_t)got;
        len -= (size_t)got;
    }
    return 0;
}

bool file_absent(const char *path)
{
    char *copy;
    bool absent;

    if (access(path, F_OK) == 0 || errno != ENOENT)
        return false;
    copy = mem_strdup(path);
    absent = access(dirname(copy), F_OK) == 0;
    free(copy);
    return absent;
}

int file_write_full(int fd, const void *data, size_t len)
{
    const char *p = data;

    while (len > 0) {
        ssize_t put = write(fd, p, len);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return err_from_errno(errno);
        p += put;
        len -= (size_t)put;
    }
    return 0;
}

void file_writeback_start(int fd, uint64_t offset, uint64_t len)
{
    (void)!sync_file_range(fd, (off_t)offset, (off_t)len, SYNC_FILE_RANGE_WRITE);
}

static int replace(int dir_fd, const char *name, const void *data, size_t len, mode_t mode,
                   uid_t uid, gid_t gid)
{
    bool given = uid != (uid_t)-1 || gid != (gid_t)-1;
    char random[17], temporary[64];
    int fd, err = 0;

    file_random_hex(8, random);
    snprintf(temporary, sizeof(temporary), ".new-%s", random);
    fd = openat(dir_fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_from_errno(errno);
    err = file_write_full(fd, data, len);
    if (err == 0 &&
        ((given && fchown(fd, uid, gid) != 0) || fchmod(fd, mode) != 0 || fsync(fd) != 0))
        err = err_from_errno(errno);
    close(fd);
    if (err == 0 && renameat(dir_fd, temporary, dir_fd, name) != 0)
        err = err_from_errno(errno);
    if (err != 0)
        unlinkat(dir_fd, temporary, 0);
    else if (fsync(dir_fd) != 0)
        err = err_from_errno(errno);
    return err;
}

int file_replace_at(int dir_fd, const char *name, const void *data, size_t len, mode_t mode)
{
    return replace(dir_fd, name, data, len, mode, (uid_t)-1, (gid_t)-1);
}

int file_replace(const char *path, const void *data, size_t len, mode_t mode, uid_t uid, gid_t gid)
{
    const char *slash = strrchr(path, '/');
    char *directory =
        slash ? mem_strndup(path, slash == path ? 1 : (size_t)(slash - path)) : mem_strdup(".");
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC), err;

    free(directory);
    if (fd < 0)
        return err_from_errno(errno);
    err = replace(fd, slash ? slash + 1 : path, data, len, mode, uid, gid);
    close(fd);
    return err;
}

int file_size_cached(int dir_fd, const char *path, uint64_t *size_r)
{
#ifdef RESOLVE_CACHED
    struct open_how how = {.flags = O_PATH | O_CLOEXEC | O_NOFOLLOW, .resolve = RESOLVE_CACHED};
    int fd = (int)syscall(SYS_openat2, dir_fd, path, &how, sizeof(how)), err = 0;
    struct statx st;

    if (fd < 0)
        return errno == ENOENT ? ERR_NOT_FOUND : ERR_BUSY;
    if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_SIZE, &st) != 0)
        err = ERR_BUSY;
    else if (!S_ISREG(st.stx_mode))
        err = ERR_DAMAGED;
    else
        *size_r = st.stx_size;
    close(fd);
    return err;
#else
    (void)dir_fd;
    (void)path;
    (void)size_r;
    return ERR_BUSY;
#endif
}

int file_free_bytes(int dir_fd, uint64_t *bytes_r)
{
    struct statvfs vfs;

    if (fstatvfs(dir_fd, &vfs) != 0)
        return err_from_errno(errno);
    *bytes_r = (uint64_t)vfs.f_bavail * vfs.f_frsize;
    return 0;
}

int file_memfd_sealed(const char *name, const void *data, size_t len, int *fd_r)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int err = fd < 0 ? err_from_errno(errno) : file_write_full(fd, data, len);

    if (err == 0 &&
        (lseek(fd, 0, SEEK_SET) != 0 ||
         fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) != 0))
        err = err_from_errno(errno);
    if (err == 0)
        *fd_r = fd;
    else if (fd >= 0)
        close(fd);
    return err;
}

void file_random(void *out, size_t bytes)
{
    MUST(bytes <= 256 && getrandom(out, bytes, 0) == (ssize_t)bytes);
}

void file_random_hex(size_t bytes, char *out)
{
    uint8_t random[RANDOM_MAX];

    MUST(bytes <= RANDOM_MAX);
    file_random(random, bytes);
    str_hex(random, bytes, out);
}
