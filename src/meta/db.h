/*
 * db.h - the metadata with the changes that wait to be written: a batch over an engine (kv.h).
 *
 * Changes collect in a batch, and later reads see them, gets and walks alike. The batch is written
 * with one sync, by a pool thread, while the loop goes on. What is committed is read through
 * db_committed().
 */
#ifndef ENTREPOT_META_DB_H
#define ENTREPOT_META_DB_H

#include "base/err.h"
#include "base/str.h"
#include "meta/kv_leveldb.h"

#include <stdbool.h>
#include <stddef.h>

struct db;

/* Over an engine, which it owns from now on. */
struct db *db_new(struct kv *kv);
/* Over LevelDB: kv_leveldb_open(). meta/identity.h is what a daemon opens it through. */
must_check int db_open(const char *path, enum kv_how how, struct db **db_r);
/* No walk over it is left. Accepts NULL inside. */
void db_close(struct db **db);
struct kv *db_kv(struct db *db);
/* The same without what has not been written: for reads outside of turns. Lives as long as db. */
struct db *db_committed(struct db *db);

/* value_r (may be NULL) is reset first. NOT_FOUND, IO. */
must_check int db_get(struct db *db, const void *key, size_t key_len, struct str *value_r);
void db_put(struct db *db, const void *key, size_t key_len, const void *value, size_t value_len);
void db_delete(struct db *db, const void *key, size_t key_len);
bool db_batch_empty(const struct db *db);
/* Of keys and values collected: the batch takes as much memory, and some more. */
size_t db_batch_bytes(const struct db *db);
/* What a key held and holds. NULL: nothing. */
struct db_change {
    const char *was, *now;
    size_t was_len, now_len;
};
/* Calls for each change of a key with that first byte, as they came, but for the first `from` of
 * them; a key that changed twice comes twice. Others, thousands perhaps, are not looked at. Returns
 * how many there are. `each` may read. */
size_t db_batch_since(struct db *db, char first, size_t from,
                      void (*each)(void *ctx, const char *key, size_t key_len,
                                   const struct db_change *change),
                      void *ctx);
/* Did a read fail since the last batch was done or discarded? Then what was collected rests on
 * guesses. */
bool db_read_failed(const struct db *db);
/* Forgets what was collected. */
void db_batch_discard(struct db *db);
/* No change comes until db_batch_done(), so that a pool thread may write meanwhile; reads see what
 * was collected until then. */
void db_batch_seal(struct db *db);
/* Writes and syncs it, all or nothing. Blocks: the only call allowed on a pool thread. After a
 * failure, told as kv_write() does, the database must be closed and opened again. */
must_check int db_batch_write(struct db *db);
void db_batch_done(struct db *db);
/* These three, for who waits. */
must_check int db_batch_commit(struct db *db);

/* Walks in key order over a prefix, from `start` (at or after; NULL: the first). It sees what is
 * there when it begins, collected changes too, and not what changes while it goes. One that began
 * with something collected ends before that is done or discarded. */
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
