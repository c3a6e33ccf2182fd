/*
 * db.h - the catalog's database: LevelDB behind a batch. The only user of leveldb.
 *
 * Changes collect in a batch that later reads of the same round see. The batch
 * is written with one sync, by a pool thread, while the loop goes on. LevelDB
 * opens a path exactly once a machine: the catalog's, or, with the daemon stopped, entrepotctl's.
 */
#ifndef ENTREPOT_META_DB_H
#define ENTREPOT_META_DB_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>

struct db;
struct db_batch;

enum db_how {
    DB_EXISTING = 0,
    DB_MAKE = 1, /* where there is none */
    DB_VIEW = 2  /* a copy that is only read: what of it is whole, without a word of the rest */
};

/* Opens the database. IO, or DAMAGED for a log that is not whole (db_log.h), with a logged reason.
 * meta/identity.h is what a daemon opens it through. */
must_check int db_open(const char *path, enum db_how how, struct db **db_r);
void db_close(struct db **db);

/* What the present batch or else the database says. value_r (may be NULL) is reset first. */
must_check int db_get(struct db *db, const void *key, size_t key_len, struct str *value_r);
void db_put(struct db *db, const void *key, size_t key_len, const void *value, size_t value_len);
void db_delete(struct db *db, const void *key, size_t key_len);
/* The same for what no db_get() of this batch asks for: keys that walks alone find. They cost a
 * fraction, and one manifest has thousands of them. */
void db_put_unseen(struct db *db, const void *key, size_t key_len, const void *value,
                   size_t value_len);
void db_delete_unseen(struct db *db, const void *key, size_t key_len);
bool db_batch_empty(const struct db *db);
/* Of keys and values collected: the batch takes as much memory, and some more. */
size_t db_batch_bytes(const struct db *db);
/* Calls for each key that was collected, once, with what it has become; value NULL: deleted. */
void db_batch_each(struct db *db,
                   void (*each)(void *ctx, const char *key, size_t key_len, const char *value,
                                size_t value_len),
                   void *ctx);
/* Did a read fail since the last batch was taken or discarded? Then what was
 * collected rests on guesses. */
bool db_read_failed(const struct db *db);
/* Forgets what was collected. */
void db_batch_discard(struct db *db);

/* Takes the collected changes out for db_write. Reads see them until
 * db_batch_done, which must come before the next change. */
struct db_batch *db_batch_take(struct db *db);
/* Writes and syncs. Blocks: the only call allowed on a pool thread. After a
 * failure the database must be closed and opened again; the reason is logged: NO_SPACE (a quota,
 * too), READ_ONLY, NO_ACCESS, NO_FILES; IO: all else. */
must_check int db_write(struct db *db, struct db_batch *batch);
void db_batch_done(struct db *db, struct db_batch *batch);

/* For entrepotctl: LevelDB reads all files of a directory that nobody has open, whatever CURRENT
 * says, and makes a database of what is whole in them. What had been deleted may be back. Blocks.
 */
must_check int db_repair(const char *path);

/* Bytes that keys from one letter up to another (not included) take on the disk, compressed;
 * what was written lately may be missing. */
uint64_t db_bytes(struct db *db, char from, char to);

/* Walks what is in the database (not the batch) in key order over a prefix,
 * from `start` (at or after; NULL: the first). */
struct db_walk;
struct db_walk *db_walk_new(struct db *db, const void *prefix, size_t prefix_len, const void *start,
                            size_t start_len);
bool db_walk_valid(const struct db_walk *walk);
void db_walk_next(struct db_walk *walk);
const char *db_walk_key(const struct db_walk *walk, size_t *len_r);
const char *db_walk_value(const struct db_walk *walk, size_t *len_r);
/* Frees; IO when the walk ended because of an error. */
must_check int db_walk_free(struct db_walk **walk);

#endif
