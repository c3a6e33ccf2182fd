/*
 * quota.c - what a blob store may hold, as workers see it. Pure, but for a look at a file.
 */
#include "api/quota.h"

#include "base/mem.h"

bool quota_fits(const struct api_call *call, uint64_t bytes)
{
    uint64_t quota = call->route.repo->store->quota;
    uint64_t used = atomic_load(&call->api->index.header->store_bytes[api_store_place(call)]);

    return quota == 0 || (bytes <= quota && used <= quota - bytes);
}

bool quota_refuses(const struct api_call *call, uint64_t size, const struct digest *wanted)
{
    uint64_t quota = call->route.repo->store->quota, held;

    if (quota_fits(call, size))
        return false;
    return size > quota ||
           (wanted->alg != 0 && store_blob_size(api_store(call), wanted, &held) == ERR_NOT_FOUND);
}

const char *quota_text(struct api_call *call)
{
    return mem_arena_printf(
        call->r->arena,
        "the quota of blob store %s is used up: delete images, whose bytes "
        "entrepotctl gc frees when they have been unused for gc_grace (%llu s) and entrepotctl "
        "gc --now at once where no push needs them, or raise the quota",
        call->route.repo->store->name, (unsigned long long)call->api->conf->gc_grace_ms / 1000);
}

void quota_answer(struct api_call *call)
{
    problem_answer(call->r, PROBLEM_DENIED, "%s", quota_text(call));
}
