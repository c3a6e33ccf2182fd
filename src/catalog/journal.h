/*
 * journal.h - the blob stores' journals (store/journal.h), written by the catalog.
 *
 * A turn's lines are collected with its batch, which holds their numbers, and are written by a
 * thread of their own after the batch is; once a second what was written is synced. Nothing waits
 * for that: a store that does not take its journal is told, and pushes go on. A journal that lacks
 * something is written anew from the database, in slices, and so is one that is much longer than
 * what it describes.
 */
#ifndef ENTREPOT_CATALOG_JOURNAL_H
#define ENTREPOT_CATALOG_JOURNAL_H

#include "catalog/catalog.h"

struct journals;

/* How a store's journal is. */
enum journal_health {
    JOURNAL_OFF,      /* the store is closed, or the database is */
    JOURNAL_CHECKING, /* read at a start */
    JOURNAL_MAKING,   /* written anew */
    JOURNAL_FAILED,   /* it could not be written; tried again */
    JOURNAL_KEPT,
};

struct journals *journals_new(struct catalog *c);
/* Writes and syncs what is left. Only when no turn runs. */
void journals_free(struct journals **journals);

/* The database is open, or more stores are: their journals are looked at. */
void journals_begin(struct journals *js);
/* The database is about to be closed. */
void journals_suspend(struct journals *js);

/* Of a turn: before its batch is taken; after it was written (err 0) or was not. */
void journals_turn(struct journals *js);
void journals_turn_done(struct journals *js, int err);

enum journal_health journals_health(const struct journals *js, size_t store);
/* It is not known yet whether the database has all that the journal has: then nothing goes for
 * want of a record. */
bool journals_doubtful(const struct journals *js, size_t store);

#endif
