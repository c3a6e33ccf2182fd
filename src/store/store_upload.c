/*
 * store_upload.c - files of upload sessions.
 *
 * Workers write them, under flock so that one request at a time does; the
 * catalog surveys them. A session is its file and nothing else: a crash leaves
 * the bytes that were written, which the client may build on.
 */
#include "base/clock.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/str.h"
#include "store/layout.h"
#include "store/store_fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FILE_MODE 0640
/* In the mode of a session's file: it was once cut back, so that a hash kept elsewhere may be of
 * bytes that are not in it any more. Kept in the file itself, for all workers and after any crash.
 */
#define REWOUND    S_IXGRP
#define SUM_SUFFIX ".sum"
#define SUM_MAX    512
#define BOOT_ID    "/proc/sys/kernel/random/boot_id"

int store_upload_create(const struct store *store, const char *repo, const char *image,
                        uint32_t tag, char id_out[33], int *fd_r)
{
    char path[LAYOUT_PATH_MAX];
    int fd;

    file_random_hex((LAYOUT_ID_LEN - STORE_UPLOAD_TAG_LEN) / 2, id_out);
    snprintf(id_out + LAYOUT_ID_LEN - STORE_UPLOAD_TAG_LEN, STORE_UPLOAD_TAG_LEN + 1, "%0*" PRIx32,
             STORE_UPLOAD_TAG_LEN, tag);
    if (!layout_upload(id_out, repo, image, path))
        return ERR_INVALID;
    fd = openat(store->dir_fd, path, O_RDWR | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
                FILE_MODE);
    if (fd < 0)
        return err_from_errno(errno);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        close(fd);
        return ERR_BUSY;
    }
    FAIL_POINT(worker_upload_created);
    *fd_r = fd;
    return 0;
}

int store_upload_open(const struct store *store, const char *repo, const char *image,
                      const char *id, bool lock, int *fd_r, uint64_t *size_r)
{
    char path[LAYOUT_PATH_MAX];
    struct stat st, named;
    int fd, err = 0;

    if (!layout_upload(id, repo, image, path))
        return ERR_NOT_FOUND;
    fd = openat(store->dir_fd, path, O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return err_from_errno(errno);
    if (lock && flock(fd, LOCK_EX | LOCK_NB) != 0)
        err = ERR_BUSY;
    else if (fstat(fd, &st) != 0)
        err = err_from_errno(errno);
    /* Between open and lock the session may have been finished: then this
     * descriptor is a published blob, and nothing may ever write to it. */
    else if (fstatat(store->dir_fd, path, &named, AT_SYMLINK_NOFOLLOW) != 0 ||
             named.st_ino != st.st_ino)
        err = ERR_NOT_FOUND;
    if (err != 0) {
        close(fd);
        return err;
    }
    *fd_r = fd;
    *size_r = (uint64_t)st.st_size;
    return 0;
}

_Static_assert(STORE_UPLOAD_KEY_MAX == LAYOUT_PATH_MAX && STORE_UPLOAD_ID_LEN == LAYOUT_ID_LEN,
               "a session's key is its path");

bool store_upload_key(const char *id, const char *repo, const char *image,
                      char key_r[STORE_UPLOAD_KEY_MAX])
{
    return layout_upload(id, repo, image, key_r);
}

static bool sum_path(const char *repo, const char *image, const char *id, char out[LAYOUT_PATH_MAX])
{
    if (!layout_upload(id, repo, image, out))
        return false;
    strcat(out, SUM_SUFFIX); /* LAYOUT_PATH_MAX has room behind any session's path */
    return true;
}

int store_upload_unlink(const struct store *store, const char *repo, const char *image,
                        const char *id)
{
    char path[LAYOUT_PATH_MAX];

    if (!sum_path(repo, image, id, path))
        return ERR_NOT_FOUND;
    unlinkat(store->dir_fd, path, 0);
    layout_upload(id, repo, image, path);
    return unlinkat(store->dir_fd, path, 0) == 0 ? 0 : err_from_errno(errno);
}

/* Constant while this process lives; read once. */
static const char *boot_id(void)
{
    static char id[64];
    struct str text = {0};

    if (!*id && file_read_all(BOOT_ID, sizeof(id) - 1, &text) == 0)
        snprintf(id, sizeof(id), "%.*s", (int)strcspn(text.data, "\n"), text.data);
    str_free(&text);
    return id;
}

int store_upload_sum_save(const struct store *store, const char *repo, const char *image,
                          const char *id, uint64_t size, const struct digest *digest)
{
    char path[LAYOUT_PATH_MAX], temp[LAYOUT_PATH_MAX], text[DIGEST_TEXT_MAX], line[SUM_MAX];
    int fd, err;

    if (!sum_path(repo, image, id, path))
        return ERR_INVALID;
    snprintf(temp, sizeof(temp), "uploads/tmp-%s-sum", id);
    snprintf(line, sizeof(line), "%s %llu %s\n", boot_id(), (unsigned long long)size,
             digest_text(digest, text));
    fd = openat(store->dir_fd, temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
                FILE_MODE);
    if (fd < 0)
        return err_from_errno(errno);
    err = file_write_full(fd, line, strlen(line));
    close(fd);
    if (err == 0 && renameat(store->dir_fd, temp, store->dir_fd, path) != 0)
        err = err_from_errno(errno);
    if (err != 0)
        unlinkat(store->dir_fd, temp, 0);
    return err;
}

int store_upload_sum_load(const struct store *store, const char *repo, const char *image,
                          const char *id, uint64_t size, struct digest *digest_r)
{
    char path[LAYOUT_PATH_MAX], line[SUM_MAX], expected[SUM_MAX];
    ssize_t len;
    size_t head;
    int fd;

    if (!sum_path(repo, image, id, path))
        return ERR_NOT_FOUND;
    fd = openat(store->dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return ERR_NOT_FOUND;
    len = read(fd, line, sizeof(line) - 1);
    close(fd);
    if (len <= 0 || line[len - 1] != '\n')
        return ERR_NOT_FOUND;
    line[len - 1] = 0;
    head = (size_t)snprintf(expected, sizeof(expected), "%s %llu ", boot_id(),
                            (unsigned long long)size);
    if (!*boot_id() || strncmp(line, expected, head) != 0 ||
        digest_parse(line + head, digest_r) != 0)
        return ERR_NOT_FOUND;
    return 0;
}

bool store_upload_rewound(int fd)
{
    struct stat st;

    return fstat(fd, &st) != 0 || (st.st_mode & REWOUND) != 0;
}

int store_upload_rewind(const struct store *store, int fd, const char *repo, const char *image,
                        const char *id, uint64_t size)
{
    char path[LAYOUT_PATH_MAX];

    /* The mark before the cut: a hash that was kept must not outlive the bytes it was made of. */
    if (fchmod(fd, FILE_MODE | REWOUND) != 0)
        return err_from_errno(errno);
    if (sum_path(repo, image, id, path))
        unlinkat(store->dir_fd, path, 0);
    FAIL_POINT(worker_upload_rewind);
    return ftruncate(fd, (off_t)size) == 0 ? 0 : err_from_errno(errno);
}

int store_upload_finish(const struct store *store, int fd, const char *repo, const char *image,
                        const char *id, const struct digest *digest)
{
    char path[LAYOUT_PATH_MAX];
    int err;

    if (!layout_upload(id, repo, image, path))
        return ERR_INVALID;
    if (store_upload_rewound(fd) && fchmod(fd, FILE_MODE) != 0)
        return err_from_errno(errno);
    err = store_blob_place(store, fd, path, digest);
    if (err == 0 && sum_path(repo, image, id, path))
        unlinkat(store->dir_fd, path, 0);
    return err;
}

static bool ends_with(const char *name, const char *suffix)
{
    size_t len = strlen(name), tail = strlen(suffix);

    return len >= tail && strcmp(name + len - tail, suffix) == 0;
}

static bool name_is_ours(const char *name)
{
    return strncmp(name, "tmp-", 4) == 0 ||
           (strspn(name, "0123456789abcdef") == LAYOUT_ID_LEN && name[LAYOUT_ID_LEN] == '-');
}

/* Removes a file nobody wrote to for too long, unless a writer holds it. */
static bool expire(int dir_fd, const char *name, const struct stat *st, uint64_t expiry_ms)
{
    bool locked;
    int fd;

    if (clock_ahead(st->st_mtime, expiry_ms))
        utimensat(dir_fd, name, NULL, AT_SYMLINK_NOFOLLOW);
    if (clock_age_ms(st->st_mtime) < expiry_ms)
        return false;
    fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return false;
    locked = flock(fd, LOCK_EX | LOCK_NB) != 0;
    if (!locked)
        unlinkat(dir_fd, name, 0);
    close(fd);
    return !locked;
}

int store_uploads_survey(const struct store *store, uint64_t expiry_ms,
                         void (*seen)(void *ctx, const char *id), void *ctx, uint64_t *count_r,
                         uint64_t *bytes_r)
{
    DIR *dir;
    uint64_t count = 0, bytes = 0;
    struct dirent *entry;
    int err = file_dir_open(store->dir_fd, "uploads", &dir);

    if (err != 0)
        return err;
    while ((entry = readdir(dir)) != NULL) {
        struct stat st;

        if (!name_is_ours(entry->d_name) ||
            fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
            !S_ISREG(st.st_mode) || expire(dirfd(dir), entry->d_name, &st, expiry_ms))
            continue;
        bytes += (uint64_t)st.st_size;
        if (ends_with(entry->d_name, SUM_SUFFIX) || strncmp(entry->d_name, "tmp-", 4) == 0)
            continue;
        count++;
        if (seen)
            seen(ctx, entry->d_name);
    }
    closedir(dir);
    *count_r = count;
    *bytes_r = bytes;
    return 0;
}
