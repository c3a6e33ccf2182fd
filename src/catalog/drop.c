/*
 * drop.c - all that a repository holds goes, whether or not it has a section.
 *
 * Runs in the catalog as a row of turn tasks of bounded size: an image's tags, then its
 * manifests, then its links, then the next image. Bytes that nobody else holds go to the
 * trash. Each slice leaves a database without contradictions; a crash ends the row, and
 * who asked begins it again.
 */
#include "catalog/drop.h"

#include "base/fail.h"
#include "base/log.h"
#include "base/mem.h"
#include "catalog/gc.h"
#include "catalog/held.h"
#include "catalog/ops.h"
#include "catalog/turn.h"

#include <stdlib.h>
#include <string.h>

/* Records one slice takes away; a manifest counts as many as it names. */
#define SLICE 64

struct drop {
    struct catalog *c;
    struct turn_task task;
    struct sweep sweep; /* the files of a slice */
    char *repo;         /* the last one that was dropped, or is */
    size_t place;       /* SIZE_MAX: it has no section */
    size_t left;        /* of the slice */
    struct catalog_count gone;
    enum stats_drop state;
    bool finished; /* nothing was left for the last slice */
};

struct dropped {
    const char *image;
    struct digest digest;
};

static void retract(struct drop *d, enum index_kind kind, const char *image, const char *ref)
{
    if (d->place != SIZE_MAX)
        turn_retract(d->c->turn, kind, d->repo, image, ref);
}

/* The bytes, when this was the last who held them. */
static void release_bytes(struct drop *d, size_t store, const struct digest *digest)
{
    struct catalog *c = d->c;
    const char *name = c->conf->stores[store].key;
    struct record_blob record;
    struct str value = {0};
    struct key holders, blob, damaged;

    key_holders(&holders, name, digest);
    key_blob(&blob, name, digest);
    if (!sweep_any_key(c, &holders) && db_get(c->db, blob.data, blob.len, &value) == 0 &&
        record_blob_decode(value.data, value.len, &record) == 0) {
        db_delete(c->db, blob.data, blob.len);
        key_damage(&damaged, name, digest);
        if (db_get(c->db, damaged.data, damaged.len, NULL) == 0) {
            db_delete(c->db, damaged.data, damaged.len);
            if (c->damaged_count[store] > 0)
                c->damaged_count[store]--;
        }
        *turn_store_bytes(c->turn, store) -= (int64_t)record.size;
        d->sweep.files[d->sweep.file_count++] =
            (struct sweep_file){.store = store, .digest = *digest, .size = record.size};
    }
    str_free(&value);
}

/* It may lie in a store that is not the one of its section, or of none any more. */
static void release(struct drop *d, const struct dropped *x, char kind)
{
    const struct conf *conf = d->c->conf;
    const struct holding *holding = held_holding(d->c->held, d->repo);
    struct key holder;

    if (holding) {
        key_holder(&holder, holding->store, &x->digest, kind, d->repo, x->image);
        db_delete(d->c->db, holder.data, holder.len);
    }
    for (size_t i = 0; i < conf->store_count; i++) {
        bool named = holding && strcmp(holding->store, conf->stores[i].name) == 0;

        key_holder(&holder, conf->stores[i].key, &x->digest, kind, d->repo, x->image);
        if (!named && db_get(d->c->db, holder.data, holder.len, NULL) != 0)
            continue;
        db_delete(d->c->db, holder.data, holder.len);
        release_bytes(d, i, &x->digest);
    }
}

static int drop_tag(struct drop *d, const char *image, const char *tag, const char *value,
                    size_t value_len)
{
    struct record_tag record;
    struct key k;
    int err = record_tag_decode(value, value_len, &record);

    if (err == 0) {
        key_image(&k, 'G', d->repo, image);
        key_digest(&k, &record.digest);
        key_str(&k, tag);
        db_delete(d->c->db, k.data, k.len);
    }
    retract(d, INDEX_TAG, image, tag);
    d->gone.tags++;
    return 0; /* a damaged record goes all the same */
}

static void drop_manifest(struct drop *d, const struct dropped *x, const char *value,
                          size_t value_len)
{
    struct record_manifest record = {0};
    struct key k;
    char text[DIGEST_TEXT_MAX];

    if (record_manifest_decode(value, value_len, turn_arena(d->c->turn), &record) == 0) {
        for (size_t i = 0; i < record.contents.ref_count; i++) {
            key_image(&k, 'K', d->repo, x->image);
            key_digest(&k, &record.contents.refs[i].digest);
            key_digest(&k, &x->digest);
            db_delete(d->c->db, k.data, k.len);
        }
        if (record.contents.subject.alg != 0) {
            key_image(&k, 'R', d->repo, x->image);
            key_digest(&k, &record.contents.subject);
            key_digest(&k, &x->digest);
            db_delete(d->c->db, k.data, k.len);
        }
        d->left -= d->left < record.contents.ref_count ? d->left : record.contents.ref_count;
    }
    release(d, x, 'M');
    retract(d, INDEX_MANIFEST, x->image, digest_text(&x->digest, text));
    d->gone.manifests++;
    d->gone.bytes += (int64_t)record.size;
}

static void drop_link(struct drop *d, const struct dropped *x, const char *value, size_t value_len)
{
    struct record_blob record = {0};
    char text[DIGEST_TEXT_MAX];

    if (record_blob_decode(value, value_len, &record) != 0)
        record.size = 0;
    release(d, x, 'L');
    retract(d, INDEX_BLOB, x->image, digest_text(&x->digest, text));
    d->gone.blobs++;
    d->gone.bytes += (int64_t)record.size;
}

/* Keys of one letter of an image. True: none is left. */
static bool drop_letter(struct drop *d, char letter, const char *image)
{
    struct key prefix;
    struct db_walk *walk;
    bool all;

    key_image(&prefix, letter, d->repo, image);
    for (walk = db_walk_new(d->c->db, prefix.data, prefix.len, NULL, 0);
         db_walk_valid(walk) && d->left > 0 && d->sweep.file_count < SWEEP_SLICE;
         db_walk_next(walk)) {
        struct dropped x = {.image = image};
        struct key_reader r;
        size_t len, value_len;
        const char *key = db_walk_key(walk, &len), *value = db_walk_value(walk, &value_len);

        d->left--;
        key_reader_init(&r, key + prefix.len, len - prefix.len);
        if (letter == 'T') {
            if (drop_tag(d, image, key_get_str(&r), value, value_len) != 0)
                break;
        } else {
            key_get_digest(&r, &x.digest);
            if (letter == 'M' && !r.bad)
                drop_manifest(d, &x, value, value_len);
            else if (!r.bad)
                drop_link(d, &x, value, value_len);
        }
        db_delete(d->c->db, key, len);
    }
    all = !db_walk_valid(walk);
    return db_walk_free(&walk) == 0 && all;
}

/* The first image that is left, or NULL. */
static const char *next_image(struct drop *d)
{
    struct key prefix;
    struct db_walk *walk;
    const char *image = NULL;

    key_begin(&prefix, 'I');
    key_str(&prefix, d->repo);
    walk = db_walk_new(d->c->db, prefix.data, prefix.len, NULL, 0);
    if (db_walk_valid(walk)) {
        struct key_reader r;
        size_t len;
        const char *key = db_walk_key(walk, &len);

        key_reader_init(&r, key + prefix.len, len - prefix.len);
        image = mem_arena_strdup(turn_arena(d->c->turn), key_get_str(&r));
    }
    d->finished = !image;
    if (db_walk_free(&walk) != 0)
        d->finished = false; /* the turn fails */
    return image;
}

static void drop_run(struct turn_task *task)
{
    struct drop *d = (struct drop *)((char *)task - offsetof(struct drop, task));
    const char *image = next_image(d);
    struct key k;

    d->sweep.file_count = 0;
    d->left = SLICE;
    memset(&d->gone, 0, sizeof(d->gone));
    if (!image)
        return;
    if (drop_letter(d, 'T', image) && drop_letter(d, 'M', image) && drop_letter(d, 'L', image)) {
        key_image(&k, 'I', d->repo, image);
        db_delete(d->c->db, k.data, k.len);
        d->gone.images++;
    }
    if (d->place != SIZE_MAX) {
        struct catalog_count *count = turn_count(d->c->turn, d->place);

        count->images -= d->gone.images;
        count->tags -= d->gone.tags;
        count->manifests -= d->gone.manifests;
        count->blobs -= d->gone.blobs;
        count->bytes -= d->gone.bytes;
    }
}

/* A repository without a section is counted by held.c. */
static void unowned_lessen(struct drop *d)
{
    struct held_unowned *u = held_unowned_find(d->c->held, d->repo);

    if (d->place != SIZE_MAX || !u)
        return;
    u->count.images -= d->gone.images;
    u->count.tags -= d->gone.tags;
    u->count.manifests -= d->gone.manifests;
    u->count.blobs -= d->gone.blobs;
    u->count.bytes -= d->gone.bytes;
}

static void drop_done(struct turn_task *task, int err)
{
    struct drop *d = (struct drop *)((char *)task - offsetof(struct drop, task));

    if (err == 0) {
        FAIL_POINT(catalog_drop_written);
        sweep_files(&d->sweep);
        unowned_lessen(d);
        if (!d->finished) {
            turn_add_task(d->c->turn, &d->task);
            return;
        }
        log_notice("audit", "event=repo-dropped repo=%s", log_quote(d->repo));
    }
    d->state = err == 0 ? STATS_DROP_DONE : STATS_DROP_FAILED;
}

static void drop_begin(struct drop *d, const char *repo)
{
    free(d->repo);
    d->repo = mem_strdup(repo);
    if (catalog_repo(d->c, repo, &d->place) != 0)
        d->place = SIZE_MAX;
    d->sweep.c = d->c;
    d->state = STATS_DROP_RUNNING;
    log_notice("audit", "event=repo-drop repo=%s", log_quote(repo));
    turn_add_task(d->c->turn, &d->task);
}

void drop_op(struct catalog *c, struct msg_reader *question, struct msg_writer *answer)
{
    struct drop *d = c->drop;
    const char *repo = msg_get_str(question, CONF_NAME_MAX);
    bool begin = msg_get_u8(question) == 1, running = d->state == STATS_DROP_RUNNING;
    struct stats_repo stats;
    int err = msg_end(question);
    bool ours = err == 0 && d->repo && strcmp(d->repo, repo) == 0;

    if (err == 0 && !op_repo_stats_of(c, repo, &stats))
        err = ERR_NOT_FOUND;
    if (err == 0 && stats.kind == CONF_GROUP)
        err = ERR_UNSUPPORTED;
    if (err == 0 && begin && running && !ours)
        err = ERR_BUSY;
    reply_err_put(answer, err);
    if (err != 0)
        return;
    if (begin && !running) {
        drop_begin(d, repo);
        ours = true;
    }
    stats_repo_put(answer, &stats);
    msg_put_u8(answer, ours ? (uint8_t)d->state : STATS_DROP_NONE);
}

struct drop *drop_new(struct catalog *c)
{
    struct drop *d = mem_alloc(sizeof(*d));

    d->c = c;
    d->task = (struct turn_task){drop_run, drop_done};
    return d;
}

void drop_free(struct drop **drop_p)
{
    free((*drop_p)->repo);
    free(*drop_p);
    *drop_p = NULL;
}
