/*
 * checkpoint.h - copies of the catalog's database.
 *
 * The one of a database that a daemon has open needs nothing of the daemon. It holds every batch
 * that was written before the call and perhaps some of those written during it, each whole and in
 * their order.
 *
 * Tables are copied and not linked: LevelDB numbers its files from what the manifest
 * says, so a copy that is opened may give the number of a table which the original
 * was about to finish to a new one, and truncate it - the same file, were it a link.
 * Where the file system can, copying shares the blocks (copy_file_range(2)).
 */
#ifndef ENTREPOT_META_CHECKPOINT_H
#define ENTREPOT_META_CHECKPOINT_H

#include "base/err.h"

#include <stdbool.h>

/* Makes the directory `to`, for db_open(). BUSY: the database rewrote its files faster
 * than they could be copied. NO_SPACE: too little would stay free for the daemon. After a
 * failure nothing is left. Blocks. */
must_check int checkpoint_make(const char *from, const char *to);
/* The directory `to`, on another disk, with links to the tables and copies of the rest: for
 * db_open() of a database that nobody has open and whose disk cannot be written. What the
 * open writes comes to lie in `to`. `readable`: with copies of what can be read of the tables, too
 * (db_tables.h). After a failure nothing is left. Blocks. */
must_check int checkpoint_view(const char *from, const char *to, bool readable);
/* The directory `to` with a copy of every file of LevelDB's, for kv_leveldb_repair(): of a damaged
 * database that nobody has open. A file that cannot be read is left out, *skipped_r of them.
 * NO_SPACE: less is free than three times its size and CHECKPOINT_REMAINS_SPARE: a repair leaves
 * out without a word what it has no room for. After a failure nothing is left. Blocks. */
#define CHECKPOINT_REMAINS_SPARE (16u << 20)
must_check int checkpoint_remains(const char *from, const char *to, unsigned *skipped_r);
/* Removes one of any kind, or what a crash left of it; content when there is none. Blocks. */
void checkpoint_remove(const char *path);

#endif
