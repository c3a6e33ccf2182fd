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

static void retract(struct drop *d, enum index_kind kind, const char *image, const char *ref)
{
    if (d->place != SIZE_MAX)
        turn_retract(d->c->turn, kind, d->repo, image, ref);
}

/* It may lie in a store that is not the one of its section, or of none any more. */
static void release(struct drop *d, const struct meta_key *key)
{
    const struct conf *conf = d->c->conf;
    const struct holding *holding = held_holding(d->c->held, d->repo);
    struct meta_key holder = meta_holder("", &key->digest, key->kind, d->repo, key->image);

    if (holding) {
        holder.store = holding->store;
        meta_delete(d->c->db, holder);
    }
    for (size_t i = 0; i < conf->store_count; i++) {
        bool named = holding && strcmp(holding->store, conf->stores[i].name) == 0;

        holder.store = conf->stores[i].key;
        if (!named && !meta_has(d->c->db, holder))
            continue;
        meta_delete(d->c->db, holder);
        sweep_bytes(&d->sweep, i, &key->digest);
    }
}

/* A damaged record goes all the same. */
static void drop_tag(struct drop *d, const struct meta_key *key, const char *value,
                     size_t value_len)
{
    struct record_tag record;

    if (record_tag_decode(value, value_len, &record) == 0)
        meta_tag_delete(d->c->db, *key, &record.digest);
    retract(d, INDEX_TAG, key->image, key->tag);
    d->gone.tags++;
}

static void drop_manifest(struct drop *d, const struct meta_key *key, const char *value,
                          size_t value_len)
{
    struct record_manifest record = {0};
    char text[DIGEST_TEXT_MAX];

    if (record_manifest_decode(value, value_len, turn_arena(d->c->turn), &record) == 0) {
        meta_manifest_delete(d->c->db, *key, &record);
        d->left -= d->left < record.contents.ref_count ? d->left : record.contents.ref_count;
    }
    release(d, key);
    retract(d, INDEX_MANIFEST, key->image, digest_text(&key->digest, text));
    d->gone.manifests++;
    d->gone.bytes += (int64_t)record.size;
}

static void drop_link(struct drop *d, const struct meta_key *key, const char *value,
                      size_t value_len)
{
    struct record_blob record = {0};
    char text[DIGEST_TEXT_MAX];

    if (record_blob_decode(value, value_len, &record) != 0)
        record.size = 0;
    release(d, key);
    retract(d, INDEX_BLOB, key->image, digest_text(&key->digest, text));
    d->gone.blobs++;
    d->gone.bytes += (int64_t)record.size;
}

static void drop_one(struct drop *d, const struct meta_key *key, const char *value, size_t len)
{
    if (key->kind == META_TAG)
        drop_tag(d, key, value, len);
    else if (key->kind == META_MANIFEST)
        drop_manifest(d, key, value, len);
    else if (key->kind == META_LINK)
        drop_link(d, key, value, len);
}

/* What an image has of a kind, whatever it is. True: nothing is left. */
static bool drop_kind(struct drop *d, enum meta_kind kind, const char *image)
{
    struct meta_walk *walk = meta_walk_new(d->c->db, meta_of_image(kind, d->repo, image), NULL);
    struct meta_key key;
    bool more;
    int err;

    while ((more = meta_walk_step(walk, &key)) && d->left > 0 &&
           d->sweep.file_count < SWEEP_SLICE) {
        size_t len;
        const char *value = meta_walk_value(walk, &len);

        d->left--;
        drop_one(d, &key, value, len);
        meta_walk_delete(walk);
    }
    err = meta_walk_end(&walk);
    return (err == 0 || err == ERR_DAMAGED) && !more;
}

/* The first image that is left, or NULL. */
static const char *next_image(struct drop *d)
{
    struct meta_walk *walk = meta_walk_new(d->c->db, meta_image(d->repo, NULL), NULL);
    const char *image = NULL;
    struct meta_key key;
    int err;

    if (meta_walk_next(walk, &key))
        image = mem_arena_strdup(turn_arena(d->c->turn), key.image);
    err = meta_walk_end(&walk);
    d->finished = !image && (err == 0 || err == ERR_DAMAGED); /* else the turn fails */
    return image;
}

static void drop_run(struct turn_task *task)
{
    struct drop *d = (struct drop *)((char *)task - offsetof(struct drop, task));
    const char *image = next_image(d);

    d->sweep.file_count = 0;
    d->left = SLICE;
    memset(&d->gone, 0, sizeof(d->gone));
    if (!image)
        return;
    if (drop_kind(d, META_TAG, image) && drop_kind(d, META_MANIFEST, image) &&
        drop_kind(d, META_LINK, image)) {
        meta_delete(d->c->db, meta_image(d->repo, image));
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
    bool running = d->state == STATS_DROP_RUNNING, ours;
    struct operator_dropped told = {.state = STATS_DROP_NONE};
    struct operator_drop q;
    int err;

    operator_drop_get(question, &q);
    err = msg_end(question);
    ours = err == 0 && d->repo && strcmp(d->repo, q.repo) == 0;
    if (err == 0 && !op_repo_stats_of(c, q.repo, &told.stats))
        err = ERR_NOT_FOUND;
    if (err == 0 && told.stats.kind == CONF_GROUP)
        err = ERR_UNSUPPORTED;
    if (err == 0 && q.begin && running && !ours)
        err = ERR_BUSY;
    reply_err_put(answer, err);
    if (err != 0)
        return;
    if (q.begin && !running) {
        drop_begin(d, q.repo);
        ours = true;
    }
    if (ours)
        told.state = (uint8_t)d->state;
    operator_dropped_put(answer, &told);
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
