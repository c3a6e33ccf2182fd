/*
 * blob_cold.c - blobs that are not here: asked for at remotes, served while they come.
 *
 * Runs in workers, on the loop. Members whose cached manifests name the blob are
 * asked first, so that a cold layer does not fan out to every remote; then the
 * others in their order. A crash here costs requests; downloads go on.
 */
#include "api/blob.h"

#include "api/upstream.h"
#include "base/container.h"
#include "base/log.h"
#include "base/mem.h"

#include <string.h>

/* A range that begins at most this far ahead of what is there waits for it; one
 * further away is fetched on its own, without a promise. One that reaches the blob's end always
 * waits: nobody gets a last byte that was not verified. */
#define NEAR_BYTES (8u << 20)

static void ask_next(struct api_call *call);

static bool names_it(const struct api_call *call, const struct blob_read *blob,
                     const struct conf_repo *repo)
{
    struct index_entry entry;

    return index_find(&call->api->index, INDEX_NAMED, repo->name, call->route.image, blob->text,
                      &entry) == 0;
}

static void member_failed(struct api_call *call, int err, const struct fetch_failure *why)
{
    struct blob_read *blob = call->op;

    if (err != ERR_NOT_FOUND && !members_failed(call, &blob->members, err, why)) {
        members_answer(call, &blob->members, PROBLEM_BLOB_UNKNOWN);
        return;
    }
    blob->members.at++;
    ask_next(call);
}

static void head_done(struct ask *ask, int err, struct msg_reader *reply, int fd)
{
    struct api_call *call = api_call_of_ask(ask);
    struct blob_read *blob = call->op;
    struct fetch_failure why;

    err = upstream_reply_err(err, reply, fd, &why);
    if (err == 0)
        blob->size = fetch_size_get(reply);
    if (err == 0 && msg_end(reply) != 0)
        err = ERR_UNAVAILABLE;
    if (err != 0) {
        member_failed(call, err, &why);
        return;
    }
    http_header_add(call->r, "Content-Type", "application/octet-stream");
    blob_add_headers(call, blob);
    http_answer_length(call->r, 200, blob->size);
}

static void serve_growing(struct api_call *call, const struct follow_file *file)
{
    struct blob_read *blob = call->op;

    blob->size = file->blob_total;
    blob->fd = file->fd;
    blob->base = blob->target.part ? blob->target.first : 0;
    blob_answer(call);
    follow_serve(&blob->share, call->r);
}

static void growing(struct follow_share *share, int err, const struct fetch_failure *why);

/* The range alone, in a file of its own. */
static void join_range(struct api_call *call, uint64_t first, uint64_t last)
{
    struct blob_read *blob = call->op;

    follow_leave(&blob->share);
    blob->target.part = true;
    blob->target.first = first;
    blob->target.last = last;
    follow_join(call->api->follows, &blob->target, &blob->share);
}

static void growing(struct follow_share *share, int err, const struct fetch_failure *why)
{
    struct blob_read *blob = CONTAINER_OF(share, struct blob_read, share);
    struct api_call *call = blob->target.call;
    struct fetch_failure none = {.reason = ""};
    struct follow_file file;
    uint64_t first, last;

    if (err == ERR_EXISTS) {
        if (blob->fetched || !blob_answer_local(call))
            problem_answer(call->r, PROBLEM_BLOB_UNKNOWN, NULL);
        blob->fetched = true;
        return;
    }
    if (err != 0) {
        member_failed(call, err, why ? why : &none);
        return;
    }
    follow_file(share, &file);
    if (!blob->target.part && blob_single_range(call, file.blob_total, &first, &last) &&
        first > file.have && first - file.have > NEAR_BYTES && last < file.blob_total - 1)
        join_range(call, first, last);
    else
        serve_growing(call, &file);
}

static void cold_finish(struct api_call *call)
{
    struct blob_read *blob = call->op;

    follow_leave(&blob->share);
}

static void ask_member(struct api_call *call, const struct conf_repo *repo)
{
    struct blob_read *blob = call->op;
    struct push_target target = {
        .repo = repo->name, .image = call->route.image, .digest = blob->digest};
    char client[FETCH_CLIENT_MAX + 1];
    struct msg_writer *w;

    upstream_count(call, repo, false);
    if (call->r->method == HTTP_HEAD) {
        w = upstream_ask_begin(call, MSG_FETCH_HEAD);
        push_target_put(w, &target);
        upstream_ask(call, w, head_done);
        return;
    }
    blob->target = (struct follow_target){
        .repo = repo->name,
        .image = call->route.image,
        .client = mem_arena_strdup(call->r->arena, upstream_client(call, client)),
        .digest = blob->digest,
        .call = call};
    blob->share.ready = growing;
    call->finish = cold_finish;
    follow_join(call->api->follows, &blob->target, &blob->share);
}

/* Two rounds over the proxies: those that are known to name it, then the others. */
static void ask_next(struct api_call *call)
{
    struct blob_read *blob = call->op;
    struct members *m = &blob->members;

    for (;; m->at = 0, blob->named = false) {
        for (; m->at < m->count; m->at++)
            if (m->repos[m->at]->kind == CONF_PROXY &&
                names_it(call, blob, m->repos[m->at]) == blob->named) {
                ask_member(call, m->repos[m->at]);
                return;
            }
        if (!blob->named)
            break;
    }
    members_answer(call, m, PROBLEM_BLOB_UNKNOWN);
}

void blob_cold(struct api_call *call)
{
    struct blob_read *blob = call->op;

    blob->members.at = 0;
    blob->named = true;
    ask_next(call);
}
