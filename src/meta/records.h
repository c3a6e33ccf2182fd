/*
 * records.h - the database's records, by what they are: the layer that the catalog and the tools
 * speak to. Below it are the batch (db.h) and the engine (kv.h).
 *
 * Changes collect in the batch of `db`, and reads see them. What follows from a change (a tag's
 * back-reference, those of a manifest) is changed with it, so that no caller can forget it. Every
 * call does what it does however often it is repeated. Values: values.h.
 */
#ifndef ENTREPOT_META_RECORDS_H
#define ENTREPOT_META_RECORDS_H

#include "meta/db.h"
#include "meta/key.h"
#include "meta/values.h"

/* Of any kind. Errors are NOT_FOUND, DAMAGED for a value that says nothing, IO. */
must_check int meta_get(struct db *db, struct meta_key key, struct str *value_r);
/* 0, NOT_FOUND, IO */
must_check int meta_find(struct db *db, struct meta_key key);
/* What cannot be read is not there; the batch knows (db_read_failed()). */
bool meta_has(struct db *db, struct meta_key key);
/* Does any key begin so? What cannot be read counts as there. */
bool meta_any(struct db *db, struct meta_key prefix);
void meta_put(struct db *db, struct meta_key key, const struct str *value);
/* One without a value, all in its key. */
void meta_put_key(struct db *db, struct meta_key key);
void meta_delete(struct db *db, struct meta_key key);
/* About how many bytes those of a kind take on the disk. */
uint64_t meta_bytes(struct db *db, enum meta_kind kind);

/* META_BLOB, META_LINK, META_IMAGE */
must_check int meta_blob_get(struct db *db, struct meta_key key, struct record_blob *b_r);
void meta_blob_put(struct db *db, struct meta_key key, uint64_t size, uint64_t time);

/* Bytes of a store that nobody holds are no longer known there, damaged or not. */
void meta_blob_forget(struct db *db, const char *store, const struct digest *digest);

/* META_MANIFEST. `value` keeps what the record's strings point into. */
must_check int meta_manifest_get(struct db *db, struct meta_key key, struct mem_arena *arena,
                                 struct str *value, struct record_manifest *m_r);
/* Without the arrays. */
must_check int meta_manifest_peek(struct db *db, struct meta_key key, struct str *value,
                                  uint64_t *size_r, const char **media_type_r);
/* With the back-references from what it names. */
void meta_manifest_put(struct db *db, struct meta_key key, const struct record_manifest *m);
void meta_manifest_delete(struct db *db, struct meta_key key, const struct record_manifest *m);

/* META_TAG. `value` keeps what the record's string points into. */
must_check int meta_tag_get(struct db *db, struct meta_key key, struct str *value,
                            struct record_tag *t_r);
/* It points there from now on. `old`: where it pointed until now; NULL: it is new. */
void meta_tag_put(struct db *db, struct meta_key key, const struct record_tag *t,
                  const struct digest *old);
/* It pointed there. */
void meta_tag_delete(struct db *db, struct meta_key key, const struct digest *old);

/* Walks over keys that begin so, in the database's order, behind `after` (NULL: from the first). It
 * sees what is there when it begins, collected changes too, and not what changes while it goes. One
 * that began with something collected ends before that is done or discarded. */
struct meta_walk;
struct meta_walk *meta_walk_new(struct db *db, struct meta_key prefix,
                                const struct meta_place *after);
/* The next one (at first the first), whose strings hold until the one after it. False: there is
 * none, or none can be read. What is no key at all is passed by. */
bool meta_walk_next(struct meta_walk *walk, struct meta_key *key_r);
/* The same, and does not pass by: kind META_NONE. */
bool meta_walk_step(struct meta_walk *walk, struct meta_key *key_r);
/* Of the present one. */
const char *meta_walk_value(const struct meta_walk *walk, size_t *len_r);
size_t meta_walk_size(const struct meta_walk *walk); /* bytes of key and value */
void meta_walk_place(const struct meta_walk *walk, struct meta_place *place_r);
void meta_walk_delete(struct meta_walk *walk);
/* Frees. IO when not all could be read; what was passed by is no error. */
must_check int meta_walk_end(struct meta_walk **walk);
/* The same for who must have seen all: else DAMAGED, when something was passed by. */
must_check int meta_walk_end_whole(struct meta_walk **walk);

/* Each change of a kind as they came, but for the first `from`, with what was there before it.
 * Returns how many there are. */
size_t meta_batch_since(struct db *db, enum meta_kind kind, size_t from,
                        void (*each)(void *ctx, const struct meta_key *key,
                                     const struct db_change *change),
                        void *ctx);

#endif
