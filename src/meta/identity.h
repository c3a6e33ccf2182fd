/*
 * identity.h - the database's own identity and version, and the blob stores it has records of.
 *
 * Records: V (format version, id, time of making), N (store id -> the name its records have in
 * keys B, U and D, so that a store that is renamed keeps them; and what it is called now). What is
 * in the database counts; the file IDENTITY beside it (store/identity.h) is a copy for whoever does
 * not open it.
 */
#ifndef ENTREPOT_META_IDENTITY_H
#define ENTREPOT_META_IDENTITY_H

#include "base/err.h"
#include "conf/conf.h"
#include "meta/db.h"
#include "store/identity.h"

/* Of the database as a whole; one without a record V is of format 0. Changed together with a step
 * in MIGRATIONS of identity.c and a stored database in tests/fault/stored. */
#define META_FORMAT 1

struct meta_identity {
    struct identity identity;
    struct identity_stores stores; /* ids, and names in keys */
};

/* Opens or makes the database in `path` and learns or makes its identity. A database that was
 * there is never made anew. UNSUPPORTED, with a logged reason: a newer build wrote it; CONFLICT: it
 * is not the one that the file beside it names. */
must_check int meta_open(const char *path, struct db **db_r, struct meta_identity *m_r);
/* Is there a database in `path` that says who it is? */
bool meta_there(const char *path);
/* Is the database in `path` that of the file beside it? So, too, where that cannot be read. */
bool meta_named(const char *path, const char *id);
/* Makes a database in `path`, where there is none, that is to be the one of that identity. */
must_check int meta_make(const char *path, const struct identity *identity, struct db **db_r,
                         struct meta_identity *m_r);
/* Reads V and N of an open database; NOT_FOUND: it has no V; UNSUPPORTED: it is of another format.
 */
must_check int meta_identity_get(struct db *db, struct meta_identity *m_r);
/* Adds a store to the database's, or tells what it is called from now on, durably: its records have
 * `name` in their keys. */
must_check int meta_store_add(struct db *db, const char *path, struct meta_identity *m,
                              const char *id, const char *name, const char *called);
/* The name in keys of a store's records; NULL: it has none. */
const char *meta_store_key(const struct meta_identity *m, const char *id);
/* Has it records of blobs under that name? */
bool meta_has_blobs_of(struct db *db, const char *name);

#endif
