/*
 * journal_one.h - one store's journal, for journal.c and journal_make.c.
 */
#ifndef ENTREPOT_CATALOG_JOURNAL_ONE_H
#define ENTREPOT_CATALOG_JOURNAL_ONE_H

#include "catalog/journal.h"
#include "catalog/journal_work.h"
#include "meta/records.h"

struct journal {
    struct journals *all;
    size_t place; /* in conf->stores */
    enum journal_health state;
    struct journal_work work;
    bool running;    /* the thread has `work` */
    bool ignore;     /* what it says counts no more: the database was closed meanwhile */
    uint64_t number; /* of the last committed line */
    uint64_t turned; /* of the last one of the running turn */
    struct str turn; /* its lines */
    struct str wait; /* committed, to be appended */
    uint64_t wait_count, tail_count; /* lines */
    uint64_t checked;   /* JOURNAL_CHECKING: the last number that the file should have */
    struct str tail;    /* JOURNAL_MAKING: what was committed since that began */
    uint64_t lines;     /* in the file, about */
    bool unsynced, due; /* due: a second is over */
    bool told;          /* that it cannot be written */
    struct db *from;    /* JOURNAL_MAKING: the database as it was when that began */
    struct meta_walk *walk;
    enum meta_kind kind; /* that is walked over; META_NONE: the first line is not written yet */
    uint64_t made;       /* lines since the first one */
    uint64_t made_from;  /* their number */
    struct loop_timer retry;
    uint64_t retry_ms;
};

struct journals {
    struct catalog *c;
    struct pool *pool; /* one thread: a disk that hangs is nobody's but its own */
    struct loop_timer sync;
    bool sync_set, closing;
    struct journal *list; /* by place in conf->stores */
};

/* Its store's, for messages. */
const char *journal_name(const struct journal *j);
/* Ends what the old state was about. */
void journal_state(struct journal *j, enum journal_health state);
/* Told once, and tried again later; lines are not kept meanwhile. */
void journal_failed(struct journal *j, int err);
/* Gives the thread the next task. */
void journal_submit(struct journal *j, enum journal_task task);

/* journal_make.c: the next slice of writing it anew, of a few milliseconds. */
void journal_make(struct journal *j);
/* Is it much longer than what it describes? */
bool journal_long_winded(const struct journal *j);

#endif
