/*
 * layout.h - where things lie below a blob store's path. The only place that
 * knows:
 *
 *   blobs/<alg>/<first two hex digits>/<hex>   finished, named by content
 *   trash/<alg>-<hex>                          was a blob nobody referred to
 *   quarantine/<alg>-<hex>                     was a blob whose bytes had changed
 *   uploads/<32 hex id>-<32 hex owner>         an upload session's bytes so far
 *   uploads/<...>.sum                          what is known of their hash
 *   partial/<alg>-<hex>-<16 hex of repository> a download's bytes so far
 *   IDENTITY                                   identity.h
 *   journal, journal.new, journal.old          journal.h: in its place, not yet, not any more
 *   lock                                       of whoever uses the store: flock(2)
 *
 * The last digits of <id> say who began it (shm/sessions.h). <owner> is the first half of the
 * SHA-256 of repository, user and image, so a session cannot be found through another name or by
 * another user. The argument `repo` of layout_upload() is therefore "REPO\nUSER" where somebody has
 * logged in, and "REPO" for the anonymous.
 */
#ifndef ENTREPOT_STORE_LAYOUT_H
#define ENTREPOT_STORE_LAYOUT_H

#include "base/digest.h"

#include <stdbool.h>

#define LAYOUT_PATH_MAX 192
#define LAYOUT_ID_LEN   32

#define JOURNAL_FILE "journal"
#define JOURNAL_NEW  "journal.new"
#define JOURNAL_OLD  "journal.old"
#define LOCK_FILE    "lock"

/* "blobs/sha256/ab/abcd..." relative to the store; returns out. */
char *layout_blob(const struct digest *digest, char out[LAYOUT_PATH_MAX]);
/* "blobs/sha256/ab": the directory to sync after a rename into it. */
char *layout_blob_dir(const struct digest *digest, char out[LAYOUT_PATH_MAX]);
/* "blobs/sha256/ab" of a number below 256. */
char *layout_shard(uint8_t alg, unsigned shard, char out[LAYOUT_PATH_MAX]);
char *layout_trash(const struct digest *digest, char out[LAYOUT_PATH_MAX]);
char *layout_quarantine(const struct digest *digest, char out[LAYOUT_PATH_MAX]);
/* "partial/...": of the download of a blob for a proxy repository. */
char *layout_partial(const struct digest *digest, const char *repo, char out[LAYOUT_PATH_MAX]);
/* "uploads/<id>-<owner>"; false when id is not LAYOUT_ID_LEN lower-case hex digits. */
bool layout_upload(const char *id, const char *repo, const char *image, char out[LAYOUT_PATH_MAX]);

#endif
