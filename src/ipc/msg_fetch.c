/*
 * msg_fetch.c - contents of the messages to and from the fetcher. Any process.
 *
 * Pure.
 */
#include "ipc/msg_fetch.h"

#include "oci/name.h"

#include <stdio.h>

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
