/*
 * journal_work.c - what of a journal blocks: reading, appending, syncing, replacing.
 *
 * Runs on the catalog's journals' thread. A crash leaves lines that are missing at the end, or the
 * old file and a part of the new one; the next start finds out by the numbers.
 */
#include "catalog/journal_work.h"

#include "base/fail.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void journal_work_init(struct journal_work *w)
{
    *w = (struct journal_work){.dir_fd = -1};
    w->job.work = journal_work_run;
}

void journal_work_free(struct journal_work *w)
{
    if (w->dir_fd >= 0)
        close(w->dir_fd);
    str_free(&w->out);
}

static int check(struct journal_work *w)
{
    int err = journal_read(w->dir_fd, JOURNAL_FILE, NULL, NULL, &w->file);

    w->there = w->aside = false;
    if (err == 0 && !journal_ours(&w->file, w->database, w->store)) {
        if (renameat(w->dir_fd, JOURNAL_FILE, w->dir_fd, JOURNAL_OLD) != 0)
            return err_from_errno(errno);
        w->aside = true;
        err = ERR_NOT_FOUND;
    }
    if (err == ERR_NOT_FOUND) {
        w->file = (struct journal_file){0};
        return 0;
    }
    w->there = err == 0;
    return err;
}

/* Writes `out` and closes the file, which is synced first if `sync`. */
static int write_out(struct journal_work *w, const char *name, int flags, bool sync)
{
    int failed = FAIL_POINT(catalog_journal_write), fd = -1;
    int err = failed != 0 ? err_from_errno(failed) : 0;

    if (err == 0) {
        err = journal_open(w->dir_fd, name, O_WRONLY | O_APPEND | flags, &fd);
        if (err == 0)
            err = file_write_full(fd, w->out.data, w->out.len);
    }
    if (err == 0 && sync && fdatasync(fd) != 0)
        err = err_from_errno(errno);
    if (fd >= 0 && err != 0 && w->task != JOURNAL_APPEND)
        unlinkat(w->dir_fd, JOURNAL_NEW, 0); /* the disk may be full */
    if (fd >= 0)
        close(fd);
    str_reset(&w->out);
    return err;
}

static int append(struct journal_work *w)
{
    int err = write_out(w, JOURNAL_FILE, 0, false);

    FAIL_POINT(catalog_journal_appended);
    return err;
}

static int sync_file(const struct journal_work *w)
{
    int fd, err = journal_open(w->dir_fd, JOURNAL_FILE, O_RDONLY, &fd);

    if (err == 0 && fdatasync(fd) != 0)
        err = err_from_errno(errno);
    if (fd >= 0)
        close(fd);
    return err;
}

static int place(struct journal_work *w)
{
    int err = write_out(w, JOURNAL_NEW, 0, true);

    FAIL_POINT(catalog_journal_made);
    if (err == 0 && renameat(w->dir_fd, JOURNAL_NEW, w->dir_fd, JOURNAL_FILE) != 0)
        err = err_from_errno(errno);
    if (err != 0)
        return err;
    w->there = true;
    FAIL_POINT(catalog_journal_placed);
    return fsync(w->dir_fd) == 0 ? 0 : err_from_errno(errno);
}

void journal_work_run(struct pool_job *job)
{
    struct journal_work *w =
        (struct journal_work *)((char *)job - offsetof(struct journal_work, job));

    switch (w->task) {
    case JOURNAL_CHECK:
        w->err = check(w);
        break;
    case JOURNAL_APPEND:
        w->err = append(w);
        break;
    case JOURNAL_SYNC:
        w->err = sync_file(w);
        break;
    case JOURNAL_MAKE:
        w->err = write_out(w, JOURNAL_NEW, O_CREAT | O_TRUNC, false);
        break;
    case JOURNAL_PIECE:
        w->err = write_out(w, JOURNAL_NEW, 0, false);
        break;
    case JOURNAL_PLACE:
        w->err = place(w);
        break;
    }
}
