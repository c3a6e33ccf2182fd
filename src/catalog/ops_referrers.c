/*
 * ops_referrers.c - the manifests that have a subject.
 *
 * Runs in the catalog, outside turns: reads what is committed. An answer is a slice
 * (slice.h): what a filter leaves out counts like what it lets through. Changes nothing.
 */
#include "catalog/ops.h"

#include "base/mem.h"

#include <string.h>

/* The answer's items go to a writer of their own: their count stands before them. */
struct referrers {
    const struct list_referrers *q;
    struct slice *slice;
    struct msg_writer items;
    struct mem_arena *arena; /* of one entry */
    struct str manifest;     /* its record, where it had to be read */
    struct digest place;
    uint32_t count;
    bool more;
};

static bool full(struct referrers *list)
{
    if (list->count < list->q->limit && !slice_over(list->slice))
        return false;
    list->more = true;
    return true;
}

/* Where the note says nothing (meta/values.h), the manifest's record does: it may have megabytes,
 * and so the slice may be over with it. */
static int manifest_read(struct catalog *c, const struct digest *digest, struct referrers *list,
                         struct record_manifest *record_r)
{
    const struct list_referrers *q = list->q;
    int err =
        meta_manifest_get(db_committed(c->db), meta_at(META_MANIFEST, q->repo, q->image, digest),
                          list->arena, &list->manifest, record_r);

    slice_look(list->slice, SLICE_SEEK, list->manifest.len);
    return err;
}

static void referrer_put(struct referrers *list, const struct digest *digest,
                         const struct record_manifest *record)
{
    struct list_referrer entry = {.digest = *digest,
                                  .size = record->size,
                                  .contents = {.media_type = record->contents.media_type,
                                               .artifact_type = record->contents.artifact_type}};
    struct manifest *shown = &entry.contents;
    const struct manifest_annotation *a;
    struct manifest_shown next = {0};

    shown->annotations =
        mem_arena_alloc(list->arena, record->contents.annotation_count * sizeof(*a));
    while ((a = manifest_shown_next(&record->contents, &next)) != NULL)
        shown->annotations[shown->annotation_count++] = *a;
    list_referrer_put(&list->items, &entry);
    list->count++;
}

/* The entry of list->place, when it is of a wanted type. */
static int referrer_add(struct catalog *c, const char *note, size_t len, struct referrers *list)
{
    struct record_manifest record;
    int err = record_referrer_decode(note, len, list->arena, &record);

    if (err != 0)
        err = manifest_read(c, &list->place, list, &record);
    if (err == 0 && list_type_wanted(list->q, record.contents.artifact_type))
        referrer_put(list, &list->place, &record);
    mem_arena_reset(list->arena);
    return err == ERR_NOT_FOUND ? 0 : err; /* deleted a moment ago */
}

static int referrers_walk(struct catalog *c, struct referrers *list)
{
    const struct list_referrers *q = list->q;
    const struct meta_key all = meta_at(META_REFERRER, q->repo, q->image, &q->subject);
    struct meta_key key = all;
    struct meta_place after;
    struct meta_walk *walk;
    int err = 0, walk_err;

    key.by = q->last; /* none: from the first */
    meta_place_of(&key, &after);
    slice_look(list->slice, SLICE_SEEK, 0);
    walk = meta_walk_new(db_committed(c->db), all, &after);
    while (err == 0 && meta_walk_next(walk, &key) && !full(list)) {
        size_t note_len;
        const char *note = meta_walk_value(walk, &note_len);

        slice_look(list->slice, 1, meta_walk_size(walk));
        list->place = key.by;
        err = referrer_add(c, note, note_len, list);
    }
    walk_err = meta_walk_end_whole(&walk);
    return err != 0 ? err : walk_err;
}

void op_referrer_list(struct catalog *c, struct msg_reader *question, struct msg_writer *answer)
{
    struct list_referrers q;
    struct referrers list = {.q = &q, .slice = &c->slice};
    int err;

    list_referrers_get(question, &q);
    err = msg_end(question);
    if (err == 0 && !op_target_ok(&(struct push_target){.repo = q.repo, .image = q.image}))
        err = ERR_PROTOCOL;
    list.place = q.last;
    list.arena = mem_arena_new();
    if (err == 0)
        err = referrers_walk(c, &list);
    mem_arena_free(&list.arena);
    str_free(&list.manifest);
    reply_err_put(answer, err);
    if (err == 0) {
        list_referrers_page_put(answer, &(struct list_referrers_page){.more = list.more,
                                                                      .place = list.place,
                                                                      .count = list.count});
        reply_entries_put(answer, &list.items);
    }
    msg_writer_free(&list.items);
}
