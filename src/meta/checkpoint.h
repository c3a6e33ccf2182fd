/*
 * checkpoint.h - a copy of the catalog's database while a daemon has it open.
 *
 * Needs nothing of the daemon. What LevelDB writes into is copied, its tables never
 * change and become hard links, so a copy costs milliseconds and a few megabytes
 * and must lie in the same file system (LevelDB, doc/impl.md: log files, sorted
 * tables, MANIFEST). It holds every batch that was written before the call and
 * perhaps some of those written during it, each whole and in their order.
 */
#ifndef ENTREPOT_META_CHECKPOINT_H
#define ENTREPOT_META_CHECKPOINT_H

#include "base/err.h"

/* Makes the directory `to`, for db_open(). BUSY: the database rewrote its files faster
 * than they could be linked. After a failure nothing is left. Blocks. */
must_check int checkpoint_make(const char *from, const char *to);
/* Removes one, or what a crash left of it; content when there is none. Blocks. */
void checkpoint_remove(const char *path);

#endif
