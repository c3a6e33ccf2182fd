/*
 * store.h - a blob store: what is kept in it, and how it comes and goes.
 *
 * Workers, fetcher, catalog and entrepotctl use one at the same time. What makes that safe: a blob
 * is only ever there whole, under the digest of its bytes, and whoever has one open keeps it. What
 * comes (an upload session, a download) is a file of its own, open for whoever brings it, until it
 * is committed as a digest. Where and how all that is kept is nobody's business out of this room:
 * it is a directory (layout.h), and may be something else one day.
 *
 * A store that is not open is UNAVAILABLE to all calls. What reads, syncs, hashes or looks through
 * it blocks: call it from a pool thread.
 */
#ifndef ENTREPOT_STORE_STORE_H
#define ENTREPOT_STORE_STORE_H

#include "base/digest.h"
#include "base/err.h"
#include "conf/conf.h"
#include "store/identity.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct store;

/* Of a section of the configuration, which outlives it; not open. */
struct store *store_new(const struct conf_store *conf);
/* Closes it, too. NULL is nothing. */
void store_free(struct store **store_p);

/* Makes what is missing of a store, owned by uid/gid (-1: leave), below an existing directory.
 * errno tells what failed. */
must_check int store_make(const struct conf_store *conf, uid_t uid, gid_t gid);
/* Opens one that is there; makes nothing, for in an empty mount point there is to be nothing of
 * ours. errno tells what failed. */
enum store_use {
    STORE_ANYHOW, /* whatever lies there: its identity is asked for, or written */
    STORE_READ,
    STORE_WRITE
};
must_check int store_open(struct store *store, enum store_use use);
/* For roles: opens a store that is not open yet. `bound`: only when it says that it is the one of
 * that name (identity.h), which the catalog alone decides for a new one. When it cannot, the log is
 * told why, once for each reason, and the caller goes on without it and tries again. True: it is
 * open. */
bool store_try(struct store *store, bool bound);
/* Another handle of what is open, for a thread: it stays what it is when the first one is closed.
 */
struct store *store_again(const struct store *store);
void store_close(struct store *store);
bool store_is_open(const struct store *store);
/* Its identity; "": store_try() has not opened it as bound. */
const char *store_id(const struct store *store);
/* Does its path lead to something else than what is open? What cannot be looked at is no reason to
 * say so. Blocks. */
bool store_is_elsewhere(const struct store *store);
/* Room that it has for more. */
must_check int store_free_bytes(const struct store *store, uint64_t *bytes_r);
/* Is any blob in it? Blocks. */
bool store_has_blobs(const struct store *store);
/* The account whose files they are. errno tells. */
must_check int store_owner(const struct store *store, uid_t *uid_r, gid_t *gid_r);

/* store_side.c: who it is (identity.h), and whose alone. The journal: journal.h. */
/* As identity_read(); store_identity_of(): of one that is not open. */
must_check int store_identity_read(const struct store *store, struct identity *identity_r);
must_check int store_identity_of(const struct conf_store *conf, struct identity *identity_r);
/* Durable when it returns. Blocks. */
must_check int store_identity_write(const struct store *store, const struct identity *identity);
/* Does it have one, whatever is in it? */
bool store_identity_there(const struct store *store);
/* For the master, whose locks outlive every other process and are compared: a descriptor to
 * flock(2), made when it is missing. -1: the store is away, nothing is in it, or nothing can be
 * locked there; errno tells. */
int store_lock_open(const struct conf_store *conf);
/* Locks an open store until it is closed. BUSY: somebody uses it. errno tells. */
must_check int store_lock(struct store *store);

/* Opens a finished blob for reading. Fails with DAMAGED when its size is not
 * `size`, NOT_FOUND when it is missing. */
must_check int store_blob_open(const struct store *store, const struct digest *digest,
                               uint64_t size, int *fd_r);
must_check int store_blob_size(const struct store *store, const struct digest *digest,
                               uint64_t *size_r);
/* The same from what the kernel has in memory, for whom no disk may hold up. BUSY: it is not. */
must_check int store_blob_size_cached(const struct store *store, const struct digest *digest,
                                      uint64_t *size_r);
must_check int store_blob_unlink(const struct store *store, const struct digest *digest);
/* For checking: opens it whatever its size, past the cache of pages where the disk can, so that
 * reads see the disk and take no room from what is pulled. They are of aligned pieces, then. */
must_check int store_blob_open_raw(const struct store *store, const struct digest *digest,
                                   int *fd_r, uint64_t *size_r);
/* Is what is there under that digest what is open as `fd`? -1: is nothing there? */
bool store_blob_is(const struct store *store, const struct digest *digest, int fd);

/* store_trash.c */
/* Takes a blob out of its place; its file stays in the trash for a while. */
must_check int store_blob_aside(const struct store *store, const struct digest *digest);
/* And back, durably: somebody needs it after all. NOT_FOUND when it is not there. Blocks. */
must_check int store_blob_back(const struct store *store, const struct digest *digest);
/* Puts a damaged blob, open as `fd`, where nobody is served from it and an operator
 * can look. CONFLICT when its place holds another file by now, which stays there. Blocks. */
must_check int store_blob_quarantine(const struct store *store, const struct digest *digest,
                                     int fd);
/* Unlinks what has been in the trash that long. Blocks. */
must_check int store_trash_empty(const struct store *store, uint64_t older_than_ms);

struct store_found {
    struct digest digest;
    uint64_t size;
};
/* How far a list of a store's blobs has come; zero: it begins. Its owner looks at `end` alone. */
struct store_cursor {
    uint64_t at;
    bool end;
};
/* A whole list comes in about so many pieces: who has a day for it knows how long to wait. */
#define STORE_LIST_PIECES 512
/* The next piece, at most `max`, of blobs that did not come, go or come back for older_than_ms,
 * known to the database or not. A piece that cannot be listed is left out by the next call. Blocks.
 */
must_check int store_blobs_list(const struct store *store, struct store_cursor *cursor,
                                uint64_t older_than_ms, struct store_found *found, size_t max,
                                size_t *count_r);

/* store_upload.c */
#define STORE_UPLOAD_ID_LEN  32 /* hex digits */
#define STORE_UPLOAD_TAG_LEN 8  /* of them, the last */
#define STORE_UPLOAD_KEY_MAX 192
/* What names a session among all of its store; false for what is no id. `repo` is "REPO\nUSER"
 * where somebody has logged in: a session is found neither through another name nor by another
 * user. */
bool store_upload_key(const char *id, const char *repo, const char *image,
                      char key_r[STORE_UPLOAD_KEY_MAX]);
/* An upload session's file, locked against other writers (flock) while open. Its random id ends
 * with `tag`, which says who began it (shm/sessions.h). */
must_check int store_upload_create(const struct store *store, const char *repo, const char *image,
                                   uint32_t tag, char id_out[33], int *fd_r);
/* NOT_FOUND; BUSY when another process writes it and `lock` is true. */
must_check int store_upload_open(const struct store *store, const char *repo, const char *image,
                                 const char *id, bool lock, int *fd_r, uint64_t *size_r);
must_check int store_upload_unlink(const struct store *store, const char *repo, const char *image,
                                   const char *id);

/* Cuts a session's file, open and locked as `fd`, back to `size` bytes; what was known of its hash
 * counts no more. Blocks. */
must_check int store_upload_rewind(const struct store *store, int fd, const char *repo,
                                   const char *image, const char *id, uint64_t size);
/* Was it ever? Then its hash is what the file's bytes say and nothing else. */
bool store_upload_rewound(int fd);

/* Remembers that the first `size` bytes hash to `digest`, for the worker that
 * takes the final PUT. Holds only within this boot: after a power loss the
 * bytes may differ, so it names the boot id and is ignored after another. */
must_check int store_upload_sum_save(const struct store *store, const char *repo, const char *image,
                                     const char *id, uint64_t size, const struct digest *digest);
/* NOT_FOUND when nothing valid is known for exactly `size` bytes. */
must_check int store_upload_sum_load(const struct store *store, const char *repo, const char *image,
                                     const char *id, uint64_t size, struct digest *digest_r);

/* Commits what it has as a digest, durably: the session is over. Blocks. */
must_check int store_upload_finish(const struct store *store, int fd, const char *repo,
                                   const char *image, const char *id, const struct digest *digest);
/* A whole small blob (a manifest) made durable under its digest. Blocks. */
must_check int store_blob_write(const struct store *store, const struct digest *digest,
                                const void *data, size_t len);

/* store_partial.c: files of downloads by the fetcher. */
/* Opens or makes the file of a download, locked against others that write it while it is open;
 * size_r: what an interrupted one left. BUSY: somebody else writes it. Blocks. */
must_check int store_partial_open(const struct store *store, const char *repo,
                                  const struct digest *digest, int *fd_r, uint64_t *size_r);
/* A file of nobody, with the same room. */
must_check int store_partial_unnamed(const struct store *store, int *fd_r);
/* Blocks the space of [0, len) without growing the file; NO_SPACE also when less than keep_free
 * bytes would stay free. Blocks. */
must_check int store_partial_reserve(const struct store *store, int fd, uint64_t len,
                                     uint64_t keep_free);
/* Commits what it has as a digest, durably. Blocks. */
must_check int store_partial_place(const struct store *store, int fd, const char *repo,
                                   const struct digest *digest);
void store_partial_unlink(const struct store *store, const char *repo, const struct digest *digest);
/* Removes files that nobody wrote to for that long. Blocks. */
void store_partials_sweep(const struct store *store, uint64_t older_than_ms);

/* Counts upload sessions and their bytes, and removes those not written to for expiry_ms. `seen`
 * (or NULL) gets the id of each that stays, with more text behind it. */
must_check int store_uploads_survey(const struct store *store, uint64_t expiry_ms,
                                    void (*seen)(void *ctx, const char *id), void *ctx,
                                    uint64_t *count_r, uint64_t *bytes_r);

#endif
