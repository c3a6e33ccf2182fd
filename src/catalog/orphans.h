/*
 * orphans.h - files of blobs without a record, which crashes leave behind: found by a walk over the
 * directories of the stores that takes a day, or follows a sweep that was asked for.
 *
 * A file without a record may also be an image whose record is elsewhere: in a database that was
 * brought back from a backup, say. So a walk counts before another one takes, and takes on its own
 * only what is few, in a store that is not older than the database. All else waits for
 * `entrepotctl gc --orphans`.
 */
#ifndef ENTREPOT_CATALOG_ORPHANS_H
#define ENTREPOT_CATALOG_ORPHANS_H

#include "catalog/catalog.h"
#include "ipc/msg_stats.h"

struct orphans *orphans_new(struct catalog *c);
/* Only when no turn runs. */
void orphans_free(struct orphans **orphans);
/* The catalog serves: walks follow each other, a day each. */
void orphans_start(struct orphans *orphans);
/* Counts and takes, now. */
void orphans_hurry(struct orphans *orphans);
/* Adds what was found and taken. */
void orphans_stats(const struct orphans *orphans, struct stats_gc *stats);

/* Operation that reads (turn.h): begins a walk now that counts, or takes all. */
void orphans_op(struct catalog *c, struct msg_reader *question, struct msg_writer *answer);

#endif
