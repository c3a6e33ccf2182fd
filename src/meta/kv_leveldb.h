/*
 * kv_leveldb.h - LevelDB as an engine of kv.h. The only user of leveldb.
 *
 * LevelDB opens a path exactly once a machine (a second leveldb_open in one process even drops the
 * first one's file lock): the catalog's, or, with the daemon stopped, entrepotctl's.
 */
#ifndef ENTREPOT_META_KV_LEVELDB_H
#define ENTREPOT_META_KV_LEVELDB_H

#include "meta/kv.h"

enum kv_how {
    KV_EXISTING = 0,
    KV_MAKE = 1, /* where there is none */
    KV_VIEW = 2  /* a copy that is only read: what of it is whole, without a word of the rest */
};

/* IO, or DAMAGED for a log that is not whole (db_log.h), with a logged reason. */
must_check int kv_leveldb_open(const char *path, enum kv_how how, struct kv **kv_r);

/* LevelDB reads all files of a directory that nobody has open, whatever CURRENT says, and makes a
 * database of what is whole in them. What had been deleted may be back. Blocks. */
must_check int kv_leveldb_repair(const char *path);

#endif
