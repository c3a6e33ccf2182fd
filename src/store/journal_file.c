/*
 * journal_file.c - a store's journal as a file: reading, appending, replacing, putting aside.
 *
 * Runs in the catalog (on its journals' thread) and in entrepotctl. No file stays open: a disk of
 * which one is open for writing cannot be remounted read-only. A crash leaves lines that are
 * missing at the end, or the old file and a part of the new one, which the next new one replaces.
 */
#include "store/journal.h"

#include "base/fail.h"
#include "base/file.h"
#include "base/must.h"
#include "store/layout.h"
#include "store/store_fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct reading {
    struct journal_file *file;
    void (*each)(void *ctx, const struct journal_line *line);
    void *ctx;
    uint64_t good; /* since the first line */
};

static void begin(struct reading *r, const struct journal_line *l)
{
    struct journal_file *f = r->file;

    if (f->lines != 1 || l->count != JOURNAL_VERSION) {
        f->other = f->other || f->lines == 1;
        f->bad++; /* only the first line is one */
        return;
    }
    memcpy(f->database, l->database, sizeof(f->database));
    memcpy(f->store, l->store, sizeof(f->store));
    f->first = f->last = l->number;
}

/* The numbers of what was written whole are one; after it each follows the other. */
static void follow(struct journal_file *f, uint64_t number)
{
    if (number < f->last || number > f->last + 1 || (!f->complete && number != f->first))
        f->gap = true;
    if (number > f->last)
        f->last = number;
}

static void line(struct reading *r, char *text, size_t len)
{
    struct journal_file *f = r->file;
    struct journal_line l;

    f->lines++;
    if (journal_take(text, len, &l) != 0) {
        f->bad++;
        return;
    }
    if (l.kind == JOURNAL_BEGIN) {
        begin(r, &l);
        return;
    }
    follow(f, l.number);
    if (l.kind == JOURNAL_END) {
        f->complete = l.count == r->good && !f->gap;
        f->settled = l.until;
        return;
    }
    r->good++;
    if (l.kind == JOURNAL_LOST) {
        if (f->fell == 0 && f->changed > l.count)
            f->fell = l.number;
        return;
    }
    f->changed = l.number;
    if (r->each)
        r->each(r->ctx, &l);
}

/* Waits for nobody and follows nothing. */
static int open_file(const struct store *store, const char *name, int flags, int *fd_r)
{
    int fd =
        openat(store->dir_fd, name, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0640);
    int failed = fd < 0 ? errno : 0;
    struct stat st;

    *fd_r = -1;
    if (failed == ELOOP || failed == EISDIR || failed == ENXIO) /* a link, a directory, a FIFO */
        return ERR_CONFLICT;
    if (failed == 0 && fstat(fd, &st) != 0)
        failed = errno;
    if (failed == 0 && S_ISREG(st.st_mode)) {
        *fd_r = fd;
        return 0;
    }
    if (fd >= 0)
        close(fd);
    return failed != 0 ? err_from_errno(failed) : ERR_CONFLICT;
}

const char *journal_err_text(int err)
{
    return err == ERR_CONFLICT ? "it is no regular file, and has to be removed" : err_text(err);
}

int journal_read(const struct store *store,
                 void (*each)(void *ctx, const struct journal_line *line), void *ctx,
                 struct journal_file *f)
{
    struct reading r = {.file = f, .each = each, .ctx = ctx};
    int fd, err = open_file(store, JOURNAL_FILE, O_RDONLY, &fd);
    char text[JOURNAL_LINE_MAX];
    FILE *in;

    *f = (struct journal_file){0};
    if (err != 0)
        return err;
    in = fdopen(fd, "r");
    MUST(in);
    while (fgets(text, sizeof(text), in)) {
        size_t len = strlen(text); /* a NUL within ends it, and its sum is wrong */

        f->torn = len == 0 || text[len - 1] != '\n';
        if (!f->torn)
            line(&r, text, len - 1);
        else if (!feof(in))
            f->bad++; /* too long, or not text */
    }
    f->bytes = (uint64_t)ftello(in);
    if (ferror(in))
        err = ERR_IO;
    fclose(in);
    return err;
}

/* The last line of some text that is whole; its number. */
static void last_of(struct journal_file *f, char *text)
{
    struct journal_line l;

    for (char *one; (one = strsep(&text, "\n")) != NULL;)
        if (text && journal_take(one, strlen(one), &l) == 0)
            f->last = l.number;
}

int journal_glance(const struct store *store, struct journal_file *f)
{
    int fd, err = open_file(store, JOURNAL_FILE, O_RDONLY, &fd);
    char text[4 * JOURNAL_LINE_MAX + 1];
    struct reading r = {.file = f};
    ssize_t got = -1;
    char *end;
    off_t size;

    *f = (struct journal_file){0};
    if (err != 0)
        return err;
    size = lseek(fd, 0, SEEK_END);
    if (size >= 0)
        got = pread(fd, text, JOURNAL_LINE_MAX, 0);
    if (got >= 0) {
        text[got] = 0;
        end = strchr(text, '\n');
        if (end)
            line(&r, text, (size_t)(end - text));
        got = pread(fd, text, sizeof(text) - 1,
                    size < (off_t)sizeof(text) ? 0 : size - (off_t)sizeof(text) + 1);
    }
    close(fd);
    if (got < 0)
        return ERR_IO;
    text[got] = 0;
    last_of(f, text);
    return 0;
}

/* `drop`: a part of it is of no use, and the disk may be full. */
static int write_to(const struct store *store, const char *name, int flags, const struct str *text,
                    bool drop)
{
    int fd, err = open_file(store, name, O_WRONLY | O_APPEND | flags, &fd);

    if (err != 0)
        return err;
    err = file_write_full(fd, text->data, text->len);
    if (err != 0 && drop)
        journal_new_drop(store);
    close(fd);
    return err;
}

int journal_append(const struct store *store, const struct str *text)
{
    return write_to(store, JOURNAL_FILE, 0, text, false);
}

static int sync_file(const struct store *store, const char *name)
{
    int fd, err = open_file(store, name, O_RDONLY, &fd);

    if (err == 0 && fdatasync(fd) != 0)
        err = err_from_errno(errno);
    if (fd >= 0)
        close(fd);
    return err;
}

int journal_sync(const struct store *store)
{
    return sync_file(store, JOURNAL_FILE);
}

int journal_new_write(const struct store *store, const struct str *text, bool begin)
{
    return write_to(store, JOURNAL_NEW, begin ? O_CREAT | O_TRUNC : 0, text, true);
}

int journal_new_place(const struct store *store)
{
    int err = sync_file(store, JOURNAL_NEW);

    FAIL_POINT(catalog_journal_made);
    if (err == 0 && renameat(store->dir_fd, JOURNAL_NEW, store->dir_fd, JOURNAL_FILE) != 0)
        err = err_from_errno(errno);
    if (err != 0) {
        journal_new_drop(store);
        return err;
    }
    FAIL_POINT(catalog_journal_placed);
    return fsync(store->dir_fd) == 0 ? 0 : err_from_errno(errno);
}

void journal_new_drop(const struct store *store)
{
    unlinkat(store->dir_fd, JOURNAL_NEW, 0);
}

int journal_aside(const struct store *store)
{
    if (renameat(store->dir_fd, JOURNAL_FILE, store->dir_fd, JOURNAL_OLD) != 0)
        return err_from_errno(errno);
    return 0;
}
