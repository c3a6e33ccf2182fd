/*
 * hashes.h - running SHA-256 of upload sessions between two requests.
 *
 * The bytes of a session come in several requests, often over the same
 * connection. What one worker has hashed so far is kept here for its next
 * request. Where more bytes come through another worker, the file is read again at the end; where
 * only the end does, the hash that lies beside the session's file will do
 * (store_upload_sum_load()).
 */
#ifndef ENTREPOT_API_HASHES_H
#define ENTREPOT_API_HASHES_H

#include "base/digest.h"
#include "store/store.h"

struct api_hashes;

struct api_hashes *api_hashes_new(void);
void api_hashes_free(struct api_hashes **hashes);
/* Keeps the hash of the session's first `offset` bytes; takes the context over.
 * The longest unused one makes room. */
void api_hashes_keep(struct api_hashes *hashes, const char *id, uint64_t offset,
                     struct digest_ctx *ctx);
/* Gives it back if it is for exactly `offset` bytes; NULL otherwise. Either way it is forgotten. */
struct digest_ctx *api_hashes_take(struct api_hashes *hashes, const char *id, uint64_t offset);

#endif
