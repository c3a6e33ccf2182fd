/*
 * hashes.c - running hashes between requests, least recently used first out.
 * Runs in workers; a crash loses them, and the final PUT reads the file again.
 */
#include "api/hashes.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define KEPT_MAX 256

struct kept {
    char id[STORE_UPLOAD_ID_LEN + 1];
    uint64_t offset;
    struct digest_ctx *ctx;
    TAILQ_ENTRY(kept) entry;
};

struct api_hashes {
    TAILQ_HEAD(kept_list, kept) list; /* most recent first; short enough to walk */
    size_t count;
};

struct api_hashes *api_hashes_new(void)
{
    struct api_hashes *hashes = mem_alloc(sizeof(*hashes));

    TAILQ_INIT(&hashes->list);
    return hashes;
}

static void forget(struct api_hashes *hashes, struct kept *kept)
{
    TAILQ_REMOVE(&hashes->list, kept, entry);
    hashes->count--;
    digest_ctx_free(&kept->ctx);
    free(kept);
}

void api_hashes_free(struct api_hashes **hashes_p)
{
    struct api_hashes *hashes = *hashes_p;

    if (!hashes)
        return;
    *hashes_p = NULL;
    while (!TAILQ_EMPTY(&hashes->list))
        forget(hashes, TAILQ_FIRST(&hashes->list));
    free(hashes);
}

void api_hashes_keep(struct api_hashes *hashes, const char *id, uint64_t offset,
                     struct digest_ctx *ctx)
{
    struct kept *kept = mem_alloc(sizeof(*kept));

    memcpy(kept->id, id, STORE_UPLOAD_ID_LEN);
    kept->offset = offset;
    kept->ctx = ctx;
    TAILQ_INSERT_HEAD(&hashes->list, kept, entry);
    if (++hashes->count > KEPT_MAX)
        forget(hashes, TAILQ_LAST(&hashes->list, kept_list));
}

struct digest_ctx *api_hashes_take(struct api_hashes *hashes, const char *id, uint64_t offset)
{
    struct digest_ctx *ctx = NULL;
    struct kept *kept;

    TAILQ_FOREACH(kept, &hashes->list, entry) {
        if (strcmp(kept->id, id) != 0)
            continue;
        if (kept->offset == offset) {
            ctx = kept->ctx;
            kept->ctx = NULL;
        }
        forget(hashes, kept);
        return ctx;
    }
    return NULL;
}
