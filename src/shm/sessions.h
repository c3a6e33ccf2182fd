/*
 * sessions.h - how many upload sessions are open, of each store and of each holder.
 *
 * A holder is whoever began a session, a user or an address. The session's file keeps it: the last
 * SESSIONS_TAG_LEN digits of its id are a tag of the holder (store_upload_create). What is counted
 * here is made from the files again now and then, so that neither a worker's death nor a restart
 * of the daemon makes it wrong for long.
 *
 * Shared memory of the master that outlives every other process; workers count, the catalog
 * corrects. Tags are keyed by the store's identity: a tag is of one store, and nobody can look for
 * a holder with the tag of another. Tags that share a place share what is counted.
 */
#ifndef ENTREPOT_SHM_SESSIONS_H
#define ENTREPOT_SHM_SESSIONS_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SESSIONS_ID_LEN  32 /* hex digits */
#define SESSIONS_TAG_LEN 8

struct sessions;

must_check int sessions_new(struct sessions **sessions_r);

/* Of a holder (a text of the caller's making) in the store with that identity. */
uint32_t sessions_tag(const char *store_id, const char *holder);
/* Of a session's id, whose last digits it is; any number for what is no id. */
uint32_t sessions_tag_of(const char *id);

/* One more, before its file is made. QUOTA: the holder has `share` already; BUSY: the store, by its
 * place in the configuration, has `max`. */
must_check int sessions_add(struct sessions *s, size_t store, uint32_t tag, uint64_t share,
                            uint64_t max);
/* One less, after its file went. */
void sessions_drop(struct sessions *s, size_t store, uint32_t tag);

/* Counting anew what there is: begin before the first file is looked at. Where sessions come and
 * go meanwhile, a count is only moved as far as they cannot explain. Not `whole`: some were not
 * looked at, nothing is moved. */
struct sessions_count;
struct sessions_count *sessions_count_begin(struct sessions *s);
void sessions_count_one(struct sessions_count *count, size_t store, uint32_t tag);
void sessions_count_end(struct sessions_count **count, bool whole);

#endif
