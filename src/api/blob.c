/*
 * blob.c - GET, HEAD and DELETE of blobs (doc/protocol.md, "Blobs", "Deletes").
 *
 * Runs in workers. A pull of what is here asks no other process: the shared
 * index says whether this image has the blob, the file gives its bytes. A crash here costs
 * requests.
 */
#include "api/blob.h"

#include "api/hot.h"
#include "api/object.h"
#include "api/upstream.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/range.h"

#include <string.h>
#include <time.h>

#define BOUNDARY_BYTES 16

void blob_add_headers(struct api_call *call, const struct blob_read *blob)
{
    if (blob->target.part) { /* nobody looked whether these bytes are the blob's */
        http_header_put(call->r, "Accept-Ranges", "bytes");
        http_header_put(call->r, "Cache-Control", "no-store");
        return;
    }
    http_header_put(call->r, "Docker-Content-Digest", blob->text);
    http_header_add(call->r, "ETag", "\"%s\"", blob->text);
    http_header_put(call->r, "Accept-Ranges", "bytes");
    http_header_put(call->r, "Cache-Control", "max-age=31536000, immutable");
}

/* The record says it is here, the disk says otherwise: 404, so that a push of it
 * heals the store, and a line for the operator. */
static void answer_unreadable(struct api_call *call, const struct blob_read *blob, int err)
{
    if (err == ERR_NOT_FOUND || err == ERR_DAMAGED || err == ERR_MISMATCH) {
        log_error("a blob's file is missing or damaged; push it again to heal",
                  "store=%s digest=%s req=%s", call->route.repo->store->name, blob->text,
                  call->r->id);
        api_tell_damaged(call, &blob->digest);
        problem_answer(call->r, PROBLEM_BLOB_UNKNOWN, NULL);
        return;
    }
    log_error("cannot open a blob", "digest=%s err=%s req=%s", blob->text, log_quote(err_text(err)),
              call->r->id);
    problem_answer(call->r, problem_from_err(err), NULL);
}

/* A piece of the blob: from memory when it is small, else from its file. */
static struct http_segment piece_of(const struct api_call *call, uint64_t first, uint64_t len)
{
    const struct hot_object *object = call->object;
    const struct blob_read *blob = call->op;

    if (object && object->data)
        return (struct http_segment){.data = object->data + first, .fd = -1, .len = len};
    if (object)
        return (struct http_segment){.fd = object->fd, .offset = first, .len = len};
    return (struct http_segment){.fd = blob->fd, .offset = first - blob->base, .len = len};
}

static void answer_whole(struct api_call *call, const struct blob_read *blob)
{
    struct http_segment *segment = mem_arena_alloc(call->r->arena, sizeof(*segment));

    http_header_put(call->r, "Content-Type", "application/octet-stream");
    blob_add_headers(call, blob);
    *segment = piece_of(call, 0, blob->size);
    http_answer_segments(call->r, 200, segment, blob->size > 0 ? 1 : 0);
}

static void answer_one_range(struct api_call *call, const struct blob_read *blob,
                             const struct range *range)
{
    struct http_segment *segment = mem_arena_alloc(call->r->arena, sizeof(*segment));

    http_header_put(call->r, "Content-Type", "application/octet-stream");
    blob_add_headers(call, blob);
    http_header_add(call->r, "Content-Range", "bytes %llu-%llu/%llu",
                    (unsigned long long)range->first, (unsigned long long)range->last,
                    (unsigned long long)blob->size);
    *segment = piece_of(call, range->first, range->last - range->first + 1);
    http_answer_segments(call->r, 206, segment, 1);
}

/* multipart/byteranges, RFC 9110 section 14.6: parts as asked and in that order. */
static void answer_ranges(struct api_call *call, const struct blob_read *blob,
                          const struct range *ranges, size_t count)
{
    struct mem_arena *arena = call->r->arena;
    struct http_segment *segments = mem_arena_alloc(arena, (2 * count + 1) * sizeof(*segments));
    char boundary[2 * BOUNDARY_BYTES + 1];
    char *text;

    file_random_hex(BOUNDARY_BYTES, boundary);
    for (size_t i = 0; i < count; i++) {
        text = mem_arena_printf(arena,
                                "\r\n--%s\r\nContent-Type: application/octet-stream\r\n"
                                "Content-Range: bytes %llu-%llu/%llu\r\n\r\n",
                                boundary, (unsigned long long)ranges[i].first,
                                (unsigned long long)ranges[i].last, (unsigned long long)blob->size);
        segments[2 * i] = (struct http_segment){.data = text, .fd = -1, .len = strlen(text)};
        segments[2 * i + 1] = piece_of(call, ranges[i].first, ranges[i].last - ranges[i].first + 1);
    }
    text = mem_arena_printf(arena, "\r\n--%s--\r\n", boundary);
    segments[2 * count] = (struct http_segment){.data = text, .fd = -1, .len = strlen(text)};
    http_header_add(call->r, "Content-Type", "multipart/byteranges; boundary=%s", boundary);
    blob_add_headers(call, blob);
    http_answer_segments(call->r, 206, segments, 2 * count + 1);
}

static enum range_result ranges_of(struct api_call *call, const struct blob_read *blob,
                                   uint64_t size, struct range *ranges, size_t *count_r)
{
    const char *header = http_header_get(call->r, "Range");
    const char *if_range = http_header_get(call->r, "If-Range");

    if (call->r->method == HTTP_HEAD || (if_range && !range_etag_matches(if_range, blob->text)))
        header = NULL;
    return range_parse(header, size, ranges, count_r);
}

bool blob_single_range(struct api_call *call, uint64_t size, uint64_t *first_r, uint64_t *last_r)
{
    struct range ranges[RANGE_MAX];
    size_t count = 0;

    if (ranges_of(call, call->op, size, ranges, &count) != RANGE_SATISFIABLE || count != 1)
        return false;
    *first_r = ranges[0].first;
    *last_r = ranges[0].last;
    return true;
}

void blob_answer(struct api_call *call)
{
    const struct blob_read *blob = call->op;
    struct range ranges[RANGE_MAX];
    size_t count = 0;

    switch (ranges_of(call, blob, blob->size, ranges, &count)) {
    case RANGE_UNSATISFIABLE:
        http_header_add(call->r, "Content-Range", "bytes */%llu", (unsigned long long)blob->size);
        problem_answer(call->r, PROBLEM_RANGE, NULL);
        return;
    case RANGE_SATISFIABLE:
        if (count == 1)
            answer_one_range(call, blob, &ranges[0]);
        else if (blob->share.follow)
            break; /* parts may lie far ahead of what is there: all of it, in order */
        else
            answer_ranges(call, blob, ranges, count);
        return;
    case RANGE_NONE:
        break;
    }
    answer_whole(call, blob);
}

static void blob_here(struct api_call *call, int err)
{
    struct blob_read *blob = call->op;

    if (err == 0) {
        blob_answer(call);
        return;
    }
    if (call->route.repo->kind == CONF_PROXY && !blob->fetched &&
        (err == ERR_NOT_FOUND || err == ERR_DAMAGED || err == ERR_MISMATCH)) {
        blob->fetched = true;
        api_tell_damaged(call, &blob->digest);
        blob_cold(call);
        return;
    }
    answer_unreadable(call, blob, err);
}

static int member_find(struct api_call *call, const struct blob_read *blob,
                       const struct conf_repo *repo, struct index_entry *entry_r)
{
    return index_find(&call->api->index, INDEX_BLOB, repo->name, call->route.image, blob->text,
                      entry_r);
}

/* The first member whose index entry says that it is there. Its mark comes before the look
 * that counts (shm/recent.h); members that do not have it are looked at once, unmarked. */
static int local_find(struct api_call *call, struct blob_read *blob, struct index_entry *entry_r)
{
    struct members *m = &blob->members;

    for (m->at = 0; m->at < m->count; m->at++) {
        const struct conf_repo *repo = m->repos[m->at];
        int err = m->count > 1 ? member_find(call, blob, repo, entry_r) : 0;

        if (err == 0) {
            recent_mark(call->api->recent, repo->name, call->route.image, &blob->digest,
                        (uint64_t)time(NULL));
            FAIL_POINT(worker_blob_marked);
            err = member_find(call, blob, repo, entry_r);
        }
        if (err == 0)
            call->route.repo = repo;
        if (err != ERR_NOT_FOUND)
            return err;
    }
    return ERR_NOT_FOUND;
}

bool blob_answer_local(struct api_call *call)
{
    struct blob_read *blob = call->op;
    struct index_entry entry;
    const char *if_none_match = http_header_get(call->r, "If-None-Match");
    int err = local_find(call, blob, &entry);

    if (err == ERR_NOT_FOUND)
        return false;
    if (err != 0) {
        problem_answer(call->r, problem_from_err(err), NULL);
        return true;
    }
    upstream_count(call, call->route.repo, true);
    blob->size = entry.size;
    if (if_none_match && range_etag_matches(if_none_match, blob->text)) {
        blob_add_headers(call, blob);
        http_answer_empty(call->r, 304);
    } else {
        api_object(call, &blob->digest, blob->size, false, blob_here);
    }
    return true;
}

/* HEAD is how clients ask, before a push, what they need not upload. In a group that
 * takes pushes only that counts which the pushed manifest can refer to: what lies here
 * and in the store where pushes go (adopt.c). */
static bool keep_for_push(struct members *m)
{
    size_t kept = 0;

    if (!m->group || !m->group->group->push_to)
        return false;
    for (size_t i = 0; i < m->count; i++)
        if (m->repos[i]->store == m->group->group->push_to->store)
            m->repos[kept++] = m->repos[i];
    m->count = kept;
    return true;
}

static void blob_read(struct api_call *call)
{
    struct blob_read *blob = mem_arena_alloc(call->r->arena, sizeof(*blob));
    bool for_push;

    call->op = blob;
    blob->fd = -1;
    if (!api_digest(call, call->route.ref, &blob->digest))
        return;
    digest_text(&blob->digest, blob->text);
    members_find(call, call->route.repo, call->route.image, &blob->members);
    for_push = call->r->method == HTTP_HEAD && keep_for_push(&blob->members);
    if (blob_answer_local(call))
        return;
    if (for_push)
        problem_answer(call->r, PROBLEM_BLOB_UNKNOWN, NULL);
    else
        blob_cold(call);
}

static void blob_deleted(struct ask *ask, int err, struct msg_reader *reply, int fd)
{
    api_answer_deleted(api_call_of_ask(ask), api_reply_err(err, reply, fd), reply,
                       PROBLEM_BLOB_UNKNOWN);
}

static void blob_delete(struct api_call *call)
{
    struct push_target target = {.repo = call->route.repo->name, .image = call->route.image};

    if (!api_may_delete(call) || !api_digest(call, call->route.ref, &target.digest))
        return;
    push_target_put(api_ask_begin(call, MSG_BLOB_DELETE), &target);
    api_ask(call, blob_deleted);
}

void api_blob(struct api_call *call)
{
    if (call->r->method == HTTP_GET || call->r->method == HTTP_HEAD)
        blob_read(call);
    else if (call->r->method == HTTP_DELETE)
        blob_delete(call);
    else
        problem_method(call->r, "GET, HEAD, DELETE");
}
