/*
 * journal_work.c - what of a journal blocks: reading, appending, syncing, replacing.
 *
 * Runs on the catalog's journals' thread. A crash leaves lines that are missing at the end, or the
 * old journal and a part of the new one; the next start finds out by the numbers.
 */
#include "catalog/journal_work.h"

#include "base/container.h"
#include "base/fail.h"

void journal_work_init(struct journal_work *w)
{
    *w = (struct journal_work){.store = NULL};
    w->job.work = journal_work_run;
}

void journal_work_free(struct journal_work *w)
{
    store_free(&w->store);
    str_free(&w->out);
}

static int check(struct journal_work *w)
{
    int err = journal_read(w->store, NULL, NULL, &w->file);

    w->there = w->aside = false;
    if (err == 0 && !journal_ours(&w->file, w->database, w->identity)) {
        err = journal_aside(w->store);
        if (err != 0)
            return err;
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

/* `out`, to the journal itself or to a new one. */
static int write_out(struct journal_work *w)
{
    int failed = FAIL_POINT(catalog_journal_write);
    int err = failed != 0 ? err_from_errno(failed)
              : w->task == JOURNAL_APPEND
                  ? journal_append(w->store, &w->out)
                  : journal_new_write(w->store, &w->out, w->task == JOURNAL_MAKE);

    str_reset(&w->out);
    return err;
}

static int append(struct journal_work *w)
{
    int err = write_out(w);

    FAIL_POINT(catalog_journal_appended);
    return err;
}

static int place(struct journal_work *w)
{
    int err = write_out(w);

    if (err == 0)
        err = journal_new_place(w->store);
    w->there = w->there || err == 0;
    return err;
}

void journal_work_run(struct pool_job *job)
{
    struct journal_work *w = CONTAINER_OF(job, struct journal_work, job);

    switch (w->task) {
    case JOURNAL_CHECK:
        w->err = check(w);
        break;
    case JOURNAL_APPEND:
        w->err = append(w);
        break;
    case JOURNAL_SYNC:
        w->err = journal_sync(w->store);
        break;
    case JOURNAL_MAKE:
    case JOURNAL_PIECE:
        w->err = write_out(w);
        break;
    case JOURNAL_PLACE:
        w->err = place(w);
        break;
    }
}
