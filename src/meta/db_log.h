/*
 * db_log.h - is LevelDB's log whole? Looked at before LevelDB reads it.
 *
 * The log is a row of records in blocks of 32 KiB, each fragment with a CRC-32C (LevelDB's
 * log_format.md). A power cut leaves the last write unfinished: that was never acknowledged and
 * is cut off. A byte that changed before that is damage, and what stands behind it was
 * acknowledged: LevelDB skips it without a word, or takes a changed length for the end of the file.
 */
#ifndef ENTREPOT_META_DB_LOG_H
#define ENTREPOT_META_DB_LOG_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

/* LevelDB's name of one? */
bool db_log_is(const char *name);

enum db_log_state {
    DB_LOG_WHOLE,  /* LevelDB reads all of it; what is short at its very end it leaves out itself */
    DB_LOG_TORN,   /* the last record is unfinished: bytes that were never synced */
    DB_LOG_DAMAGED /* whole records stand behind one that is not */
};

/* at_r: where the first record begins that is not whole; `len`: there is none. We write one batch
 * at a time and wait for it: behind an unfinished one no other begins. */
enum db_log_state db_log_judge(const void *data, size_t len, size_t *at_r);

/* For the copy of a log that is repaired: LevelDB's repair looks at no CRC, and takes changed bytes
 * for what was written. Makes what is not whole something that it leaves out, alone where that can
 * be told, else with the rest of its block. The number of such places. */
size_t db_log_blank(void *data, size_t len);

/* Looks at all logs of the database in `path` and cuts off what is torn at the end of the last one,
 * durably; one before it is whole, and the next goes on where it ends. DAMAGED or IO with a logged
 * reason. 0 when there is no such directory. */
must_check int db_log_check(const char *path);

#endif
