/*
 * ops_waiting.c - what waits for garbage collection.
 *
 * Runs in the catalog, outside turns: reads what is committed, in slices (slice.h). Changes
 * nothing.
 */
#include "catalog/ops.h"

#include "ipc/msg_stats.h"
#include "meta/records.h"
#include "oci/name.h"

#include <string.h>

/* Would a sweep take anything? A blob that no manifest of its image names; of a manifest that was
 * deleted, bytes that nobody holds. Else it only takes the entry away. */
static bool waits(struct catalog *c, const struct meta_key *key, struct record_blob *record_r)
{
    struct db *db = db_committed(c->db);
    size_t place;
    int err;

    if (catalog_repo(c, key->repo, &place) != 0)
        return false;
    err = meta_blob_get(db, meta_at(META_LINK, key->repo, key->image, &key->digest), record_r);
    if (err == 0)
        return !meta_any(db, meta_at(META_PARENT, key->repo, key->image, &key->digest));
    return err == ERR_NOT_FOUND &&
           meta_blob_get(db, meta_blob(c->conf->repos[place].store->key, &key->digest), record_r) ==
               0 &&
           !meta_any(db, meta_holders(c->conf->repos[place].store->key, &key->digest));
}

static void waiting_look(struct catalog *c, const struct meta_key *key, struct stats_waiting *w)
{
    struct record_blob record;

    slice_look(&c->slice, 1 + 3 * SLICE_SEEK, 0);
    if (!waits(c, key, &record))
        return;
    w->count++;
    w->bytes += record.size;
    w->first_s = w->first_s == 0 ? key->time : w->first_s; /* they come by time */
    w->last_s = key->time;
}

static int waiting_walk(struct catalog *c, const struct meta_place *from, struct stats_waiting *w,
                        struct meta_place *last)
{
    struct meta_walk *walk =
        meta_walk_new(db_committed(c->db), (struct meta_key){.kind = META_SUSPECT}, from);
    struct meta_key key;

    slice_look(&c->slice, SLICE_SEEK, 0);
    while (meta_walk_next(walk, &key)) {
        if (slice_over(&c->slice)) {
            w->more = true;
            break;
        }
        waiting_look(c, &key, w);
        meta_walk_place(walk, last);
    }
    return meta_walk_end(&walk);
}

static int place_get(struct msg_reader *question, struct meta_place *place_r)
{
    struct stats_place from;
    struct meta_key key;
    int err;

    stats_place_get(question, &from);
    err = msg_end(question);
    place_r->len = 0;
    if (err != 0 || !*from.repo)
        return err;
    if (!name_image_ok(from.repo, strlen(from.repo)) ||
        !name_image_ok(from.image, strlen(from.image)) || from.digest.alg == 0)
        return ERR_PROTOCOL;
    key = meta_suspect(from.time, from.repo, from.image, &from.digest);
    meta_place_of(&key, place_r);
    return 0;
}

void op_gc_waiting(struct catalog *c, struct msg_reader *question, struct msg_writer *answer)
{
    struct stats_waiting w = {0};
    struct meta_place from, last = {0};
    struct meta_key key;
    int err = place_get(question, &from);

    if (err == 0)
        err = waiting_walk(c, &from, &w, &last);
    if (err == 0 && meta_key_read(last.data, last.len, &key))
        w.place = (struct stats_place){
            .time = key.time, .repo = key.repo, .image = key.image, .digest = key.digest};
    reply_err_put(answer, err);
    if (err == 0)
        stats_waiting_put(answer, &w);
}
