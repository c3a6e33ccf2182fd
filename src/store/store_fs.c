/*
 * store_fs.c - a store that is a directory, and the finished blobs in it.
 *
 * Master (making directories), workers, fetcher, catalog and entrepotctl. A blob appears by rename
 * of a synced file and disappears by rename (store_trash.c); whoever holds it open keeps it. A
 * crash leaves temporary files, which the survey of uploads removes.
 */
#include "store/store_fs.h"

#include "base/fail.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "store/identity.h"
#include "store/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIR_MODE  0750
#define FILE_MODE 0640

static int make_dir(int dir_fd, const char *name, uid_t uid, gid_t gid)
{
    struct stat st;

    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        errno = ENOTDIR;
        return S_ISDIR(st.st_mode) ? 0 : ERR_IO;
    }
    return file_mkdirat(dir_fd, name, DIR_MODE, uid, gid);
}

static int make_fan_out(int dir_fd, const char *alg, uid_t uid, gid_t gid)
{
    char name[64];
    int err;

    snprintf(name, sizeof(name), "blobs/%s", alg);
    err = make_dir(dir_fd, name, uid, gid);
    for (unsigned i = 0; i < 256 && err == 0; i++) {
        snprintf(name, sizeof(name), "blobs/%s/%02x", alg, i);
        err = make_dir(dir_fd, name, uid, gid);
    }
    return err;
}

int store_make(const struct conf_store *conf, uid_t uid, gid_t gid)
{
    static const char *const rooms[] = {"uploads", "trash", "partial", "quarantine", "blobs"};
    int fd = -1, failed;
    int err = file_mkdir_open(conf->path, DIR_MODE, uid, gid, &fd);

    if (err != 0)
        return err;
    for (size_t i = 0; i < sizeof(rooms) / sizeof(rooms[0]) && err == 0; i++)
        err = make_dir(fd, rooms[i], uid, gid);
    if (err == 0)
        err = make_fan_out(fd, "sha256", uid, gid);
    if (err == 0)
        err = make_fan_out(fd, "sha512", uid, gid);
    failed = errno;
    close(fd);
    errno = failed;
    return err;
}

struct store *store_new(const struct conf_store *conf)
{
    struct store *store = mem_alloc(sizeof(*store));

    store->conf = conf;
    store->dir_fd = store->lock_fd = -1;
    return store;
}

struct store *store_again(const struct store *store)
{
    struct store *again = store_new(store->conf);

    again->dir_fd = fcntl(store->dir_fd, F_DUPFD_CLOEXEC, 0);
    memcpy(again->id, store->id, sizeof(again->id));
    return again;
}

void store_free(struct store **store_p)
{
    if (*store_p)
        store_close(*store_p);
    free(*store_p);
    *store_p = NULL;
}

int store_open(struct store *store, enum store_use use)
{
    int fd = open(store->conf->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), failed;
    int rights = use == STORE_WRITE ? R_OK | W_OK | X_OK : R_OK | X_OK;

    if (fd >= 0 && use != STORE_ANYHOW && faccessat(fd, "blobs", rights, AT_EACCESS) != 0) {
        failed = errno;
        close(fd);
        errno = failed;
        fd = -1;
    }
    store->dir_fd = fd;
    return fd >= 0 ? 0 : err_from_errno(errno);
}

/* errno tells. */
static int open_bound(struct store *store, bool bound)
{
    struct identity identity = {0};
    int err = store_open(store, STORE_ANYHOW);

    if (err != 0)
        return err;
    if (faccessat(store->dir_fd, "blobs", R_OK | W_OK | X_OK, AT_EACCESS) != 0 && errno == EACCES)
        err = ERR_NO_ACCESS;
    else if (bound)
        err = identity_read(store->dir_fd, &identity, NULL);
    if (err == 0 && bound && strcmp(identity.name, store->conf->name) != 0)
        err = ERR_CONFLICT;
    if (err != 0) {
        store_close(store);
        errno = err == ERR_NO_ACCESS ? EACCES : ENODEV;
        return err;
    }
    memcpy(store->id, identity.id, sizeof(store->id));
    return 0;
}

bool store_try(struct store *store, bool bound)
{
    const char *name = store->conf->name;
    int told = store->told;

    if (store->dir_fd >= 0)
        return true;
    if (open_bound(store, bound) == 0) {
        if (told != 0)
            log_notice("the blob store can be opened again", "store=%s", name);
        store->told = 0;
        return true;
    }
    store->told = errno;
    if (store->told != told)
        log_error(
            store->told == EACCES || store->told == EPERM
                ? "a blob store belongs to another account: give it with all in it to the "
                  "one of `user` (chown -R); until then it answers 503"
            : store->told == ENODEV
                ? "a blob store is empty or another one; is its disk mounted? Until it is, it "
                  "answers 503"
                : "cannot open a blob store; until it opens it answers 503",
            "store=%s path=%s errno=%s", name, log_quote(store->conf->path),
            log_quote(strerror(store->told)));
    return false;
}

void store_close(struct store *store)
{
    if (store->dir_fd >= 0)
        close(store->dir_fd);
    if (store->lock_fd >= 0)
        close(store->lock_fd);
    store->dir_fd = store->lock_fd = -1;
}

bool store_is_open(const struct store *store)
{
    return store->dir_fd >= 0;
}

const char *store_id(const struct store *store)
{
    return store->id;
}

bool store_is_elsewhere(const struct store *store)
{
    struct stat ours, there;

    if (store->dir_fd < 0 || fstat(store->dir_fd, &ours) != 0)
        return false;
    if (stat(store->conf->path, &there) != 0)
        return errno == ENOENT || errno == ENOTDIR;
    return ours.st_dev != there.st_dev || ours.st_ino != there.st_ino;
}

int store_owner(const struct store *store, uid_t *uid_r, gid_t *gid_r)
{
    struct stat st;

    if (fstat(store->dir_fd, &st) != 0)
        return err_from_errno(errno);
    *uid_r = st.st_uid;
    *gid_r = st.st_gid;
    return 0;
}

int store_free_bytes(const struct store *store, uint64_t *bytes_r)
{
    return file_free_bytes(store->dir_fd, bytes_r);
}

int store_blob_open(const struct store *store, const struct digest *digest, uint64_t size,
                    int *fd_r)
{
    char path[LAYOUT_PATH_MAX];
    struct stat st;
    int fd, failed = FAIL_POINT(worker_blob_open);

    if (failed != 0)
        return err_from_errno(failed);
    fd = openat(store->dir_fd, layout_blob(digest, path), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return err_from_errno(errno);
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != size) {
        close(fd);
        return ERR_DAMAGED;
    }
    *fd_r = fd;
    return 0;
}

int store_blob_size(const struct store *store, const struct digest *digest, uint64_t *size_r)
{
    char path[LAYOUT_PATH_MAX];
    struct stat st;

    if (fstatat(store->dir_fd, layout_blob(digest, path), &st, AT_SYMLINK_NOFOLLOW) != 0)
        return err_from_errno(errno);
    if (!S_ISREG(st.st_mode))
        return ERR_DAMAGED;
    *size_r = (uint64_t)st.st_size;
    return 0;
}

int store_blob_size_cached(const struct store *store, const struct digest *digest, uint64_t *size_r)
{
    char path[LAYOUT_PATH_MAX];

    return file_size_cached(store->dir_fd, layout_blob(digest, path), size_r);
}

int store_blob_open_raw(const struct store *store, const struct digest *digest, int *fd_r,
                        uint64_t *size_r)
{
    char path[LAYOUT_PATH_MAX];
    struct stat st;
    int fd = openat(store->dir_fd, layout_blob(digest, path),
                    O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_DIRECT);

    if (fd < 0 && errno == EINVAL)
        fd = openat(store->dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return err_from_errno(errno);
    if (fstat(fd, &st) != 0) {
        close(fd);
        return ERR_IO;
    }
    *fd_r = fd;
    *size_r = (uint64_t)st.st_size;
    return 0;
}

int store_blob_unlink(const struct store *store, const struct digest *digest)
{
    char path[LAYOUT_PATH_MAX];

    if (unlinkat(store->dir_fd, layout_blob(digest, path), 0) != 0)
        return err_from_errno(errno);
    return 0;
}

int store_blob_place(const struct store *store, int fd, const char *from,
                     const struct digest *digest)
{
    char path[LAYOUT_PATH_MAX];
    int dir, failed, err = 0;

    failed = FAIL_POINT(store_place_sync);
    if (failed != 0)
        return err_from_errno(failed);
    if (fdatasync(fd) != 0)
        return err_from_errno(errno);
    FAIL_POINT(store_place_synced);
    if (renameat(store->dir_fd, from, store->dir_fd, layout_blob(digest, path)) != 0)
        return err_from_errno(errno);
    FAIL_POINT(store_place_renamed);
    dir = openat(store->dir_fd, layout_blob_dir(digest, path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0 || fsync(dir) != 0)
        err = err_from_errno(errno);
    if (dir >= 0)
        close(dir);
    FAIL_POINT(store_place_done);
    return err;
}

int store_blob_write(const struct store *store, const struct digest *digest, const void *data,
                     size_t len)
{
    char name[LAYOUT_PATH_MAX], random[33];
    int fd, err;

    file_random_hex(16, random);
    snprintf(name, sizeof(name), "uploads/tmp-%s", random);
    fd = openat(store->dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
                FILE_MODE);
    if (fd < 0)
        return err_from_errno(errno);
    err = file_write_full(fd, data, len);
    if (err == 0)
        err = store_blob_place(store, fd, name, digest);
    if (err != 0)
        unlinkat(store->dir_fd, name, 0);
    close(fd);
    return err;
}
