/*
 * store_fs.h - a blob store on a file system. Workers, fetcher and catalog share
 * the directory; what makes that safe is that blobs only ever appear by rename.
 * Everything that syncs or hashes blocks: call it from a pool thread.
 */
#ifndef ENTREPOT_STORE_STORE_FS_H
#define ENTREPOT_STORE_STORE_FS_H

#include "base/digest.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct store {
    int dir_fd;  /* -1: not open */
    int told;    /* store_try(): errno of what was told last */
    char id[33]; /* its identity; "": store_try() has not opened it as bound */
};

/* Makes blobs/<alg>/00..ff and uploads/ when they are missing, owned by uid/gid (-1: leave),
 * modes 0750, and opens the directory, which itself is made only below an existing one. errno
 * tells what failed. A store whose dir_fd is -1 (it did not open) is UNAVAILABLE to all calls. */
must_check int store_open(const char *path, uid_t uid, gid_t gid, struct store *store_r);
/* For roles: opens a store that is not open yet; makes nothing. `bound`: only when it says that it
 * is the one of that name (identity.h), which the catalog alone decides for a new one. When it
 * cannot, the log is told why, once for each reason, and the caller goes on without it and tries
 * again. True: it is open. */
bool store_try(struct store *store, const char *name, const char *path, bool bound);
void store_close(struct store *store);

/* Opens a finished blob for reading. Fails with DAMAGED when its size is not
 * `size`, NOT_FOUND when it is missing. */
must_check int store_blob_open(const struct store *store, const struct digest *digest,
                               uint64_t size, int *fd_r);
must_check int store_blob_size(const struct store *store, const struct digest *digest,
                               uint64_t *size_r);
must_check int store_blob_unlink(const struct store *store, const struct digest *digest);

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
/* Files in one of the 256 directories of an algorithm, at most `max`, whose names
 * did not change for older_than_ms. Blocks. */
must_check int store_blobs_list(const struct store *store, uint8_t alg, unsigned shard,
                                uint64_t older_than_ms, struct store_found *found, size_t max,
                                size_t *count_r);

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

/* fdatasync, rename to its digest's place, fsync of the directory. Blocks. */
must_check int store_upload_finish(const struct store *store, int fd, const char *repo,
                                   const char *image, const char *id, const struct digest *digest);
/* The last steps of both: sync the file, rename `from` (relative to the store) to
 * its digest's place, sync that directory. Blocks. */
must_check int store_blob_place(const struct store *store, int fd, const char *from,
                                const struct digest *digest);
/* A whole small blob (a manifest) made durable under its digest. Blocks. */
must_check int store_blob_write(const struct store *store, const struct digest *digest,
                                const void *data, size_t len);

/* store_partial.c: files of downloads by the fetcher. */
/* Opens or makes the file of a download, locked against others that write it while it is open;
 * size_r: what an interrupted one left. BUSY: somebody else writes it. Blocks. */
must_check int store_partial_open(const struct store *store, const char *repo,
                                  const struct digest *digest, int *fd_r, uint64_t *size_r);
/* A file without a name, in the same file system. */
must_check int store_partial_unnamed(const struct store *store, int *fd_r);
/* Blocks the space of [0, len) without growing the file; NO_SPACE also when less than keep_free
 * bytes would stay free. Blocks. */
must_check int store_partial_reserve(const struct store *store, int fd, uint64_t len,
                                     uint64_t keep_free);
/* Gives it its place among the blobs, durably. Blocks. */
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
