/*
 * checkpoint.c - copies of a database: of one in use, of one that cannot be written, of remains.
 *
 * Runs in entrepotctl and, where the database cannot be written, in the catalog. A crash leaves a
 * part of the copy, which the next one's owner removes first.
 *
 * Of one in use: tables first, then the rest at one moment. When the manifest did not grow
 * meanwhile, then all tables that it names were finished before and are there still: LevelDB
 * finishes a table before the manifest names it, and removes one only after it does not any more.
 * Of the logs that were there at the beginning only the last one can have grown; its end may be
 * torn by a write under way, which LevelDB leaves out.
 */
#include "meta/checkpoint.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "meta/db_log.h"
#include "meta/db_tables.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define COPY_BYTES  (1u << 20)
#define ATTEMPTS    100
#define ATTEMPT_US  20000
#define NAME_BYTES  32 /* LevelDB's are shorter */
#define NAMES_MAX   100000
#define SPARE_BYTES (64u << 20) /* to stay free beside the copy */

struct file {
    char name[NAME_BYTES];
    /* Of a table: what tells that it is as it was. */
    uint64_t size;
    struct timespec changed;
    bool copied;
};

struct files {
    struct file *list; /* by name */
    size_t count;
};

static bool is_manifest(const char *name)
{
    return strncmp(name, "MANIFEST-", 9) == 0 && strchr(name, '/') == NULL;
}

static int compare(const void *a, const void *b)
{
    const struct file *x = a, *y = b;

    return strcmp(x->name, y->name);
}

static void add(struct files *files, int dir_fd, const char *name)
{
    struct file file = {0};
    struct stat st;

    if (strlen(name) >= NAME_BYTES || files->count == NAMES_MAX)
        return;
    memcpy(file.name, name, strlen(name));
    if (db_tables_is(name)) {
        if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            return; /* it went just now */
        file.size = (uint64_t)st.st_size;
        file.changed = st.st_mtim;
    } else if (!db_log_is(name)) {
        return;
    }
    files->list = mem_room(files->list, files->count, sizeof(*files->list));
    files->list[files->count++] = file;
}

static int files_read(int dir_fd, struct files *files_r)
{
    DIR *dir;
    struct dirent *entry;
    int err = file_dir_open(dir_fd, ".", &dir);

    *files_r = (struct files){0};
    if (err != 0)
        return err;
    while ((entry = readdir(dir)) != NULL)
        add(files_r, dir_fd, entry->d_name);
    closedir(dir);
    if (files_r->count > 0)
        qsort(files_r->list, files_r->count, sizeof(*files_r->list), compare);
    return 0;
}

static bool as_it_was(const struct file *a, const struct file *b)
{
    return strcmp(a->name, b->name) == 0 && a->size == b->size &&
           a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

/* The one in force; IO when there is none. */
static int manifest_read(int dir_fd, struct file *manifest_r)
{
    int fd = openat(dir_fd, "CURRENT", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t got = fd >= 0 ? read(fd, manifest_r->name, NAME_BYTES) : -1;
    struct stat st;
    int err = got < 0 ? err_from_errno(errno) : 0;

    if (fd >= 0)
        close(fd);
    if (err != 0)
        return err;
    if (got < 2 || manifest_r->name[got - 1] != '\n')
        return ERR_IO;
    manifest_r->name[got - 1] = '\0';
    if (!is_manifest(manifest_r->name))
        return ERR_IO;
    if (fstatat(dir_fd, manifest_r->name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return err_from_errno(errno);
    manifest_r->size = (uint64_t)st.st_size;
    return 0;
}

/* Like copy_file_range(2), which not every pair of file systems can. */
static ssize_t copy_piece(int in, int out)
{
    char piece[65536];
    ssize_t got = copy_file_range(in, NULL, out, NULL, COPY_BYTES, 0);

    if (got >= 0 || (errno != EXDEV && errno != EINVAL && errno != EOPNOTSUPP && errno != ENOSYS))
        return got;
    got = read(in, piece, sizeof(piece));
    if (got > 0 && file_write_full(out, piece, (size_t)got) != 0)
        return -1;
    return got;
}

static int copy(int from_dir, int to_dir, const char *name)
{
    int in = openat(from_dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    int out = in >= 0 ? openat(to_dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;
    int err = out < 0 ? err_from_errno(errno) : 0;
    ssize_t got = 1;

    while (err == 0 && got > 0) {
        got = copy_piece(in, out);
        if (got < 0)
            err = err_from_errno(errno);
    }
    if (in >= 0)
        close(in);
    if (out >= 0)
        close(out);
    return err;
}

/* Tables that an earlier attempt did not copy as they are. */
static int copy_tables(int from_dir, int to_dir, const struct files *before, struct files *now)
{
    int err = 0;

    for (size_t i = 0; i < now->count && err == 0; i++) {
        struct file *file = &now->list[i], *had = NULL;

        if (!db_tables_is(file->name))
            continue;
        if (before->count > 0)
            had = bsearch(file, before->list, before->count, sizeof(*file), compare);
        file->copied = had && had->copied && as_it_was(had, file);
        if (file->copied)
            continue;
        err = copy(from_dir, to_dir, file->name);
        file->copied = err == 0;
        if (err == ERR_NOT_FOUND) /* it went just now */
            err = 0;
    }
    return err;
}

static int copy_rest(int from_dir, int to_dir, const struct files *files, const char *manifest)
{
    int err = 0;

    for (size_t i = 0; i < files->count && err == 0; i++)
        if (db_log_is(files->list[i].name))
            err = copy(from_dir, to_dir, files->list[i].name);
    if (err == 0)
        err = copy(from_dir, to_dir, manifest);
    return err != 0 ? err : copy(from_dir, to_dir, "CURRENT");
}

static int space_check(int dir_fd, const struct files *files)
{
    uint64_t bytes = SPARE_BYTES, available;
    int err = file_free_bytes(dir_fd, &available);

    for (size_t i = 0; i < files->count; i++)
        bytes += files->list[i].size;
    return err != 0 ? err : available < bytes ? ERR_NO_SPACE : 0;
}

static void empty(int dir_fd)
{
    DIR *dir;
    struct dirent *entry;

    if (file_dir_open(dir_fd, ".", &dir) != 0)
        return;
    while ((entry = readdir(dir)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            unlinkat(dir_fd, entry->d_name, 0);
    closedir(dir);
}

/* What went meanwhile is not in the manifest either. */
static void drop_gone(int to_dir, const struct files *before, const struct files *now)
{
    for (size_t i = 0; i < before->count; i++)
        if (!bsearch(&before->list[i], now->list, now->count, sizeof(*now->list), compare))
            unlinkat(to_dir, before->list[i].name, 0);
}

/* `files`: what the last attempt found and copied. */
static int attempt(int from_dir, int to_dir, struct files *files)
{
    struct file before = {0}, after = {0};
    struct files now = {0};
    int err = manifest_read(from_dir, &before);

    if (err == 0)
        err = files_read(from_dir, &now);
    if (err == 0)
        err = space_check(to_dir, &now);
    if (err == 0 && now.count > 0) {
        drop_gone(to_dir, files, &now);
        err = copy_tables(from_dir, to_dir, files, &now);
    }
    if (err == 0)
        err = copy_rest(from_dir, to_dir, &now, before.name);
    if (err == 0)
        err = manifest_read(from_dir, &after);
    if (err == ERR_NOT_FOUND) /* a log or manifest went since we saw its name */
        err = ERR_BUSY;
    if (err == 0 && (strcmp(before.name, after.name) != 0 || before.size != after.size))
        err = ERR_BUSY;
    free(files->list);
    *files = now;
    return err;
}

int checkpoint_make(const char *from, const char *to)
{
    int from_dir = open(from, O_RDONLY | O_DIRECTORY | O_CLOEXEC), to_dir = -1;
    bool made = from_dir >= 0 && mkdir(to, 0700) == 0;
    struct files files = {0};
    int err = ERR_BUSY;

    if (!made || (to_dir = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        err = err_from_errno(errno);
    for (int i = 0; i < ATTEMPTS && to_dir >= 0 && err == ERR_BUSY; i++) {
        if (i > 1) /* the first took long: the second only follows up */
            usleep(ATTEMPT_US);
        err = attempt(from_dir, to_dir, &files);
    }
    free(files.list);
    if (err != 0 && to_dir >= 0)
        empty(to_dir);
    if (from_dir >= 0)
        close(from_dir);
    if (to_dir >= 0)
        close(to_dir);
    if (err != 0 && made)
        rmdir(to);
    return err;
}

static int copy_readable(int from_dir, int to_dir, const struct files *files)
{
    int err = 0;

    for (size_t i = 0; err == 0 && i < files->count; i++)
        if (db_tables_is(files->list[i].name))
            err = db_tables_copy(from_dir, to_dir, files->list[i].name);
    return err;
}

static int link_tables(const char *from, int to_dir, const struct files *files)
{
    char *real = realpath(from, NULL);
    int err = real ? 0 : err_from_errno(errno);

    for (size_t i = 0; err == 0 && i < files->count; i++) {
        struct str target = {0};

        if (!db_tables_is(files->list[i].name))
            continue;
        str_printf(&target, "%s/%s", real, files->list[i].name);
        if (symlinkat(target.data, to_dir, files->list[i].name) != 0)
            err = err_from_errno(errno);
        str_free(&target);
    }
    free(real);
    return err;
}

int checkpoint_view(const char *from, const char *to, bool readable)
{
    int from_dir = open(from, O_RDONLY | O_DIRECTORY | O_CLOEXEC), to_dir = -1;
    bool made = from_dir >= 0 && mkdir(to, 0700) == 0;
    struct files files = {0};
    struct file manifest = {0};
    int err = 0;

    if (!made || (to_dir = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        err = err_from_errno(errno);
    if (err == 0)
        err = manifest_read(from_dir, &manifest);
    if (err == 0)
        err = files_read(from_dir, &files);
    if (err == 0)
        err =
            readable ? copy_readable(from_dir, to_dir, &files) : link_tables(from, to_dir, &files);
    if (err == 0)
        err = copy_rest(from_dir, to_dir, &files, manifest.name);
    free(files.list);
    if (from_dir >= 0)
        close(from_dir);
    if (to_dir >= 0)
        close(to_dir);
    if (err != 0 && made)
        checkpoint_remove(to);
    return err;
}

/* Whatever LevelDB made; not what lies beside it. */
static bool is_leveldb(const char *name)
{
    return db_tables_is(name) || db_log_is(name) || is_manifest(name) ||
           strcmp(name, "CURRENT") == 0;
}

/* For the copy, what a repair makes of it, and what is made of that. */
static int remains_space(int from_dir, int to_dir)
{
    uint64_t bytes = 0, available;
    struct dirent *entry;
    struct stat st;
    DIR *dir;
    int err = file_dir_open(from_dir, ".", &dir);

    if (err != 0)
        return err;
    while ((entry = readdir(dir)) != NULL)
        if (is_leveldb(entry->d_name) &&
            fstatat(from_dir, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
            bytes += (uint64_t)st.st_size;
    closedir(dir);
    err = file_free_bytes(to_dir, &available);
    return err != 0 ? err
           : available < CHECKPOINT_REMAINS_SPARE ||
                   (available - CHECKPOINT_REMAINS_SPARE) / 3 < bytes
               ? ERR_NO_SPACE
               : 0;
}

/* What changed in a log is not to be repaired into records (db_log.h). */
static int blank_log(int dir, const char *name)
{
    int fd = openat(dir, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    struct stat st = {0};
    char *data = NULL;
    int err = fd < 0 || fstat(fd, &st) != 0 ? err_from_errno(errno) : 0;

    if (err == 0 && st.st_size > 0) {
        data = mem_alloc((size_t)st.st_size);
        err = file_pread_full(fd, data, (size_t)st.st_size, 0);
        if (err == 0 && db_log_blank(data, (size_t)st.st_size) > 0)
            err = file_write_full(fd, data, (size_t)st.st_size);
        free(data);
    }
    if (fd >= 0)
        close(fd);
    return err;
}

static int copy_remains(int from_dir, int to_dir, unsigned *skipped)
{
    struct dirent *entry;
    DIR *dir;
    int err = file_dir_open(from_dir, ".", &dir);

    if (err != 0)
        return err;
    while (err == 0 && (entry = readdir(dir)) != NULL) {
        if (!is_leveldb(entry->d_name))
            continue;
        err = copy(from_dir, to_dir, entry->d_name);
        if (err == 0 && db_log_is(entry->d_name))
            err = blank_log(to_dir, entry->d_name);
        if (err == ERR_NO_SPACE || err == 0)
            continue;
        err = 0; /* a damaged disk: the others may be good */
        unlinkat(to_dir, entry->d_name, 0);
        ++*skipped;
    }
    closedir(dir);
    return err;
}

int checkpoint_remains(const char *from, const char *to, unsigned *skipped_r)
{
    int from_dir = open(from, O_RDONLY | O_DIRECTORY | O_CLOEXEC), to_dir = -1;
    bool made = from_dir >= 0 && mkdir(to, 0700) == 0;
    int err = 0;

    *skipped_r = 0;
    if (!made || (to_dir = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        err = err_from_errno(errno);
    if (err == 0)
        err = remains_space(from_dir, to_dir);
    if (err == 0)
        err = copy_remains(from_dir, to_dir, skipped_r);
    if (from_dir >= 0)
        close(from_dir);
    if (to_dir >= 0)
        close(to_dir);
    if (err != 0 && made)
        checkpoint_remove(to);
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
