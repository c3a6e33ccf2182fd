/*
 * db_tables.c - can LevelDB's tables be read? For a database under which a process has died.
 *
 * Runs in the catalog and in entrepotctl before the database is opened. Changes nothing of it.
 */
#include "meta/db_tables.h"

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE_BYTES (256u << 10)
#define PAGE_BYTES  4096
#define NAME_BYTES  32 /* LevelDB's are shorter */

bool db_tables_is(const char *name)
{
    size_t len = strlen(name);

    return len > 4 && len < NAME_BYTES &&
           (strcmp(name + len - 4, ".ldb") == 0 || strcmp(name + len - 4, ".sst") == 0);
}

static size_t piece_at(uint64_t at, uint64_t size, size_t most)
{
    return size - at < most ? (size_t)(size - at) : most;
}

/* One that is gone says nothing. */
static int check_one(int dir_fd, const char *path, const char *name, char *piece)
{
    int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), err = 0;
    static char told[NAME_BYTES];
    struct stat st = {0};
    uint64_t at = 0;

    if (fd < 0)
        return errno == ENOENT ? 0 : err_from_errno(errno);
    if (fstat(fd, &st) != 0)
        err = err_from_errno(errno);
    while (err == 0 && at < (uint64_t)st.st_size) {
        size_t len = piece_at(at, (uint64_t)st.st_size, PIECE_BYTES);

        err = file_pread_full(fd, piece, len, at);
        at += len;
    }
    close(fd);
    if (err != 0 && strcmp(told, name) != 0) {
        log_error("a table of the database cannot be read: its disk is failing. Stop entrepotd, "
                  "bring data_dir to a good disk, then entrepotctl rebuild",
                  "path=%s file=%s err=%s", log_quote(path), name, log_quote(err_text(err)));
        snprintf(told, sizeof(told), "%s", name);
    }
    return err != 0 ? ERR_IO : 0;
}

int db_tables_check(const char *path)
{
    static char bad[NAME_BYTES]; /* of the last look */
    struct dirent *entry;
    char *piece;
    int err = 0;
    DIR *dir;

    if (file_dir_open(AT_FDCWD, path, &dir) != 0)
        return 0;
    piece = mem_alloc(PIECE_BYTES);
    if (*bad)
        err = check_one(dirfd(dir), path, bad, piece);
    while (err == 0 && (entry = readdir(dir)) != NULL) {
        if (!db_tables_is(entry->d_name))
            continue;
        err = check_one(dirfd(dir), path, entry->d_name, piece);
        if (err != 0)
            memcpy(bad, entry->d_name, strlen(entry->d_name) + 1); /* db_tables_is(): it fits */
    }
    free(piece);
    closedir(dir);
    return err;
}

static int write_at(int out, const char *data, size_t len, uint64_t at)
{
    return lseek(out, (off_t)at, SEEK_SET) < 0 ? err_from_errno(errno)
                                               : file_write_full(out, data, len);
}

/* Page by page where a piece of them does not come. */
static int copy_piece(int in, int out, char *piece, uint64_t from, uint64_t to)
{
    int err = file_pread_full(in, piece, (size_t)(to - from), from);

    if (err == 0)
        return write_at(out, piece, (size_t)(to - from), from);
    for (uint64_t at = from; at < to; at += PAGE_BYTES) {
        size_t len = piece_at(at, to, PAGE_BYTES);

        if (file_pread_full(in, piece, len, at) != 0)
            continue;
        err = write_at(out, piece, len, at);
        if (err != 0)
            return err;
    }
    return 0;
}

int db_tables_copy(int from_dir, int to_dir, const char *name)
{
    int in = openat(from_dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    int out = in >= 0 ? openat(to_dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;
    char *piece = mem_alloc(PIECE_BYTES);
    struct stat st = {0};
    int err = 0;

    if (out < 0 || fstat(in, &st) != 0 || ftruncate(out, st.st_size) != 0)
        err = err_from_errno(errno);
    for (uint64_t at = 0; err == 0 && at < (uint64_t)st.st_size; at += PIECE_BYTES)
        err = copy_piece(in, out, piece, at, at + piece_at(at, (uint64_t)st.st_size, PIECE_BYTES));
    free(piece);
    if (in >= 0)
        close(in);
    if (out >= 0)
        close(out);
    return err;
}
