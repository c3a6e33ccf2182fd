/*
 * layout.c - the only place that knows where things lie below a blob store.
 * Pure. Paths are made of hex digits and constants alone.
 */
#include "store/layout.h"

#include "base/must.h"
#include "base/str.h"

#include <stdio.h>
#include <string.h>

#define OWNER_BYTES         16
#define PARTIAL_OWNER_BYTES 8

static const char *hex_of(const struct digest *digest, char text[DIGEST_TEXT_MAX])
{
    return strchr(digest_text(digest, text), ':') + 1;
}

char *layout_blob(const struct digest *digest, char out[LAYOUT_PATH_MAX])
{
    char text[DIGEST_TEXT_MAX];
    const char *hex = hex_of(digest, text);

    MUST(snprintf(out, LAYOUT_PATH_MAX, "blobs/%s/%.2s/%s", digest_alg_name(digest->alg), hex,
                  hex) < LAYOUT_PATH_MAX);
    return out;
}

char *layout_blob_dir(const struct digest *digest, char out[LAYOUT_PATH_MAX])
{
    char text[DIGEST_TEXT_MAX];

    MUST(snprintf(out, LAYOUT_PATH_MAX, "blobs/%s/%.2s", digest_alg_name(digest->alg),
                  hex_of(digest, text)) < LAYOUT_PATH_MAX);
    return out;
}

char *layout_shard(uint8_t alg, unsigned shard, char out[LAYOUT_PATH_MAX])
{
    MUST(snprintf(out, LAYOUT_PATH_MAX, "blobs/%s/%02x", digest_alg_name(alg), shard & 0xff) <
         LAYOUT_PATH_MAX);
    return out;
}

static char *flat(const char *room, const struct digest *digest, char out[LAYOUT_PATH_MAX])
{
    char text[DIGEST_TEXT_MAX];

    MUST(snprintf(out, LAYOUT_PATH_MAX, "%s/%s-%s", room, digest_alg_name(digest->alg),
                  hex_of(digest, text)) < LAYOUT_PATH_MAX);
    return out;
}

char *layout_trash(const struct digest *digest, char out[LAYOUT_PATH_MAX])
{
    return flat("trash", digest, out);
}

char *layout_quarantine(const struct digest *digest, char out[LAYOUT_PATH_MAX])
{
    return flat("quarantine", digest, out);
}

char *layout_partial(const struct digest *digest, const char *repo, char out[LAYOUT_PATH_MAX])
{
    char text[DIGEST_TEXT_MAX], hex[2 * PARTIAL_OWNER_BYTES + 1];
    struct digest hash;

    digest_of(DIGEST_SHA256, repo, strlen(repo), &hash);
    str_hex(hash.bytes, PARTIAL_OWNER_BYTES, hex);
    MUST(snprintf(out, LAYOUT_PATH_MAX, "partial/%s-%s-%s", digest_alg_name(digest->alg),
                  hex_of(digest, text), hex) < LAYOUT_PATH_MAX);
    return out;
}

bool layout_upload(const char *id, const char *repo, const char *image, char out[LAYOUT_PATH_MAX])
{
    struct str owner = {0};
    struct digest hash;
    char hex[2 * OWNER_BYTES + 1];

    if (strlen(id) != LAYOUT_ID_LEN || strspn(id, "0123456789abcdef") != LAYOUT_ID_LEN)
        return false;
    str_append(&owner, repo, strlen(repo) + 1); /* the end mark separates */
    str_puts(&owner, image);
    digest_of(DIGEST_SHA256, owner.data, owner.len, &hash);
    str_free(&owner);
    str_hex(hash.bytes, OWNER_BYTES, hex);
    MUST(snprintf(out, LAYOUT_PATH_MAX, "uploads/%s-%s", id, hex) < LAYOUT_PATH_MAX);
    return true;
}
