/*
 * sweep.c - a slice of a garbage collection.
 *
 * Runs in the catalog inside a turn. Operations before and after it see all of
 * its changes or none. Two races remain, with workers: one is about to tell a
 * client that a blob is here (shm/recent.h: hide first, then look once more),
 * another has just put the same content in its place and will ask for a link
 * (files go to the trash, from where that question brings them back). Both are
 * modelled in tests/fault/test_gc_model.py. A crash leaves files without a record, in their places
 * or in the trash.
 */
#include "catalog/sweep.h"

#include "base/clock.h"
#include "base/container.h"
#include "base/fail.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "catalog/ops.h"
#include "catalog/turn.h"

#include <string.h>

/* What may be garbage, by repository, image and digest. */
struct suspect {
    struct meta_key key; /* of the queue; kind META_NONE: it comes from no queue (sweep_evict) */
    size_t repo_place;
};

static struct meta_key link_of(const struct suspect *x)
{
    return meta_at(META_LINK, x->key.repo, x->key.image, &x->key.digest);
}

static void queue_again(struct sweep *s, const struct suspect *x, uint64_t time)
{
    if (time <= s->queued_s)
        time = s->queued_s + 1; /* not in this sweep */
    if (x->key.kind != META_NONE)
        meta_delete(s->c->db, x->key);
    meta_put_key(s->c->db, meta_suspect(time, x->key.repo, x->key.image, &x->key.digest));
    s->kept++;
}

static bool asked_for(const struct sweep *s, const struct meta_key *key, uint64_t deadline_s,
                      uint64_t *time_r)
{
    *time_r = recent_at(s->c->start->recent, key->repo, key->image, &key->digest);
    if (clock_ahead((int64_t)*time_r, 0))
        *time_r = op_now(); /* asked for while the clock was wrong: then, for all we know, now */
    return *time_r > deadline_s;
}

/* Takes a link away; sweep_still() says whether that holds. */
static void unlink_blob(struct sweep *s, const struct suspect *x)
{
    struct catalog *c = s->c;
    const struct meta_key link = link_of(x);

    FAIL_POINT(catalog_gc_judged);
    meta_delete(c->db, link);
    meta_delete(c->db, meta_holder(c->conf->repos[x->repo_place].store->key, &link.digest,
                                   META_LINK, link.repo, link.image));
    if (op_image_leave(c, link.repo, link.image) != 0)
        return; /* the turn fails as a whole */
    s->taken[s->taken_count++] = (struct sweep_taken){.link = link, .deadline_s = s->deadline_s};
    s->links++;
}

bool sweep_still(const struct sweep *s)
{
    uint64_t time;

    if (s->taken_count > 0)
        FAIL_POINT(catalog_gc_killed);
    for (size_t i = 0; i < s->taken_count; i++) {
        const struct sweep_taken *t = &s->taken[i];

        if (asked_for(s, &t->link, t->deadline_s, &time))
            return false;
    }
    return true;
}

/* The link, when no manifest of the image names the blob. False: it stays. */
static bool sweep_link(struct sweep *s, const struct suspect *x)
{
    struct db *db = s->c->db;
    struct record_blob record;
    int err = meta_blob_get(db, link_of(x), &record);

    if (err != 0)
        return err == ERR_NOT_FOUND; /* unreadable: fsck's business */
    if (meta_any(db, meta_at(META_PARENT, x->key.repo, x->key.image, &x->key.digest)))
        return false;
    unlink_blob(s, x);
    return true;
}

static void file_moved(struct file_ask *ask)
{
    const struct sweep_file *file = CONTAINER_OF(ask, struct sweep_file, ask);
    struct sweep *s = file->sweep;

    if (ask->err == 0)
        s->moved_bytes += file->size;
    else if (ask->err != ERR_NOT_FOUND)
        log_error("cannot move a blob to the trash", "store=%s err=%s",
                  s->c->conf->stores[ask->store].name, log_quote(err_text(ask->err)));
    if (--s->moving == 0)
        s->moved(s);
}

void sweep_bytes(struct sweep *s, size_t store, const struct digest *digest)
{
    struct catalog *c = s->c;
    const char *key = c->conf->stores[store].key;
    struct record_blob record;

    if (meta_any(c->db, meta_holders(key, digest)) ||
        meta_blob_get(c->db, meta_blob(key, digest), &record) != 0)
        return;
    meta_blob_forget(c->db, key, digest);
    s->files[s->file_count++] = (struct sweep_file){
        .ask = {.task = FILE_ASIDE, .store = store, .digest = *digest, .done = file_moved},
        .sweep = s,
        .size = record.size};
}

static void sweep_one(struct sweep *s, struct suspect *x)
{
    struct catalog *c = s->c;
    uint64_t kept = s->kept, time;

    s->looked_at++;
    if (catalog_repo(c, x->key.repo, &x->repo_place) != 0) {
        if (meta_find(c->db, meta_image(x->key.repo, x->key.image)) != ERR_NOT_FOUND)
            queue_again(s, x, op_now()); /* not configured now: it keeps what it has */
        else
            meta_delete(c->db, x->key);
        return;
    }
    if (asked_for(s, &x->key, s->deadline_s, &time)) {
        if (s->queued_s > s->deadline_s)
            s->kept++; /* where it is: its time comes */
        else
            queue_again(s, x, time);
        return;
    }
    if (sweep_link(s, x))
        sweep_bytes(s, catalog_store_of(c, x->repo_place), &x->key.digest);
    if (s->kept == kept)
        meta_delete(c->db, x->key);
}

bool sweep_evict(struct sweep *s, size_t repo_place, const char *image, const struct digest *digest)
{
    struct catalog *c = s->c;
    const struct suspect x = {
        .key = {.repo = c->conf->repos[repo_place].name, .image = image, .digest = *digest},
        .repo_place = repo_place};
    struct record_blob record;
    uint64_t time;

    if (s->file_count >= SWEEP_SLICE || s->taken_count == SWEEP_SLICE ||
        meta_blob_get(c->db, link_of(&x), &record) != 0)
        return false;
    if (asked_for(s, &x.key, s->deadline_s, &time)) {
        queue_again(s, &x, time);
        return false;
    }
    unlink_blob(s, &x);
    sweep_bytes(s, catalog_store_of(c, repo_place), digest);
    return true;
}

/* Of an entry that a walk yields; its strings go with the walk. */
static struct suspect suspect_of(struct mem_arena *arena, const struct meta_key *key)
{
    struct suspect x = {.key = *key};

    x.key.repo = mem_arena_strdup(arena, key->repo);
    x.key.image = mem_arena_strdup(arena, key->image);
    return x;
}

/* The next entries of the queue. */
static size_t suspects_take(struct sweep *s, struct suspect *suspects)
{
    struct catalog *c = s->c;
    struct meta_walk *walk =
        meta_walk_new(c->db, (struct meta_key){.kind = META_SUSPECT}, &s->cursor);
    struct meta_key key;
    size_t count = 0;
    int err;

    s->finished = true;
    while (meta_walk_next(walk, &key) && key.time <= s->queued_s) {
        if (count == SWEEP_SLICE) {
            s->finished = false;
            break;
        }
        suspects[count++] = suspect_of(turn_arena(c->turn), &key);
        meta_walk_place(walk, &s->next);
    }
    err = meta_walk_end_whole(&walk);
    if (err == ERR_DAMAGED)
        log_error("damaged entries in the queue of garbage are left out", NULL);
    else if (err != 0)
        s->finished = true; /* the turn fails, and the sweep with it */
    return count;
}

/* What was queued while the clock was ahead counts from now: it would wait for as long as
 * that jump was. Looked at when the sweep is through, and only while the clock is steady. */
static void ahead_again(struct sweep *s)
{
    uint64_t now = op_now(), grace_ms = (now - s->deadline_s) * 1000;
    const struct meta_key from = {.kind = META_SUSPECT, .time = now + CLOCK_JUMP_MS / 1000};
    struct meta_place place;
    struct meta_walk *walk;
    struct meta_key key;

    if (s->deadline_s == 0)
        return;
    meta_place_of(&from, &place);
    walk = meta_walk_new(s->c->db, (struct meta_key){.kind = META_SUSPECT}, &place);
    for (size_t count = 0; count < SWEEP_SLICE && meta_walk_next(walk, &key); count++) {
        struct suspect x = suspect_of(turn_arena(s->c->turn), &key);

        if (clock_ahead((int64_t)key.time, grace_ms))
            queue_again(s, &x, now);
    }
    if (meta_walk_end(&walk) != 0)
        log_warn("cannot read the end of the queue of garbage", NULL); /* the turn fails */
}

void sweep_anew(struct sweep *s)
{
    s->file_count = s->taken_count = 0;
    s->looked_at = s->links = s->kept = 0;
    s->next = s->cursor;
}

void sweep_slice(struct sweep *s)
{
    struct suspect *suspects =
        mem_arena_alloc(turn_arena(s->c->turn), SWEEP_SLICE * sizeof(*suspects));
    size_t count = suspects_take(s, suspects);

    for (size_t i = 0; i < count; i++)
        sweep_one(s, &suspects[i]);
    if (s->finished)
        ahead_again(s);
}

bool sweep_unknown(struct catalog *c, size_t store, const struct digest *digest)
{
    return meta_find(c->db, meta_blob(c->conf->stores[store].key, digest)) == ERR_NOT_FOUND;
}

void sweep_files(struct sweep *s, void (*moved)(struct sweep *sweep))
{
    s->cursor = s->next;
    s->moved = moved;
    s->moved_bytes = 0;
    s->moving = 1; /* this loop itself */
    FAIL_POINT(catalog_gc_written);
    for (size_t i = 0; i < s->file_count; i++) {
        struct sweep_file *file = &s->files[i];

        /* A later operation of the same turn may have brought it back. */
        if (!sweep_unknown(s->c, file->ask.store, &file->ask.digest))
            continue;
        s->moving++;
        files_ask(s->c->files, &file->ask);
    }
    if (--s->moving == 0)
        moved(s);
}
