/*
 * journal_work.h - what of a journal blocks: one step on the journals' thread.
 */
#ifndef ENTREPOT_CATALOG_JOURNAL_WORK_H
#define ENTREPOT_CATALOG_JOURNAL_WORK_H

#include "base/pool.h"
#include "base/str.h"
#include "store/journal.h"

enum journal_task {
    JOURNAL_CHECK,  /* read it all */
    JOURNAL_APPEND, /* `out` */
    JOURNAL_SYNC,
    JOURNAL_MAKE,  /* begin a new one with `out` */
    JOURNAL_PIECE, /* go on with it */
    JOURNAL_PLACE, /* end it with `out`, durably, and put it into its place */
};

/* Belongs to the thread while the job runs, to the loop otherwise. */
struct journal_work {
    struct pool_job job;
    enum journal_task task;
    struct store *store; /* its own: the loop may close the catalog's meanwhile */
    bool there;          /* the one in its place is one to append to */
    struct str out;
    char database[IDENTITY_ID_LEN + 1], identity[IDENTITY_ID_LEN + 1];
    struct journal_file file; /* CHECK: zero when there is none, or one of somebody else */
    bool aside;               /* CHECK: that was put aside */
    int err;
};

void journal_work_init(struct journal_work *work);
/* The job's `work`. */
void journal_work_run(struct pool_job *job);
void journal_work_free(struct journal_work *work);

#endif
