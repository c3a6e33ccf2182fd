/*
 * db_tables.h - can LevelDB's tables be read? For a database under which a process has died.
 *
 * LevelDB maps its tables and has no option not to: a page that the disk does not give (a bad
 * sector), or that is gone (a table somebody cut), is no error but a SIGBUS, the end of the
 * process, and of each that follows. So whoever starts in such a one's place reads them first with
 * read(2).
 */
#ifndef ENTREPOT_META_DB_TABLES_H
#define ENTREPOT_META_DB_TABLES_H

#include "base/err.h"

#include <stdbool.h>

/* LevelDB's name of one? */
bool db_tables_is(const char *name);
/* Reads all tables of the database in `path`. IO, with a reason logged once that names the first
 * that cannot be read, which is looked at first from then on. Blocks. */
must_check int db_tables_check(const char *path);
/* Makes a file of the same name and length in the other directory; what cannot be read are zeroes,
 * which are no blocks of LevelDB's. */
must_check int db_tables_copy(int from_dir, int to_dir, const char *name);

#endif
