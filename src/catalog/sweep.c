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
#include "base/clock.h"
#include "base/fail.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "catalog/gc.h"
#include "catalog/ops.h"
#include "catalog/turn.h"
#include "meta/keys.h"
#include "meta/records.h"

#include <string.h>

struct suspect {
    struct key key;
    uint64_t time;
    const char *repo, *image;
    struct digest digest;
    size_t repo_place;
};

bool sweep_any_key(struct catalog *c, const struct key *prefix)
{
    struct db_walk *walk = db_walk_new(c->db, prefix->data, prefix->len, NULL, 0);
    bool any = db_walk_valid(walk);

    /* What cannot be read counts as there. */
    return db_walk_free(&walk) != 0 || any;
}

static void queue_again(struct sweep *s, const struct suspect *x, uint64_t time)
{
    struct key k;

    if (time <= s->deadline_s)
        time = s->deadline_s + 1; /* not in this sweep */
    if (x->key.len > 0)           /* else it comes from no queue: sweep_evict */
        db_delete(s->c->db, x->key.data, x->key.len);
    key_suspect(&k, time, x->repo, x->image, &x->digest);
    db_put(s->c->db, k.data, k.len, "", 0);
    s->kept++;
}

static bool asked_for(const struct sweep *s, const struct suspect *x, uint64_t *time_r)
{
    *time_r = recent_at(s->c->start->recent, x->repo, x->image, &x->digest);
    if (clock_ahead((int64_t)*time_r, 0))
        *time_r = op_now(); /* asked for while the clock was wrong: then, for all we know, now */
    return *time_r > s->deadline_s;
}

/* Takes a link away. False: somebody asked for the blob in the last moment. */
static bool unlink_blob(struct sweep *s, const struct suspect *x, const struct key *link,
                        uint64_t size)
{
    struct catalog *c = s->c;
    char text[DIGEST_TEXT_MAX];
    struct key holder;
    uint64_t time;
    bool was_live;

    digest_text(&x->digest, text);
    FAIL_POINT(catalog_gc_judged);
    was_live = index_kill(&c->index, INDEX_BLOB, x->repo, x->image, text);
    FAIL_POINT(catalog_gc_killed);
    if (asked_for(s, x, &time)) {
        if (was_live)
            index_revive(&c->index, INDEX_BLOB, x->repo, x->image, text);
        queue_again(s, x, time);
        return false;
    }
    turn_retracted(c->turn, INDEX_BLOB, x->repo, x->image, text, was_live);
    db_delete(c->db, link->data, link->len);
    if (op_image_leave(c, x->repo_place, x->repo, x->image) != 0)
        return false; /* the turn fails as a whole */
    key_holder(&holder, c->conf->repos[x->repo_place].store->key, &x->digest, 'L', x->repo,
               x->image);
    db_delete(c->db, holder.data, holder.len);
    turn_count(c->turn, x->repo_place)->blobs--;
    turn_count(c->turn, x->repo_place)->bytes -= (int64_t)size;
    s->links++;
    return true;
}

/* The link, when no manifest of the image names the blob. False: it stays. */
static bool sweep_link(struct sweep *s, const struct suspect *x)
{
    struct catalog *c = s->c;
    struct key link, parents;
    struct record_blob record;
    struct str value = {0};
    bool gone = true;
    int err;

    key_image(&link, 'L', x->repo, x->image);
    key_digest(&link, &x->digest);
    err = db_get(c->db, link.data, link.len, &value);
    if (err == 0 && record_blob_decode(value.data, value.len, &record) == 0) {
        key_image(&parents, 'K', x->repo, x->image);
        key_digest(&parents, &x->digest);
        gone = !sweep_any_key(c, &parents) && unlink_blob(s, x, &link, record.size);
    } else if (err != ERR_NOT_FOUND) {
        gone = false; /* unreadable: fsck's business */
    }
    str_free(&value);
    return gone;
}

/* The bytes, when no image holds them. */
static void sweep_bytes(struct sweep *s, const struct suspect *x)
{
    struct catalog *c = s->c;
    size_t store = catalog_store_of(c, x->repo_place);
    const char *name = c->conf->stores[store].key;
    struct record_blob record;
    struct str value = {0};
    struct key blob, holders, damaged;

    key_holders(&holders, name, &x->digest);
    key_blob(&blob, name, &x->digest);
    if (!sweep_any_key(c, &holders) && db_get(c->db, blob.data, blob.len, &value) == 0 &&
        record_blob_decode(value.data, value.len, &record) == 0) {
        db_delete(c->db, blob.data, blob.len);
        key_damage(&damaged, name, &x->digest);
        if (db_get(c->db, damaged.data, damaged.len, NULL) == 0) {
            db_delete(c->db, damaged.data, damaged.len);
            if (c->damaged_count[store] > 0)
                c->damaged_count[store]--; /* counted anew should the turn fail */
        }
        *turn_store_bytes(c->turn, store) -= (int64_t)record.size;
        s->files[s->file_count++] =
            (struct sweep_file){.store = store, .digest = x->digest, .size = record.size};
    }
    str_free(&value);
}

static bool held_by(struct catalog *c, const struct suspect *x)
{
    struct key image;

    key_image(&image, 'I', x->repo, x->image);
    return db_get(c->db, image.data, image.len, NULL) != ERR_NOT_FOUND;
}

static void sweep_one(struct sweep *s, struct suspect *x)
{
    struct catalog *c = s->c;
    uint64_t kept = s->kept, time;

    s->looked_at++;
    if (catalog_repo(c, x->repo, &x->repo_place) != 0) {
        if (held_by(c, x)) /* not configured now: it keeps what it has */
            queue_again(s, x, op_now());
        else
            db_delete(c->db, x->key.data, x->key.len);
        return;
    }
    if (asked_for(s, x, &time)) {
        queue_again(s, x, time);
        return;
    }
    if (sweep_link(s, x))
        sweep_bytes(s, x);
    if (s->kept == kept)
        db_delete(c->db, x->key.data, x->key.len);
}

bool sweep_evict(struct sweep *s, size_t repo_place, const char *image, const struct digest *digest)
{
    struct catalog *c = s->c;
    struct suspect x = {.repo = c->conf->repos[repo_place].name,
                        .image = image,
                        .digest = *digest,
                        .repo_place = repo_place};
    struct record_blob record;
    struct str value = {0};
    bool gone = false;
    struct key link;

    key_image(&link, 'L', x.repo, x.image);
    key_digest(&link, &x.digest);
    if (s->file_count < SWEEP_SLICE && db_get(c->db, link.data, link.len, &value) == 0 &&
        record_blob_decode(value.data, value.len, &record) == 0)
        gone = unlink_blob(s, &x, &link, record.size);
    if (gone)
        sweep_bytes(s, &x);
    str_free(&value);
    return gone;
}

static int suspect_read(struct mem_arena *arena, const char *key, size_t len, struct suspect *x_r)
{
    struct key_reader r;

    MUST(len <= sizeof(x_r->key.data));
    memcpy(x_r->key.data, key, len);
    x_r->key.len = len;
    key_reader_init(&r, key + 1, len - 1);
    x_r->time = key_get_time(&r);
    x_r->repo = mem_arena_strdup(arena, key_get_str(&r));
    x_r->image = mem_arena_strdup(arena, key_get_str(&r));
    key_get_digest(&r, &x_r->digest);
    return key_end(&r);
}

/* Copies of the next entries of the queue; the walk must be over before changes. */
static size_t suspects_take(struct sweep *s, struct suspect *suspects)
{
    struct catalog *c = s->c;
    struct db_walk *walk =
        db_walk_new(c->db, "Q", 1, s->cursor.len > 0 ? s->cursor.data : NULL, s->cursor.len);
    size_t count = 0;

    s->finished = true;
    for (; db_walk_valid(walk); db_walk_next(walk)) {
        size_t len;
        const char *key = db_walk_key(walk, &len);

        if (len == s->cursor.len && memcmp(key, s->cursor.data, len) == 0)
            continue;
        if (count == SWEEP_SLICE) {
            s->finished = false;
            break;
        }
        if (suspect_read(turn_arena(c->turn), key, len, &suspects[count]) != 0) {
            log_error("a damaged entry in the queue of garbage is left out", NULL);
            continue;
        }
        if (suspects[count].time > s->deadline_s)
            break;
        count++;
    }
    if (db_walk_free(&walk) != 0)
        s->finished = true; /* the turn fails, and the sweep with it */
    return count;
}

/* What was queued while the clock was ahead counts from now: it would wait for as long as
 * that jump was. Looked at when the sweep is through, and only while the clock is steady. */
static void ahead_again(struct sweep *s)
{
    uint64_t now = op_now(), grace_ms = (now - s->deadline_s) * 1000;
    struct key from;
    struct db_walk *walk;
    size_t count = 0;

    if (s->deadline_s == 0)
        return;
    key_begin(&from, 'Q');
    key_time(&from, now + CLOCK_JUMP_MS / 1000);
    for (walk = db_walk_new(s->c->db, "Q", 1, from.data, from.len);
         db_walk_valid(walk) && count < SWEEP_SLICE; db_walk_next(walk), count++) {
        struct suspect x;
        size_t len;
        const char *key = db_walk_key(walk, &len);

        if (suspect_read(turn_arena(s->c->turn), key, len, &x) == 0 &&
            clock_ahead((int64_t)x.time, grace_ms))
            queue_again(s, &x, now);
    }
    if (db_walk_free(&walk) != 0)
        log_warn("cannot read the end of the queue of garbage", NULL); /* the turn fails */
}

void sweep_slice(struct sweep *s)
{
    struct suspect *suspects =
        mem_arena_alloc(turn_arena(s->c->turn), SWEEP_SLICE * sizeof(*suspects));
    size_t count = suspects_take(s, suspects);

    s->file_count = 0;
    s->looked_at = s->links = s->kept = 0;
    for (size_t i = 0; i < count; i++)
        sweep_one(s, &suspects[i]);
    if (count > 0)
        s->cursor = suspects[count - 1].key;
    if (s->finished)
        ahead_again(s);
}

bool sweep_unknown(struct catalog *c, size_t store, const struct digest *digest)
{
    struct key blob;

    key_blob(&blob, c->conf->stores[store].key, digest);
    return db_get(c->db, blob.data, blob.len, NULL) == ERR_NOT_FOUND;
}

uint64_t sweep_files(struct sweep *s)
{
    uint64_t bytes = 0;

    FAIL_POINT(catalog_gc_written);
    for (size_t i = 0; i < s->file_count; i++) {
        const struct sweep_file *file = &s->files[i];
        int err = 0;

        /* A later operation of the same turn may have brought it back. */
        if (!sweep_unknown(s->c, file->store, &file->digest))
            continue;
        err = store_blob_aside(s->c->stores[file->store], &file->digest);
        FAIL_POINT(catalog_gc_aside);
        if (err == 0)
            bytes += file->size;
        else if (err != ERR_NOT_FOUND)
            log_error("cannot move a blob to the trash", "store=%s err=%s",
                      s->c->conf->stores[file->store].name, log_quote(err_text(err)));
    }
    return bytes;
}
