/*
 * store_side.c - what lies beside the blobs of a store: its identity and its lock.
 *
 * Runs in the master, the catalog and entrepotctl. A crash leaves the old identity or the new one,
 * and the lock to nobody: the kernel lets it go. (The journal: journal_file.c.)
 */
#include "store/layout.h"
#include "store/store_fs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/vfs.h>
#include <unistd.h>

#define LOCK_MODE 0640

int store_identity_read(const struct store *store, struct identity *identity_r)
{
    return identity_read(store->dir_fd, identity_r, NULL);
}

int store_identity_of(const struct conf_store *conf, struct identity *identity_r)
{
    struct store *store = store_new(conf);
    int err = store_open(store, STORE_ANYHOW);

    if (err == 0)
        err = store_identity_read(store, identity_r);
    store_free(&store);
    return err;
}

int store_identity_write(const struct store *store, const struct identity *identity)
{
    return identity_write(store->dir_fd, identity, NULL);
}

bool store_identity_there(const struct store *store)
{
    return faccessat(store->dir_fd, IDENTITY_FILE, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* A file that is open for writing keeps its disk from being remounted read-only; only NFS, whose
 * flock(2) is a lock of fcntl(2), needs it. */
static int lock_access(int dir)
{
    struct statfs fs;

    return fstatfs(dir, &fs) == 0 && fs.f_type == NFS_SUPER_MAGIC ? O_RDWR : O_RDONLY;
}

static int open_lock(int dir)
{
    int fd = openat(dir, LOCK_FILE, lock_access(dir) | O_CREAT | O_CLOEXEC | O_NOFOLLOW, LOCK_MODE);

    if (fd < 0) /* it can be locked where it cannot be written */
        fd = openat(dir, LOCK_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    return fd;
}

int store_lock_open(const struct conf_store *conf)
{
    int dir = open(conf->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd = -1, failed;

    if (dir < 0)
        return -1;
    if (faccessat(dir, "blobs", F_OK, 0) == 0)
        fd = open_lock(dir);
    failed = errno;
    close(dir);
    errno = failed;
    return fd;
}

int store_lock(struct store *store)
{
    int fd = open_lock(store->dir_fd), failed;

    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0) {
        store->lock_fd = fd;
        return 0;
    }
    failed = errno;
    if (fd >= 0)
        close(fd);
    errno = failed;
    return failed == EWOULDBLOCK ? ERR_BUSY : err_from_errno(failed);
}
