/*
 * manifest_put.c - PUT of manifests (doc/protocol.md, "Pushing manifests").
 *
 * Runs in workers. The bytes are kept verbatim: written durably under their
 * digest first, then the catalog checks references and policy and writes
 * manifest, tags and back-references in one batch. A crash between the two
 * leaves an orphan file.
 */
#include "api/adopt.h"

#include "api/base_url.h"
#include "api/burden.h"
#include "api/quota.h"
#include "base/fail.h"
#include "base/log.h"
#include "base/mem.h"
#include "oci/name.h"

#include <string.h>

struct manifest_put {
    struct push_manifest push;
    bool by_digest;
    uint8_t alg;
    bool over_quota; /* new bytes would not be let in */
    int job_err;
};

static bool tag_known(const struct manifest_put *p, const char *tag)
{
    for (uint32_t i = 0; i < p->push.tag_count; i++)
        if (strcmp(p->push.tags[i], tag) == 0)
            return true;
    return false;
}

/* ?tag=a&tag=b, only with a digest in the path (end-7b). */
static bool take_tags(struct api_call *call, struct manifest_put *p)
{
    const char *tag;

    for (size_t nth = 0;; nth++) {
        if (http_query_get(call->r, "tag", nth, &tag) != 0) {
            problem_answer(call->r, PROBLEM_PARAMETER, "parameter tag is not properly encoded");
            return false;
        }
        if (!tag)
            return true;
        if (!p->by_digest || !name_tag_ok(tag, strlen(tag))) {
            problem_answer(call->r, PROBLEM_TAG_INVALID, p->by_digest ? NULL : "%s",
                           "tag parameters go with a digest in the path");
            return false;
        }
        if (tag_known(p, tag))
            continue;
        if (p->push.tag_count == PUSH_TAGS_MAX) {
            problem_answer(call->r, PROBLEM_TOO_MANY_TAGS, "at most %d tags a request",
                           PUSH_TAGS_MAX);
            return false;
        }
        p->push.tags[p->push.tag_count++] = tag;
    }
}

static bool take_reference(struct api_call *call, struct manifest_put *p)
{
    const char *ref = call->route.ref;

    p->by_digest = strchr(ref, ':') != NULL;
    p->alg = DIGEST_SHA256;
    if (p->by_digest) {
        if (!api_digest(call, ref, &p->push.target.digest))
            return false;
        p->alg = p->push.target.digest.alg;
    } else if (name_tag_ok(ref, strlen(ref))) {
        p->push.tags[p->push.tag_count++] = ref;
    } else {
        problem_answer(call->r, PROBLEM_TAG_INVALID, NULL);
        return false;
    }
    return take_tags(call, p);
}

/* If-None-Match: * (only if absent), If-Match: "digest" (only if it stands there). */
static bool take_condition(struct api_call *call, struct manifest_put *p)
{
    const char *none = http_header_get(call->r, "If-None-Match");
    const char *match = http_header_get(call->r, "If-Match");
    size_t len = match ? strlen(match) : 0;

    if (none && strcmp(none, "*") == 0)
        p->push.condition = PUSH_IF_ABSENT;
    if (!match)
        return true;
    if (len >= 2 && match[0] == '"' && match[len - 1] == '"')
        match = mem_arena_strndup(call->r->arena, match + 1, len - 2);
    if (digest_parse(match, &p->push.condition_digest) != 0) {
        problem_answer(call->r, PROBLEM_PRECONDITION, "If-Match takes one digest in quotes");
        return false;
    }
    p->push.condition = PUSH_IF_MATCH;
    return true;
}

/* What a manifest names and the image has not, or has with another size: the first of each. */
struct references {
    struct push_missing missing;
    struct push_size sizes[PUSH_MISSING_MAX];
    size_t size_count;
};

/* NOT_FOUND, or what the image has of that digest. */
static int reference_find(const struct api_call *call, const struct manifest_ref *ref,
                          struct index_entry *entry_r)
{
    const struct index_map *index = &call->api->index;
    const char *repo = call->route.repo->name, *image = call->route.image;
    char text[DIGEST_TEXT_MAX];
    int err = index_find(index, INDEX_BLOB, repo, image, digest_text(&ref->digest, text), entry_r);

    if (err == ERR_NOT_FOUND && ref->kind == MANIFEST_REF_CHILD)
        err = index_find(index, INDEX_MANIFEST, repo, image, text, entry_r);
    return err;
}

/* What is missing here needs no writing and no question; the catalog looks again. */
static void references_find(const struct api_call *call, const struct manifest_put *p,
                            struct references *found_r)
{
    const struct manifest *m = &p->push.manifest;
    bool strict = call->route.repo->index_children_strict;

    found_r->missing.count = found_r->size_count = 0;
    for (size_t i = 0; i < m->ref_count && found_r->missing.count < PUSH_MISSING_MAX; i++) {
        const struct manifest_ref *ref = &m->refs[i];
        struct index_entry entry;
        int err = reference_find(call, ref, &entry);

        if (err == 0 && entry.size != ref->size && found_r->size_count < PUSH_MISSING_MAX)
            found_r->sizes[found_r->size_count++] =
                (struct push_size){ref->digest, ref->size, entry.size};
        else if (err == ERR_NOT_FOUND && !ref->exempt &&
                 (ref->kind != MANIFEST_REF_CHILD || strict))
            found_r->missing.digests[found_r->missing.count++] = ref->digest;
    }
}

/* Clients believe a descriptor's size: a pull of one that lies fails. No client means that, so it
 * is told at the push. */
static void answer_sizes(struct api_call *call, const struct push_size *sizes, size_t count)
{
    struct problem_about *about = mem_arena_alloc(call->r->arena, count * sizeof(*about));

    for (size_t i = 0; i < count; i++)
        about[i] = (struct problem_about){
            sizes[i].digest,
            mem_arena_printf(call->r->arena, "the manifest says it has %llu bytes, it has %llu",
                             (unsigned long long)sizes[i].said, (unsigned long long)sizes[i].size)};
    problem_answer_each(call->r, PROBLEM_SIZE_INVALID, about, count);
}

static void answer_missing(struct api_call *call, const struct push_missing *missing)
{
    const struct manifest_put *p = call->op;
    struct problem_about *about = mem_arena_alloc(call->r->arena, missing->count * sizeof(*about));

    for (uint32_t i = 0; i < missing->count; i++)
        about[i] = (struct problem_about){
            missing->digests[i],
            p->push.manifest.is_index
                ? "the index names what this image does not have: push it first, or have the "
                  "repository take such an index (index_children = lax)"
                : NULL};
    problem_answer_each(call->r, PROBLEM_MANIFEST_BLOB_UNKNOWN, about, missing->count);
}

static void answer_redeploy_denied(struct api_call *call, const char *tag)
{
    problem_answer(call->r, PROBLEM_DENIED,
                   "tag %s exists and repository %s does not allow it to be pushed again", tag,
                   call->route.repo->name);
}

/* What the catalog would refuse anyway is not written first: a refused manifest
 * must leave no file behind. The catalog judges again, in its own order. */
static bool acceptable(struct api_call *call, const struct manifest_put *p)
{
    for (uint32_t i = 0; i < p->push.tag_count; i++) {
        struct index_entry entry;

        if (index_find(&call->api->index, INDEX_TAG, call->route.repo->name, call->route.image,
                       p->push.tags[i], &entry) == 0 &&
            !digest_equal(entry.digest, &p->push.target.digest) &&
            !conf_tag_may_move(call->route.repo, p->push.tags[i])) {
            answer_redeploy_denied(call, p->push.tags[i]);
            return false;
        }
    }
    return true;
}

static void answer_created(struct api_call *call)
{
    struct manifest_put *p = call->op;
    char text[DIGEST_TEXT_MAX];

    digest_text(&p->push.target.digest, text);
    http_header_add(call->r, "Location", "%s%s/manifests/%s", api_location_base(call),
                    call->route.image, text);
    http_header_add(call->r, "Docker-Content-Digest", "%s", text);
    for (uint32_t i = 0; p->by_digest && i < p->push.tag_count; i++)
        http_header_add(call->r, "OCI-Tag", "%s", p->push.tags[i]);
    if (p->push.manifest.subject.alg != 0)
        http_header_add(call->r, "OCI-Subject", "%s", digest_text(&p->push.manifest.subject, text));
    http_answer_empty(call->r, 201);
}

/* With what the catalog's answer tells of it. */
static void answer_refused(struct api_call *call, int err, struct msg_reader *reply)
{
    struct push_missing missing = {0};
    struct push_size wrong = {0};
    const char *text = "";

    if (err == ERR_NOT_FOUND)
        push_missing_get(reply, &missing);
    else if (err == ERR_MISMATCH)
        push_size_get(reply, &wrong);
    else if (err == ERR_INVALID)
        text = push_held_type_get(reply);
    else
        text = push_redeployed_get(reply);
    if (msg_end(reply) != 0)
        problem_answer(call->r, PROBLEM_INTERNAL, NULL);
    else if (err == ERR_NOT_FOUND)
        answer_missing(call, &missing);
    else if (err == ERR_MISMATCH)
        answer_sizes(call, &wrong, 1);
    else if (err == ERR_INVALID)
        problem_answer(call->r, PROBLEM_MANIFEST_INVALID,
                       "this image holds the same bytes as %s, and the media type of what is held "
                       "does not change: push it as that, or delete it first",
                       text);
    else
        answer_redeploy_denied(call, text);
}

/* Is all there that the push would make? */
static bool carried_out(struct api_call *call)
{
    const struct manifest_put *p = call->op;
    const char *repo = call->route.repo->name, *image = call->route.image;
    const struct index_map *index = &call->api->index;
    char text[DIGEST_TEXT_MAX];
    struct index_entry entry;
    bool all = index_find(index, INDEX_MANIFEST, repo, image,
                          digest_text(&p->push.target.digest, text), &entry) == 0;

    for (uint32_t i = 0; all && i < p->push.tag_count; i++)
        all = index_find(index, INDEX_TAG, repo, image, p->push.tags[i], &entry) == 0 &&
              digest_equal(entry.digest, &p->push.target.digest);
    return all;
}

static void put_done(struct ask *ask, int err, struct msg_reader *reply, int fd)
{
    struct api_call *call = api_call_of_ask(ask);

    FAIL_POINT(worker_manifest_done);
    err = api_reply_err(err, reply, fd);
    /* The first question was carried out, only its answer was lost with the catalog: what the
     * condition was about is no more, for this push has changed it. */
    if (err == ERR_CONFLICT && ask->repeated && carried_out(call))
        err = 0;
    switch (err) {
    case 0:
        answer_created(call);
        break;
    case ERR_NOT_FOUND:
    case ERR_EXISTS:
    case ERR_MISMATCH:
    case ERR_INVALID:
        answer_refused(call, err, reply);
        break;
    case ERR_CONFLICT:
        problem_answer(call->r, PROBLEM_PRECONDITION, NULL);
        break;
    case ERR_QUOTA:
        quota_answer(call);
        break;
    default:
        problem_answer(call->r, problem_from_err(err), NULL);
    }
}

static void write_work(struct pool_job *job)
{
    struct api_call *call = api_call_of_job(job);
    struct manifest_put *p = call->op;
    uint64_t size;

    if (p->over_quota &&
        store_blob_size(api_store(call), &p->push.target.digest, &size) == ERR_NOT_FOUND)
        p->job_err = ERR_QUOTA;
    else
        p->job_err = store_blob_write(api_store(call), &p->push.target.digest, call->body.data,
                                      call->body.len);
}

static void write_done(struct pool_job *job)
{
    struct api_call *call = api_call_of_job(job);
    struct manifest_put *p = call->op;

    if (p->job_err == ERR_QUOTA) {
        quota_answer(call);
        return;
    }
    if (p->job_err != 0) {
        log_error("cannot write a manifest", "store=%s err=%s req=%s",
                  call->route.repo->store->name, log_quote(err_text(p->job_err)), call->r->id);
        problem_answer(call->r, problem_from_err(p->job_err), NULL);
        return;
    }
    push_manifest_put(api_ask_begin(call, MSG_MANIFEST_PUT), &p->push);
    api_ask(call, put_done);
    FAIL_POINT(worker_manifest_asked);
}

/* The request's media type without parameters. */
static const char *content_type(struct api_call *call)
{
    const char *value = http_header_get(call->r, "Content-Type");
    size_t len = value ? strcspn(value, "; \t") : 0;

    return mem_arena_strndup(call->r->arena, value ? value : "", len);
}

static void references_check(struct api_call *call)
{
    struct manifest_put *p = call->op;
    struct references *found = mem_arena_alloc(call->r->arena, sizeof(*found));
    const struct push_missing *missing = &found->missing;

    references_find(call, p, found);
    if (missing->count > 0 && call->group && !call->adopt) {
        adopt_blobs(call, missing->digests, missing->count, references_check);
        return;
    }
    if (missing->count > 0) {
        answer_missing(call, missing);
        return;
    }
    if (found->size_count > 0) {
        answer_sizes(call, found->sizes, found->size_count);
        return;
    }
    p->over_quota = !quota_fits(call, call->body.len);
    call->job.work = write_work;
    call->job.done = write_done;
    pool_submit(call->api->pool, &call->job);
}

static void body_complete(struct api_call *call)
{
    struct manifest_put *p = call->op;
    const char *reason = NULL;
    struct digest found;

    digest_of(p->alg, call->body.data, call->body.len, &found);
    if (p->by_digest && !digest_equal(&found, &p->push.target.digest)) {
        problem_answer(call->r, PROBLEM_DIGEST_INVALID,
                       "the manifest has another digest than the path names");
        return;
    }
    p->push.target.digest = found;
    p->push.target.size = call->body.len;
    if (manifest_parse(call->r->arena, content_type(call), call->body.data, call->body.len,
                       &p->push.manifest, &reason) != 0) {
        problem_answer(call->r, PROBLEM_MANIFEST_INVALID, "%s", reason);
        return;
    }
    if (acceptable(call, p))
        references_check(call);
}

static void answer_too_big(struct api_call *call)
{
    problem_answer(call->r, PROBLEM_TOO_BIG, "manifests may have at most %llu bytes here",
                   (unsigned long long)call->api->conf->max_manifest);
}

static int body_data(struct http_request *r, const void *data, size_t len)
{
    struct api_call *call = r->handler_data;

    if (call->body.len + len > call->api->conf->max_manifest) {
        answer_too_big(call);
        return ERR_TOO_BIG;
    }
    str_append(&call->body, data, len);
    return burden_fits(call, 0) ? 0 : ERR_BUSY;
}

static void body_end(struct http_request *r, int err)
{
    if (err == 0)
        body_complete(r->handler_data);
}

void api_manifest_put(struct api_call *call)
{
    struct http_request *r = call->r;
    struct manifest_put *p = mem_arena_alloc(r->arena, sizeof(*p));

    call->op = p;
    p->push.target.repo = call->route.repo->name;
    p->push.target.image = call->route.image;
    if (!api_may_push(call) || !take_reference(call, p) || !take_condition(call, p))
        return;
    if (r->length > call->api->conf->max_manifest) {
        answer_too_big(call);
        return;
    }
    if (!r->chunked && r->length == 0) {
        problem_answer(r, PROBLEM_MANIFEST_INVALID, "the request has no body");
        return;
    }
    r->on_body = body_data;
    r->on_body_end = body_end;
    http_body_start(r);
}
