/*
 * manifest_read.c - GET, HEAD and DELETE of manifests and tags (doc/protocol.md,
 * "Pulling manifests", "Deletes").
 *
 * Runs in workers. Bytes and media type are what was pushed; Accept chooses
 * nothing. The bytes are hashed when they are read, a large manifest's file before it
 * is sent: a damaged file is never served as the manifest it once was. A crash here costs requests;
 * a delete that was asked for may have happened, and the client's next one hears 404.
 */

#include "api/members.h"

#include "api/hot.h"
#include "api/object.h"
#include "api/upstream.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/range.h"
#include "oci/name.h"

#include <string.h>
#include <time.h>

struct manifest_read {
    struct digest digest;
    char text[DIGEST_TEXT_MAX];
    const char *media_type;
    uint64_t size;
    bool by_digest;
    bool cold;    /* by digest: no member has it here, the remotes are asked */
    bool fetched; /* a remote was asked because the file is missing or damaged here */
    struct members members;
};

static void find_next(struct api_call *call);

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

static bool fresh(const struct api_call *call, const struct conf_repo *repo)
{
    struct index_entry checked;
    uint64_t now = (uint64_t)time(NULL);

    if (repo->kind != CONF_PROXY)
        return true;
    if (index_find(&call->api->index, INDEX_CHECKED, repo->name, call->route.image, call->route.ref,
                   &checked) != 0)
        return false;
    if (now < checked.size) /* another second's of another process, or of a clock that was wrong */
        return !clock_ahead((int64_t)checked.size, 0);
    return (now - checked.size) * 1000 < repo->proxy->tag_ttl_ms;
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

static void answer_bytes(struct api_call *call, const struct manifest_read *m)
{
    struct http_segment *segment = mem_arena_alloc(call->r->arena, sizeof(*segment));

    *segment =
        (struct http_segment){.data = call->object->data, .fd = call->object->fd, .len = m->size};
    http_answer_segments(call->r, 200, segment, 1);
}

static void manifest_here(struct api_call *call, int err)
{
    struct manifest_read *m = call->op;

    if (call->route.repo->kind == CONF_PROXY && !m->fetched &&
        (err == ERR_NOT_FOUND || err == ERR_DAMAGED || err == ERR_MISMATCH)) {
        m->fetched = m->cold = true;
        m->by_digest = true; /* the tag stands; only the bytes are missing */
        api_tell_damaged(call, &m->digest);
        call->route.ref = mem_arena_strdup(call->r->arena, m->text);
        m->members.at = 0;
        find_next(call);
        return;
    }
    if (err != 0) {
        answer_unreadable(call, m, err);
        return;
    }
    add_manifest_headers(call, m);
    if (call->r->method == HTTP_GET)
        answer_bytes(call, m);
    else
        http_answer_length(call->r, 200, m->size);
}

static void found(struct api_call *call, const struct digest *digest, uint64_t size,
                  const char *media_type)
{
    struct manifest_read *m = call->op;
    const char *if_none_match = http_header_get(call->r, "If-None-Match");

    call->route.repo = m->members.repos[m->members.at];
    m->digest = *digest;
    m->size = size;
    m->media_type = mem_arena_strdup(call->r->arena, media_type);
    digest_text(&m->digest, m->text);
    if (call->route.repo->kind == CONF_PROXY) /* what is used stays longest */
        recent_mark(call->api->recent, call->route.repo->name, call->route.image, digest,
                    (uint64_t)time(NULL));
    if (if_none_match && range_etag_matches(if_none_match, m->text)) {
        add_manifest_headers(call, m);
        http_answer_empty(call->r, 304);
        return;
    }
    api_object(call, &m->digest, m->size, true, manifest_here);
}

static void fetched(struct ask *ask, int err, struct msg_reader *reply, int fd)
{
    struct api_call *call = api_call_of_ask(ask);
    struct manifest_read *m = call->op;
    struct fetch_manifest answer;
    struct fetch_failure why;

    err = upstream_reply_err(err, reply, fd, &why);
    if (err == 0)
        fetch_manifest_get(reply, &answer);
    if (err == 0 && msg_end(reply) != 0)
        err = ERR_UNAVAILABLE;
    if (err == 0) {
        if (answer.stale)
            http_header_add(call->r, "Warning", "299 - \"%s\"",
                            upstream_quotable(call, answer.reason));
        found(call, &answer.digest, answer.size, answer.media_type);
        return;
    }
    if (err != ERR_NOT_FOUND && !members_failed(call, &m->members, err, &why)) {
        members_answer(call, &m->members, PROBLEM_MANIFEST_UNKNOWN);
        return;
    }
    m->members.at++;
    find_next(call);
}

static void ask_remote(struct api_call *call)
{
    struct manifest_read *m = call->op;
    struct msg_writer *w = upstream_ask_begin(call, MSG_FETCH_MANIFEST);

    upstream_count(call, m->members.repos[m->members.at], false);
    fetch_wanted_put(w, &(struct fetch_wanted){.repo = m->members.repos[m->members.at]->name,
                                               .image = call->route.image,
                                               .ref = call->route.ref});
    upstream_ask(call, w, fetched);
}

/* Member by member. A digest is looked for in all that is here before any remote
 * is asked; a tag belongs to the first member that has it. */
static void find_next(struct api_call *call)
{
    struct manifest_read *m = call->op;
    struct members *members = &m->members;

    for (;; members->at = 0, m->cold = true) {
        for (; members->at < members->count; members->at++) {
            const struct conf_repo *repo = members->repos[members->at];
            struct index_entry entry;
            int err = m->cold
                          ? ERR_NOT_FOUND
                          : index_find(&call->api->index, m->by_digest ? INDEX_MANIFEST : INDEX_TAG,
                                       repo->name, call->route.image, call->route.ref, &entry);

            if (err != 0 && err != ERR_NOT_FOUND) {
                problem_answer(call->r, problem_from_err(err), NULL);
                return;
            }
            if (err == 0 && (m->by_digest || fresh(call, repo))) {
                upstream_count(call, repo, true);
                found(call, entry.digest, entry.size, entry.media_type);
                return;
            }
            if (repo->kind == CONF_PROXY && (m->cold || !m->by_digest)) {
                ask_remote(call);
                return;
            }
        }
        if (!m->by_digest || m->cold)
            break;
    }
    members_answer(call, members, PROBLEM_MANIFEST_UNKNOWN);
}

void api_manifest_read(struct api_call *call)
{
    struct manifest_read *m = mem_arena_alloc(call->r->arena, sizeof(*m));

    call->op = m;
    if (!reference_ok(call, &m->by_digest, &m->digest))
        return;
    members_find(call, call->route.repo, call->route.image, &m->members);
    find_next(call);
}

static void deleted(struct ask *ask, int err, struct msg_reader *reply, int fd)
{
    api_answer_deleted(api_call_of_ask(ask), api_reply_err(err, reply, fd), reply,
                       PROBLEM_MANIFEST_UNKNOWN);
}

void api_manifest_delete(struct api_call *call)
{
    struct push_target target = {.repo = call->route.repo->name, .image = call->route.image};
    struct push_tag tag = {.repo = target.repo, .image = target.image, .tag = call->route.ref};
    bool is_digest;

    if (!api_may_delete(call) || !reference_ok(call, &is_digest, &target.digest))
        return;
    if (is_digest)
        push_target_put(api_ask_begin(call, MSG_MANIFEST_DELETE), &target);
    else
        push_tag_put(api_ask_begin(call, MSG_TAG_DELETE), &tag);
    api_ask(call, deleted);
}
