/*
 * msg_stats.c - what the catalog tells about itself. Pure functions used by both
 * sides.
 */
#include "ipc/msg_stats.h"

#include "conf/conf.h"
#include "oci/name.h"

void stats_repo_put(struct msg_writer *w, const struct stats_repo *s)
{
    msg_put_str(w, s->name);
    msg_put_u8(w, s->kind);
    msg_put_u8(w, s->online);
    msg_put_u8(w, s->owned);
    msg_put_str(w, s->store);
    msg_put_u64(w, s->images);
    msg_put_u64(w, s->tags);
    msg_put_u64(w, s->manifests);
    msg_put_u64(w, s->blobs);
    msg_put_u64(w, s->bytes);
}

void stats_repo_get(struct msg_reader *r, struct stats_repo *s_r)
{
    s_r->name = msg_get_str(r, CONF_NAME_MAX);
    s_r->kind = msg_get_u8(r);
    s_r->online = msg_get_u8(r);
    s_r->owned = msg_get_u8(r);
    s_r->store = msg_get_str(r, CONF_NAME_MAX);
    s_r->images = msg_get_u64(r);
    s_r->tags = msg_get_u64(r);
    s_r->manifests = msg_get_u64(r);
    s_r->blobs = msg_get_u64(r);
    s_r->bytes = msg_get_u64(r);
}

void stats_store_put(struct msg_writer *w, const struct stats_store *s)
{
    msg_put_str(w, s->name);
    msg_put_u64(w, s->bytes);
    msg_put_u64(w, s->quota);
    msg_put_u64(w, s->uploads);
    msg_put_u64(w, s->upload_bytes);
    msg_put_u64(w, s->damaged);
    msg_put_u64(w, s->journal);
    msg_put_u64(w, s->lost);
    msg_put_u64(w, s->open);
    msg_put_u64(w, s->elsewhere);
}

void stats_store_get(struct msg_reader *r, struct stats_store *s_r)
{
    s_r->name = msg_get_str(r, CONF_NAME_MAX);
    s_r->bytes = msg_get_u64(r);
    s_r->quota = msg_get_u64(r);
    s_r->uploads = msg_get_u64(r);
    s_r->upload_bytes = msg_get_u64(r);
    s_r->damaged = msg_get_u64(r);
    s_r->journal = msg_get_u64(r);
    s_r->lost = msg_get_u64(r);
    s_r->open = msg_get_u64(r);
    s_r->elsewhere = msg_get_u64(r);
}

void stats_gc_put(struct msg_writer *w, const struct stats_gc *s)
{
    msg_put_u8(w, s->running);
    msg_put_u64(w, s->sweeps);
    msg_put_u64(w, s->started_s);
    msg_put_u64(w, s->finished_s);
    msg_put_u64(w, s->looked_at);
    msg_put_u64(w, s->links);
    msg_put_u64(w, s->blobs);
    msg_put_u64(w, s->bytes);
    msg_put_u64(w, s->kept);
    msg_put_u64(w, s->orphans);
    msg_put_u64(w, s->looked_at_now);
    msg_put_u64(w, s->orphans_left);
    msg_put_u64(w, s->orphans_left_bytes);
    msg_put_u64(w, s->orphan_counts);
    msg_put_u64(w, s->grace_ms);
    msg_put_u64(w, s->interval_ms);
}

void stats_gc_get(struct msg_reader *r, struct stats_gc *s_r)
{
    s_r->running = msg_get_u8(r);
    s_r->sweeps = msg_get_u64(r);
    s_r->started_s = msg_get_u64(r);
    s_r->finished_s = msg_get_u64(r);
    s_r->looked_at = msg_get_u64(r);
    s_r->links = msg_get_u64(r);
    s_r->blobs = msg_get_u64(r);
    s_r->bytes = msg_get_u64(r);
    s_r->kept = msg_get_u64(r);
    s_r->orphans = msg_get_u64(r);
    s_r->looked_at_now = msg_get_u64(r);
    s_r->orphans_left = msg_get_u64(r);
    s_r->orphans_left_bytes = msg_get_u64(r);
    s_r->orphan_counts = msg_get_u64(r);
    s_r->grace_ms = msg_get_u64(r);
    s_r->interval_ms = msg_get_u64(r);
}

void stats_place_put(struct msg_writer *w, const struct stats_place *p)
{
    msg_put_u64(w, p->time);
    msg_put_str(w, p->repo);
    msg_put_str(w, p->image);
    msg_put_digest(w, &p->digest);
}

void stats_place_get(struct msg_reader *r, struct stats_place *p_r)
{
    p_r->time = msg_get_u64(r);
    p_r->repo = msg_get_str(r, NAME_IMAGE_MAX);
    p_r->image = msg_get_str(r, NAME_IMAGE_MAX);
    msg_get_digest(r, true, &p_r->digest);
}

void stats_waiting_put(struct msg_writer *w, const struct stats_waiting *s)
{
    msg_put_u64(w, s->count);
    msg_put_u64(w, s->bytes);
    msg_put_u64(w, s->first_s);
    msg_put_u64(w, s->last_s);
    msg_put_u8(w, s->more);
    stats_place_put(w, &s->place);
}

void stats_waiting_get(struct msg_reader *r, struct stats_waiting *s_r)
{
    s_r->count = msg_get_u64(r);
    s_r->bytes = msg_get_u64(r);
    s_r->first_s = msg_get_u64(r);
    s_r->last_s = msg_get_u64(r);
    s_r->more = msg_get_u8(r);
    stats_place_get(r, &s_r->place);
}

void stats_scrub_put(struct msg_writer *w, const struct stats_scrub *s)
{
    msg_put_u8(w, s->running);
    msg_put_u64(w, s->passes);
    msg_put_u64(w, s->started_s);
    msg_put_u64(w, s->finished_s);
    msg_put_u64(w, s->blobs);
    msg_put_u64(w, s->bytes);
    msg_put_u64(w, s->damaged);
    msg_put_u64(w, s->missing);
    msg_put_u64(w, s->rate);
    msg_put_u64(w, s->interval_ms);
}

void stats_scrub_get(struct msg_reader *r, struct stats_scrub *s_r)
{
    s_r->running = msg_get_u8(r);
    s_r->passes = msg_get_u64(r);
    s_r->started_s = msg_get_u64(r);
    s_r->finished_s = msg_get_u64(r);
    s_r->blobs = msg_get_u64(r);
    s_r->bytes = msg_get_u64(r);
    s_r->damaged = msg_get_u64(r);
    s_r->missing = msg_get_u64(r);
    s_r->rate = msg_get_u64(r);
    s_r->interval_ms = msg_get_u64(r);
}

void stats_lists_put(struct msg_writer *w, const struct stats_lists *s)
{
    msg_put_u64(w, s->slices);
    msg_put_u64(w, s->keys_max);
    msg_put_u64(w, s->bytes_max);
}

void stats_lists_get(struct msg_reader *r, struct stats_lists *s_r)
{
    s_r->slices = msg_get_u64(r);
    s_r->keys_max = msg_get_u64(r);
    s_r->bytes_max = msg_get_u64(r);
}

const char *stats_kind_name(uint8_t kind)
{
    static const char *const names[] = {"hosted", "proxy", "group"};

    return kind < sizeof(names) / sizeof(names[0]) ? names[kind] : "unknown";
}
