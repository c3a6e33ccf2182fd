/*
 * checkpoint.c - a copy of a database in use: linked, copied, then looked at again.
 *
 * Runs in entrepotctl. When no file came or went while all were taken, then the
 * manifest names tables and logs of this very set: LevelDB makes a table before the
 * manifest names it, and removes one only after it does not any more. The end of a
 * log may be torn by a write under way; LevelDB leaves that out, like after a crash.
 */
#include "meta/checkpoint.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COPY_BYTES   (256u << 10)
#define ATTEMPTS     100
#define ATTEMPT_US   20000
#define NAME_BYTES   32 /* LevelDB's are shorter */
#define NAMES_MAX    100000
#define SUFFIX_BYTES 4

struct name {
    char text[NAME_BYTES];
};

struct names {
    struct name *list;
    size_t count;
};

static bool is_table(const char *name)
{
    size_t len = strlen(name);

    return len > SUFFIX_BYTES && (strcmp(name + len - SUFFIX_BYTES, ".ldb") == 0 ||
                                  strcmp(name + len - SUFFIX_BYTES, ".sst") == 0);
}

static bool is_copied(const char *name)
{
    size_t len = strlen(name);

    return strcmp(name, "CURRENT") == 0 || strncmp(name, "MANIFEST-", 9) == 0 ||
           (len > SUFFIX_BYTES && strcmp(name + len - SUFFIX_BYTES, ".log") == 0);
}

static int compare(const void *a, const void *b)
{
    const struct name *x = a, *y = b;

    return strcmp(x->text, y->text);
}

static int names_read(int dir_fd, struct names *names_r)
{
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *entry;

    names_r->count = 0;
    if (!dir) {
        int err = err_from_errno(errno);

        if (fd >= 0)
            close(fd);
        return err;
    }
    while ((entry = readdir(dir)) != NULL && names_r->count < NAMES_MAX) {
        size_t len = strlen(entry->d_name);

        if (len >= NAME_BYTES || (!is_table(entry->d_name) && !is_copied(entry->d_name)))
            continue;
        if ((names_r->count & (names_r->count - 1)) == 0)
            names_r->list =
                mem_grow(names_r->list, 2 * (names_r->count + 1) * sizeof(*names_r->list));
        memset(&names_r->list[names_r->count], 0, sizeof(*names_r->list));
        memcpy(names_r->list[names_r->count++].text, entry->d_name, len);
    }
    closedir(dir);
    if (names_r->count > 0)
        qsort(names_r->list, names_r->count, sizeof(*names_r->list), compare);
    return 0;
}

static bool same(const struct names *a, const struct names *b)
{
    return a->count == b->count &&
           (a->count == 0 || memcmp(a->list, b->list, a->count * sizeof(*a->list)) == 0);
}

static int copy(int from_dir, int to_dir, const char *name, char *buffer)
{
    int in = openat(from_dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    int out = in >= 0 ? openat(to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;
    int err = out < 0 ? err_from_errno(errno) : 0;
    ssize_t got = 1;

    while (err == 0 && got > 0) {
        got = read(in, buffer, COPY_BYTES);
        if (got > 0)
            err = file_write_full(out, buffer, (size_t)got);
        else if (got < 0)
            err = err_from_errno(errno);
    }
    if (in >= 0)
        close(in);
    if (out >= 0)
        close(out);
    return err;
}

/* Logs before manifests: a log that a manifest takes up was here already. */
static int take(int from_dir, int to_dir, const struct names *names, char *buffer)
{
    int err = 0;

    for (int manifests = 0; manifests < 2; manifests++)
        for (size_t i = 0; i < names->count && err == 0; i++) {
            const char *name = names->list[i].text;

            if ((strncmp(name, "MANIFEST-", 9) == 0) != manifests)
                continue;
            if (!is_table(name))
                err = copy(from_dir, to_dir, name, buffer);
            else if (linkat(from_dir, name, to_dir, name, 0) != 0)
                err = err_from_errno(errno);
        }
    return err;
}

static void empty(int dir_fd)
{
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *entry;

    if (!dir && fd >= 0)
        close(fd);
    while (dir && (entry = readdir(dir)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            unlinkat(dir_fd, entry->d_name, 0);
    if (dir)
        closedir(dir);
}

static int attempt(int from_dir, int to_dir)
{
    struct names before = {0}, after = {0};
    char *buffer = mem_alloc(COPY_BYTES);
    int err = names_read(from_dir, &before);

    if (err == 0)
        err = take(from_dir, to_dir, &before, buffer);
    if (err == ERR_NOT_FOUND) /* it went since we saw its name */
        err = ERR_BUSY;
    if (err == 0)
        err = names_read(from_dir, &after);
    if (err == 0 && !same(&before, &after))
        err = ERR_BUSY;
    free(before.list);
    free(after.list);
    free(buffer);
    return err;
}

int checkpoint_make(const char *from, const char *to)
{
    int from_dir = open(from, O_RDONLY | O_DIRECTORY | O_CLOEXEC), to_dir = -1;
    bool made = from_dir >= 0 && mkdir(to, 0700) == 0;
    int err = ERR_BUSY;

    if (!made || (to_dir = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        err = err_from_errno(errno);
    for (int i = 0; i < ATTEMPTS && to_dir >= 0 && err == ERR_BUSY; i++) {
        if (i > 0)
            usleep(ATTEMPT_US);
        err = attempt(from_dir, to_dir);
        if (err != 0)
            empty(to_dir);
    }
    if (from_dir >= 0)
        close(from_dir);
    if (to_dir >= 0)
        close(to_dir);
    if (err != 0 && made)
        rmdir(to);
    return err;
}

void checkpoint_remove(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0)
        return;
    empty(fd);
    close(fd);
    rmdir(path);
}
