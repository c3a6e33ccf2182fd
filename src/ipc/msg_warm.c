/*
 * msg_warm.c - contents of the messages between entrepotctl and the fetcher. Any process.
 *
 * Pure.
 */
#include "ipc/msg_fetch.h"

#include "oci/name.h"

#define URL_TEXT_MAX   2048
#define STATE_TEXT_MAX 32

void fetch_running_put(struct msg_writer *w, const struct fetch_running *r)
{
    msg_put_str(w, r->repo);
    msg_put_str(w, r->image);
    msg_put_digest(w, &r->digest);
    msg_put_str(w, r->state);
    msg_put_u64(w, r->total);
    msg_put_u64(w, r->have);
    msg_put_u64(w, r->age_ms);
    msg_put_u32(w, r->waiting);
    msg_put_u32(w, r->followers);
    msg_put_u32(w, r->resumes);
}

void fetch_running_get(struct msg_reader *r, struct fetch_running *out)
{
    out->repo = msg_get_str(r, NAME_IMAGE_MAX);
    out->image = msg_get_str(r, NAME_IMAGE_MAX);
    msg_get_digest(r, false, &out->digest);
    out->state = msg_get_str(r, STATE_TEXT_MAX);
    out->total = msg_get_u64(r);
    out->have = msg_get_u64(r);
    out->age_ms = msg_get_u64(r);
    out->waiting = msg_get_u32(r);
    out->followers = msg_get_u32(r);
    out->resumes = msg_get_u32(r);
}

void fetch_proxy_status_put(struct msg_writer *w, const struct fetch_proxy_status *s)
{
    msg_put_str(w, s->repo);
    msg_put_u64(w, s->rate_limit);
    msg_put_u64(w, s->rate_left);
    msg_put_u32(w, s->tokens);
    msg_put_u64(w, s->requests);
    msg_put_u64(w, s->errors);
    msg_put_u64(w, s->bytes);
    msg_put_u64(w, s->resumes);
    msg_put_u32(w, s->remotes);
}

void fetch_proxy_status_get(struct msg_reader *r, struct fetch_proxy_status *s_r)
{
    s_r->repo = msg_get_str(r, NAME_IMAGE_MAX);
    s_r->rate_limit = msg_get_u64(r);
    s_r->rate_left = msg_get_u64(r);
    s_r->tokens = msg_get_u32(r);
    s_r->requests = msg_get_u64(r);
    s_r->errors = msg_get_u64(r);
    s_r->bytes = msg_get_u64(r);
    s_r->resumes = msg_get_u64(r);
    s_r->remotes = msg_get_u32(r);
}

const char *fetch_limit_name(enum fetch_limit limit)
{
    static const char *const names[FETCH_LIMIT_COUNT] = {
        [FETCH_LIMIT_MANIFEST] = "manifests", [FETCH_LIMIT_MANIFEST_HEAD] = "heads of manifests",
        [FETCH_LIMIT_BLOB] = "blobs",         [FETCH_LIMIT_BLOB_HEAD] = "heads of blobs",
        [FETCH_LIMIT_LIST] = "lists",         [FETCH_LIMIT_TOKEN] = "tokens"};

    return names[limit];
}

void fetch_remote_status_put(struct msg_writer *w, const struct fetch_remote_status *s)
{
    msg_put_str(w, s->url);
    msg_put_u32(w, s->failures);
    msg_put_u32(w, s->down_s);
    for (size_t i = 0; i < FETCH_LIMIT_COUNT; i++)
        msg_put_u32(w, s->limited_s[i]);
}

void fetch_remote_status_get(struct msg_reader *r, struct fetch_remote_status *s_r)
{
    s_r->url = msg_get_str(r, URL_TEXT_MAX);
    s_r->failures = msg_get_u32(r);
    s_r->down_s = msg_get_u32(r);
    for (size_t i = 0; i < FETCH_LIMIT_COUNT; i++)
        s_r->limited_s[i] = msg_get_u32(r);
}

void fetch_warm_put(struct msg_writer *w, const struct fetch_warm *q)
{
    msg_put_str(w, q->repo);
    msg_put_str(w, q->image);
    msg_put_str(w, q->ref);
    msg_put_str(w, q->platform);
}

void fetch_warm_get(struct msg_reader *r, struct fetch_warm *q_r)
{
    q_r->repo = msg_get_str(r, NAME_IMAGE_MAX);
    q_r->image = msg_get_str(r, NAME_IMAGE_MAX);
    q_r->ref = msg_get_str(r, DIGEST_TEXT_MAX);
    q_r->platform = msg_get_str(r, FETCH_PLATFORM_MAX);
}

void fetch_warm_id_put(struct msg_writer *w, uint64_t id)
{
    msg_put_u64(w, id);
}

uint64_t fetch_warm_id_get(struct msg_reader *r)
{
    return msg_get_u64(r);
}

void fetch_warm_status_put(struct msg_writer *w, const struct fetch_warm_status *s)
{
    msg_put_u8(w, s->state);
    msg_put_u32(w, s->failed);
    msg_put_u64(w, s->manifests);
    msg_put_u64(w, s->blobs);
    msg_put_u64(w, s->blobs_done);
    msg_put_u64(w, s->bytes);
    msg_put_u64(w, s->bytes_done);
    msg_put_str(w, s->reason);
}

void fetch_warm_status_get(struct msg_reader *r, struct fetch_warm_status *s_r)
{
    s_r->state = msg_get_u8(r);
    s_r->failed = msg_get_u32(r);
    s_r->manifests = msg_get_u64(r);
    s_r->blobs = msg_get_u64(r);
    s_r->blobs_done = msg_get_u64(r);
    s_r->bytes = msg_get_u64(r);
    s_r->bytes_done = msg_get_u64(r);
    s_r->reason = msg_get_str(r, FETCH_REASON_MAX);
}
