/*
 * digest.h - content digests (OCI image-spec, "Digests") and hashing.
 * The only user of libcrypto's EVP digests.
 */
#ifndef ENTREPOT_BASE_DIGEST_H
#define ENTREPOT_BASE_DIGEST_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum digest_alg { DIGEST_SHA256 = 1, DIGEST_SHA512 = 2 };

#define DIGEST_BYTES_MAX 64
/* "sha512:" + 128 + NUL */
#define DIGEST_TEXT_MAX 136

/* Bytes past the algorithm's length are zero, so memcmp of the whole compares. */
struct digest {
    uint8_t alg; /* enum digest_alg; 0: no digest */
    uint8_t bytes[DIGEST_BYTES_MAX];
};

size_t digest_len(uint8_t alg);           /* 32 or 64; 0 for an unknown algorithm */
const char *digest_alg_name(uint8_t alg); /* "sha256"; NULL when unknown */
/* By name; 0 when unknown. */
uint8_t digest_alg_by_name(const char *name, size_t len);

/* `alg:lowerhex`, exact length. INVALID otherwise. */
must_check int digest_parse(const char *text, struct digest *digest_r);
/* Writes `alg:hex` and a NUL into out[DIGEST_TEXT_MAX]; returns out. */
char *digest_text(const struct digest *d, char *out);
bool digest_equal(const struct digest *a, const struct digest *b);

/* Incremental hashing. */
struct digest_ctx;
struct digest_ctx *digest_ctx_new(uint8_t alg);
void digest_ctx_free(struct digest_ctx **ctx);
void digest_ctx_update(struct digest_ctx *ctx, const void *data, size_t len);
/* The digest of all so far; the context can go on. */
void digest_ctx_peek(const struct digest_ctx *ctx, struct digest *digest_r);

void digest_of(uint8_t alg, const void *data, size_t len, struct digest *digest_r);
/* Hashes [0, len) of a file with pread; IO when it is shorter. Blocks: pool only. */
must_check int digest_of_file(uint8_t alg, int fd, uint64_t len, struct digest *digest_r);

#endif
