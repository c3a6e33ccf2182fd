/*
 * store_partial.c - files of downloads that are not complete yet.
 *
 * The fetcher alone. A file keeps its name while bytes come, so that whoever comes
 * after a crash goes on with it; nothing is believed of it before its hash was
 * compared. A crash leaves files that the sweep removes a day later.
 */
#include "store/store_fs.h"

#include "base/clock.h"
#include "base/file.h"
#include "store/layout.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FILE_MODE 0640

int store_partial_open(const struct store *store, const char *repo, const struct digest *digest,
                       int *fd_r, uint64_t *size_r)
{
    char path[LAYOUT_PATH_MAX];
    struct stat st, named;
    int fd, err = 0;

    fd = openat(store->dir_fd, layout_partial(digest, repo, path),
                O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, FILE_MODE);
    if (fd < 0)
        return err_from_errno(errno);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        err = errno == EWOULDBLOCK ? ERR_BUSY : err_from_errno(errno);
    else if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        err = ERR_IO;
    else if (fstatat(store->dir_fd, path, &named, AT_SYMLINK_NOFOLLOW) != 0 ||
             named.st_ino != st.st_ino)
        err = ERR_BUSY; /* it was finished between: this is a blob by now */
    if (err != 0) {
        close(fd);
        return err;
    }
    *fd_r = fd;
    *size_r = (uint64_t)st.st_size;
    return 0;
}

int store_partial_unnamed(const struct store *store, int *fd_r)
{
    int fd = openat(store->dir_fd, "partial", O_TMPFILE | O_RDWR | O_CLOEXEC, FILE_MODE);

    if (fd < 0)
        return err_from_errno(errno);
    *fd_r = fd;
    return 0;
}

int store_partial_reserve(const struct store *store, int fd, uint64_t len, uint64_t keep_free)
{
    struct stat st;
    uint64_t room, there;
    int err = file_free_bytes(store->dir_fd, &room);

    if (err != 0)
        return err;
    if (fstat(fd, &st) != 0)
        return err_from_errno(errno);
    there = (uint64_t)st.st_blocks * 512;
    if (len > INT64_MAX || (len > there && (room < keep_free || len - there > room - keep_free)))
        return ERR_NO_SPACE;
    if (len > 0 && fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)len) != 0 &&
        errno != EOPNOTSUPP) /* a file system that cannot: writing will tell */
        return err_from_errno(errno);
    return 0;
}

int store_partial_place(const struct store *store, int fd, const char *repo,
                        const struct digest *digest)
{
    char path[LAYOUT_PATH_MAX];

    return store_blob_place(store, fd, layout_partial(digest, repo, path), digest);
}

void store_partial_unlink(const struct store *store, const char *repo, const struct digest *digest)
{
    char path[LAYOUT_PATH_MAX];

    unlinkat(store->dir_fd, layout_partial(digest, repo, path), 0);
}

static void sweep_one(int dir_fd, const char *name, uint64_t older_than_ms)
{
    struct stat st;
    int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    if (fd < 0)
        return;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
        if (clock_ahead(st.st_mtime, older_than_ms))
            futimens(fd, NULL);
        if (clock_age_ms(st.st_mtime) >= older_than_ms && flock(fd, LOCK_EX | LOCK_NB) == 0)
            unlinkat(dir_fd, name, 0);
    }
    close(fd);
}

void store_partials_sweep(const struct store *store, uint64_t older_than_ms)
{
    DIR *dir;
    struct dirent *entry;

    if (file_dir_open(store->dir_fd, "partial", &dir) != 0)
        return;
    while ((entry = readdir(dir)) != NULL)
        if (strncmp(entry->d_name, "sha", 3) == 0)
            sweep_one(dirfd(dir), entry->d_name, older_than_ms);
    closedir(dir);
}
