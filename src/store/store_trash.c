/*
 * store_trash.c - files on their way out, and files found damaged.
 *
 * Runs in the catalog and, beside no daemon, in entrepotctl. Nothing is unlinked in place: a worker
 * may just have put the same content there again and be about to say so. A crash leaves files in
 * the trash, which a later look empties, or in their places, where they are
 * orphans.
 */
#include "base/clock.h"
#include "base/file.h"
#include "store/layout.h"
#include "store/store_fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int move(const struct store *store, const char *from, const char *to)
{
    return renameat(store->dir_fd, from, store->dir_fd, to) == 0 ? 0 : err_from_errno(errno);
}

int store_blob_aside(const struct store *store, const struct digest *digest)
{
    char from[LAYOUT_PATH_MAX], to[LAYOUT_PATH_MAX];

    return move(store, layout_blob(digest, from), layout_trash(digest, to));
}

/* Moves a file into a blob's place, durably: whoever put it there before was told so. */
static int move_back(const struct store *store, const char *from, const struct digest *digest)
{
    char to[LAYOUT_PATH_MAX];
    int dir, err = move(store, from, layout_blob(digest, to));

    if (err != 0)
        return err;
    dir = openat(store->dir_fd, layout_blob_dir(digest, to), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0 || fsync(dir) != 0)
        err = err_from_errno(errno);
    if (dir >= 0)
        close(dir);
    return err;
}

int store_blob_back(const struct store *store, const struct digest *digest)
{
    char from[LAYOUT_PATH_MAX];

    return move_back(store, layout_trash(digest, from), digest);
}

static bool same_file(const struct store *store, const char *path, int fd)
{
    struct stat named, ours;

    if (fstatat(store->dir_fd, path, &named, AT_SYMLINK_NOFOLLOW) != 0)
        return fd < 0;
    return fd >= 0 && fstat(fd, &ours) == 0 && named.st_ino == ours.st_ino &&
           named.st_dev == ours.st_dev;
}

bool store_blob_is(const struct store *store, const struct digest *digest, int fd)
{
    char path[LAYOUT_PATH_MAX];

    return same_file(store, layout_blob(digest, path), fd);
}

int store_blob_quarantine(const struct store *store, const struct digest *digest, int fd)
{
    char from[LAYOUT_PATH_MAX], to[LAYOUT_PATH_MAX];
    int err;

    if (!same_file(store, layout_blob(digest, from), fd))
        return ERR_CONFLICT;
    err = move(store, from, layout_quarantine(digest, to));
    if (err != 0 || same_file(store, to, fd))
        return err;
    /* A worker has just put good content there: between our look and our move. */
    err = move_back(store, to, digest);
    return err != 0 ? err : ERR_CONFLICT;
}

/* Calls for each file of a directory of the store. */
static int each_file(const struct store *store, const char *path,
                     void (*call)(int dir_fd, const char *name, const struct stat *st, void *ctx),
                     void *ctx)
{
    DIR *dir;
    struct dirent *entry;
    int err = file_dir_open(store->dir_fd, path, &dir);

    if (err != 0)
        return err;
    while ((entry = readdir(dir)) != NULL) {
        struct stat st;

        if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(st.st_mode))
            call(dirfd(dir), entry->d_name, &st, ctx);
    }
    closedir(dir);
    return 0;
}

/* The time is that of the last change: a rename is one. */
static bool older(int dir_fd, const char *name, const struct stat *st, uint64_t than_ms)
{
    if (clock_ahead(st->st_ctime, than_ms))
        utimensat(dir_fd, name, NULL, AT_SYMLINK_NOFOLLOW);
    return clock_age_ms(st->st_ctime) >= than_ms;
}

static void empty_one(int dir_fd, const char *name, const struct stat *st, void *ctx)
{
    if (older(dir_fd, name, st, *(const uint64_t *)ctx))
        unlinkat(dir_fd, name, 0);
}

int store_trash_empty(const struct store *store, uint64_t older_than_ms)
{
    return each_file(store, "trash", empty_one, &older_than_ms);
}

struct listing {
    uint8_t alg;
    uint64_t older_than_ms;
    struct store_found *found;
    size_t max, count;
};

static void list_one(int dir_fd, const char *name, const struct stat *st, void *ctx)
{
    struct listing *l = ctx;
    struct digest digest;
    char text[DIGEST_TEXT_MAX + NAME_MAX];

    if (l->count == l->max || !older(dir_fd, name, st, l->older_than_ms))
        return;
    strcpy(text, digest_alg_name(l->alg));
    strcat(text, ":");
    strncat(text, name, NAME_MAX);
    if (digest_parse(text, &digest) != 0)
        return; /* not ours */
    l->found[l->count++] = (struct store_found){.digest = digest, .size = (uint64_t)st->st_size};
}

/* A piece is one of the 256 directories of an algorithm. */
int store_blobs_list(const struct store *store, struct store_cursor *cursor, uint64_t older_than_ms,
                     struct store_found *found, size_t max, size_t *count_r)
{
    struct listing l = {.alg = cursor->at < 256 ? DIGEST_SHA256 : DIGEST_SHA512,
                        .older_than_ms = older_than_ms,
                        .found = found,
                        .max = max};
    char path[LAYOUT_PATH_MAX];
    int err = each_file(store, layout_shard(l.alg, cursor->at % 256, path), list_one, &l);

    cursor->end = ++cursor->at == STORE_LIST_PIECES;
    *count_r = l.count;
    return err;
}

static bool directory_has_files(int dir_fd, const char *path)
{
    struct dirent *entry;
    bool found = false;
    DIR *dir;

    if (file_dir_open(dir_fd, path, &dir) != 0)
        return false;
    while (!found && (entry = readdir(dir)) != NULL)
        found = entry->d_name[0] != '.';
    closedir(dir);
    return found;
}

bool store_dir_has_blobs(int dir_fd)
{
    char path[LAYOUT_PATH_MAX];

    for (unsigned shard = 0; shard < 256; shard++)
        if (directory_has_files(dir_fd, layout_shard(DIGEST_SHA256, shard, path)) ||
            directory_has_files(dir_fd, layout_shard(DIGEST_SHA512, shard, path)))
            return true;
    return false;
}

bool store_has_blobs(const struct store *store)
{
    return store_dir_has_blobs(store->dir_fd);
}
