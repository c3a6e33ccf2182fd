/*
 * manifest_read.c - GET, HEAD and DELETE of manifests and tags (protocol notes
 * 1.7, 1.10).
 *
 * Runs in workers. Bytes and media type are what was pushed; Accept chooses
 * nothing. The bytes are hashed when they are read: a damaged file is never
 * served as the manifest it once was.
 */
#include "api/api.h"

#include "api/hot.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/range.h"
#include "oci/name.h"

#include <string.h>

struct manifest_read {
    struct digest digest;
    char text[DIGEST_TEXT_MAX];
    const char *media_type;
    uint64_t size;
    bool by_digest;
};

static void add_manifest_headers(struct api_call *call, const struct manifest_read *m)
{
    http_header_put(call->r, "Content-Type", m->media_type);
    http_header_put(call->r, "Docker-Content-Digest", m->text);
    http_header_add(call->r, "ETag", "\"%s\"", m->text);
    http_header_put(call->r, "Cache-Control",
                    m->by_digest ? "max-age=31536000, immutable" : "no-cache");
}

/* A reference with a colon is a digest, else it must be a tag. Answers when it is neither. */
static bool reference_ok(struct api_call *call, bool *is_digest_r, struct digest *digest_r)
{
    const char *ref = call->route.ref;

    *is_digest_r = strchr(ref, ':') != NULL;
    if (*is_digest_r)
        return api_digest(call, ref, digest_r);
    if (name_tag_ok(ref, strlen(ref)))
        return true;
    problem_answer(call->r, PROBLEM_TAG_INVALID, NULL);
    return false;
}

static bool manifest_find(struct api_call *call, struct manifest_read *m)
{
    struct index_entry entry;
    int err;

    if (!reference_ok(call, &m->by_digest, &m->digest))
        return false;
    err = index_find(&call->api->index, m->by_digest ? INDEX_MANIFEST : INDEX_TAG,
                     call->route.repo->name, call->route.image, call->route.ref, &entry);
    if (err != 0) {
        problem_answer(
            call->r, err == ERR_NOT_FOUND ? PROBLEM_MANIFEST_UNKNOWN : problem_from_err(err), NULL);
        return false;
    }
    m->digest = *entry.digest;
    m->size = entry.size;
    m->media_type = mem_arena_strdup(call->r->arena, entry.media_type);
    digest_text(&m->digest, m->text);
    return true;
}

static void answer_unreadable(struct api_call *call, const struct manifest_read *m, int err)
{
    if (err == ERR_NOT_FOUND || err == ERR_DAMAGED || err == ERR_MISMATCH) {
        log_error("a manifest's file is missing or damaged; push it again to heal",
                  "store=%s digest=%s req=%s", call->route.repo->store->name, m->text, call->r->id);
        api_tell_damaged(call, &m->digest);
        problem_answer(call->r, PROBLEM_MANIFEST_UNKNOWN, NULL);
        return;
    }
    log_error("cannot read a manifest", "digest=%s err=%s req=%s", m->text,
              log_quote(err_text(err)), call->r->id);
    problem_answer(call->r, problem_from_err(err), NULL);
}

static void manifest_here(struct api_call *call, int err)
{
    const struct manifest_read *m = call->op;

    if (err != 0) {
        answer_unreadable(call, m, err);
        return;
    }
    add_manifest_headers(call, m);
    if (call->r->method == HTTP_GET)
        http_answer_memory(call->r, 200, call->object->data, m->size);
    else
        http_answer_length(call->r, 200, m->size);
}

void api_manifest_read(struct api_call *call)
{
    struct manifest_read *m = mem_arena_alloc(call->r->arena, sizeof(*m));
    const char *if_none_match = http_header_get(call->r, "If-None-Match");

    call->op = m;
    if (!manifest_find(call, m))
        return;
    if (if_none_match && range_etag_matches(if_none_match, m->text)) {
        add_manifest_headers(call, m);
        http_answer_empty(call->r, 304);
        return;
    }
    api_object(call, &m->digest, m->size, true, manifest_here);
}

static void deleted(struct ask *ask, int err, struct msg_reader *reply, int fd)
{
    api_answer_deleted(api_call_of_ask(ask), api_reply_err(err, reply, fd),
                       PROBLEM_MANIFEST_UNKNOWN);
}

void api_manifest_delete(struct api_call *call)
{
    struct push_target target = {.repo = call->route.repo->name, .image = call->route.image};
    struct push_list tag = {.repo = target.repo, .image = target.image, .last = call->route.ref};
    bool is_digest;

    if (!api_may_delete(call) || !reference_ok(call, &is_digest, &target.digest))
        return;
    if (is_digest)
        push_target_put(api_ask_begin(call, MSG_MANIFEST_DELETE), &target);
    else
        push_list_put(api_ask_begin(call, MSG_TAG_DELETE), &tag);
    api_ask(call, deleted);
}
