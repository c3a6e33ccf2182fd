/*
 * digest.c - digests: text, hashing. Any process and thread; a context belongs
 * to one at a time.
 *
 * Owns nothing.
 */
#include "base/digest.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/must.h"
#include "base/str.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READ_BYTES (256u << 10)

struct digest_ctx {
    EVP_MD_CTX *evp;
    uint8_t alg;
};

size_t digest_len(uint8_t alg)
{
    return alg == DIGEST_SHA256 ? 32 : alg == DIGEST_SHA512 ? 64 : 0;
}

const char *digest_alg_name(uint8_t alg)
{
    return alg == DIGEST_SHA256 ? "sha256" : alg == DIGEST_SHA512 ? "sha512" : NULL;
}

uint8_t digest_alg_by_name(const char *name, size_t len)
{
    if (len == 6 && memcmp(name, "sha256", 6) == 0)
        return DIGEST_SHA256;
    if (len == 6 && memcmp(name, "sha512", 6) == 0)
        return DIGEST_SHA512;
    return 0;
}

int digest_parse(const char *text, struct digest *digest_r)
{
    const char *colon = strchr(text, ':');
    uint8_t alg = colon ? digest_alg_by_name(text, (size_t)(colon - text)) : 0;

    *digest_r = (struct digest){.alg = alg};
    if (alg != 0 && str_unhex(colon + 1, strlen(colon + 1), digest_r->bytes, digest_len(alg)) == 0)
        return 0;
    *digest_r = (struct digest){0}; /* never half a digest */
    return ERR_INVALID;
}

char *digest_text(const struct digest *d, char *out)
{
    MUST(digest_len(d->alg) > 0);
    memcpy(out, digest_alg_name(d->alg), 6);
    out[6] = ':';
    str_hex(d->bytes, digest_len(d->alg), out + 7);
    return out;
}

bool digest_equal(const struct digest *a, const struct digest *b)
{
    return a->alg == b->alg && memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

struct digest_ctx *digest_ctx_new(uint8_t alg)
{
    struct digest_ctx *ctx = mem_alloc(sizeof(*ctx));

    MUST(digest_len(alg) > 0);
    ctx->alg = alg;
    ctx->evp = EVP_MD_CTX_new();
    MUST(ctx->evp);
    MUST(EVP_DigestInit_ex(ctx->evp, alg == DIGEST_SHA256 ? EVP_sha256() : EVP_sha512(), NULL) ==
         1);
    return ctx;
}

void digest_ctx_free(struct digest_ctx **ctx_p)
{
    struct digest_ctx *ctx = *ctx_p;

    if (!ctx)
        return;
    *ctx_p = NULL;
    EVP_MD_CTX_free(ctx->evp);
    free(ctx);
}

void digest_ctx_update(struct digest_ctx *ctx, const void *data, size_t len)
{
    MUST(EVP_DigestUpdate(ctx->evp, data, len) == 1);
}

void digest_ctx_peek(const struct digest_ctx *ctx, struct digest *digest_r)
{
    EVP_MD_CTX *copy = EVP_MD_CTX_new();

    MUST(copy && EVP_MD_CTX_copy_ex(copy, ctx->evp) == 1);
    *digest_r = (struct digest){.alg = ctx->alg};
    MUST(EVP_DigestFinal_ex(copy, digest_r->bytes, NULL) == 1);
    EVP_MD_CTX_free(copy);
}

void digest_of(uint8_t alg, const void *data, size_t len, struct digest *digest_r)
{
    struct digest_ctx *ctx = digest_ctx_new(alg);

    digest_ctx_update(ctx, data, len);
    digest_ctx_peek(ctx, digest_r);
    digest_ctx_free(&ctx);
}

int digest_of_file(uint8_t alg, int fd, uint64_t len, struct digest *digest_r)
{
    struct digest_ctx *ctx = digest_ctx_new(alg);
    char *buffer = mem_alloc(READ_BYTES);
    uint64_t at = 0;
    int err = 0;

    while (at < len && err == 0) {
        size_t piece = len - at < READ_BYTES ? (size_t)(len - at) : READ_BYTES;

        err = file_pread_full(fd, buffer, piece, at);
        if (err == 0)
            digest_ctx_update(ctx, buffer, piece);
        at += piece;
    }
    if (err == 0)
        digest_ctx_peek(ctx, digest_r);
    free(buffer);
    digest_ctx_free(&ctx);
    return err;
}
