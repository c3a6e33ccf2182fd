/*
 * msg_fetch.c - contents of the messages to and from the fetcher. Any process.
 *
 * Pure.
 */
#include "ipc/msg_fetch.h"

#include "oci/name.h"

#include <stdio.h>

void fetch_client_put(struct msg_writer *w, const char *client)
{
    msg_put_str(w, client);
}

const char *fetch_client_get(struct msg_reader *r)
{
    return msg_get_str(r, FETCH_CLIENT_MAX);
}

void fetch_size_put(struct msg_writer *w, uint64_t size)
{
    msg_put_u64(w, size);
}

uint64_t fetch_size_get(struct msg_reader *r)
{
    return msg_get_u64(r);
}

void fetch_range_put(struct msg_writer *w, const struct fetch_range *f)
{
    msg_put_u64(w, f->first);
    msg_put_u64(w, f->last);
}

void fetch_range_get(struct msg_reader *r, struct fetch_range *f_r)
{
    f_r->first = msg_get_u64(r);
    f_r->last = msg_get_u64(r);
}

void fetch_wanted_put(struct msg_writer *w, const struct fetch_wanted *f)
{
    msg_put_str(w, f->repo);
    msg_put_str(w, f->image);
    msg_put_str(w, f->ref);
}

void fetch_wanted_get(struct msg_reader *r, struct fetch_wanted *f_r)
{
    f_r->repo = msg_get_str(r, NAME_IMAGE_MAX);
    f_r->image = msg_get_str(r, NAME_IMAGE_MAX);
    f_r->ref = msg_get_str(r, DIGEST_TEXT_MAX);
}

void fetch_search_put(struct msg_writer *w, const struct fetch_search *f)
{
    msg_put_str(w, f->repo);
    msg_put_str(w, f->term);
    msg_put_u32(w, f->limit);
}

void fetch_search_get(struct msg_reader *r, struct fetch_search *f_r)
{
    f_r->repo = msg_get_str(r, NAME_IMAGE_MAX);
    f_r->term = msg_get_str(r, NAME_IMAGE_MAX);
    f_r->limit = msg_get_u32(r);
}

void fetch_hit_put(struct msg_writer *w, const struct fetch_hit *f)
{
    msg_put_str(w, f->name);
    msg_put_str(w, f->description);
    msg_put_u64(w, f->stars);
    msg_put_u8(w, f->official);
}

void fetch_hit_get(struct msg_reader *r, struct fetch_hit *f_r)
{
    f_r->name = msg_get_str(r, NAME_IMAGE_MAX);
    f_r->description = msg_get_str(r, FETCH_DESCRIPTION_MAX);
    f_r->stars = msg_get_u64(r);
    f_r->official = msg_get_u8(r);
}

void fetch_failure_put(struct msg_writer *w, const struct fetch_failure *f)
{
    char reason[FETCH_REASON_MAX + 1];

    snprintf(reason, sizeof(reason), "%s", f->reason ? f->reason : "");
    msg_put_u32(w, f->retry_after_s);
    msg_put_str(w, reason);
}

void fetch_failure_get(struct msg_reader *r, struct fetch_failure *f_r)
{
    f_r->retry_after_s = msg_get_u32(r);
    f_r->reason = msg_get_str(r, FETCH_REASON_MAX);
}

void fetch_ready_put(struct msg_writer *w, const struct fetch_ready *f)
{
    msg_put_u32(w, f->slot);
    msg_put_u64(w, f->epoch);
    msg_put_u64(w, f->total);
    msg_put_u64(w, f->blob_total);
}

void fetch_ready_get(struct msg_reader *r, struct fetch_ready *f_r)
{
    f_r->slot = msg_get_u32(r);
    f_r->epoch = msg_get_u64(r);
    f_r->total = msg_get_u64(r);
    f_r->blob_total = msg_get_u64(r);
}

void fetch_manifest_put(struct msg_writer *w, const struct fetch_manifest *f)
{
    struct fetch_failure why = {.reason = f->reason};

    msg_put_digest(w, &f->digest);
    msg_put_u64(w, f->size);
    msg_put_str(w, f->media_type);
    msg_put_u8(w, f->stale);
    fetch_failure_put(w, &why);
}

void fetch_manifest_get(struct msg_reader *r, struct fetch_manifest *f_r)
{
    struct fetch_failure why;

    msg_get_digest(r, false, &f_r->digest);
    f_r->size = msg_get_u64(r);
    f_r->media_type = msg_get_str(r, NAME_MEDIA_TYPE_MAX);
    f_r->stale = msg_get_u8(r);
    fetch_failure_get(r, &why);
    f_r->reason = why.reason;
}

void fetch_list_put(struct msg_writer *w, const struct fetch_list *f)
{
    msg_put_u8(w, f->kind);
    msg_put_str(w, f->repo);
    msg_put_str(w, f->image);
    msg_put_digest(w, &f->subject);
}

void fetch_list_get(struct msg_reader *r, struct fetch_list *f_r)
{
    f_r->kind = msg_get_u8(r);
    f_r->repo = msg_get_str(r, NAME_IMAGE_MAX);
    f_r->image = msg_get_str(r, NAME_IMAGE_MAX);
    msg_get_digest(r, true, &f_r->subject);
}

void proxy_link_put(struct msg_writer *w, const struct proxy_link *l)
{
    push_target_put(w, &l->target);
    msg_put_u8(w, l->proven);
}

void proxy_link_get(struct msg_reader *r, struct proxy_link *l_r)
{
    push_target_get(r, &l_r->target);
    l_r->proven = msg_get_u8(r);
}

void proxy_tag_put(struct msg_writer *w, const struct proxy_tag *t)
{
    push_tag_put(w, &t->tag);
    msg_put_digest(w, &t->digest);
}

void proxy_tag_get(struct msg_reader *r, struct proxy_tag *t_r)
{
    push_tag_get(r, &t_r->tag);
    msg_get_digest(r, false, &t_r->digest);
}
