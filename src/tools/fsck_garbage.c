/*
 * fsck_garbage.c - what would stay for ever: garbage collection looks only at what
 * its queue names (key Q), so whatever nothing refers to must be named there.
 *
 * Changes nothing but the batch of repairs (fsck.h).
 */
#include "tools/fsck.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/siphash.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* What the queue names, as 128 bits each: "repo image digest", and digests alone. */
struct queue {
    uint8_t seed[16];
    struct entry {
        uint64_t hash[2];
    } * list;
    size_t count;
};

static struct entry entry_of(const struct queue *q, const char *repo, const char *image,
                             const struct digest *digest)
{
    struct entry e = {0};
    struct key k;

    key_image(&k, 'Q', repo, image);
    key_digest(&k, digest);
    siphash_128(q->seed, k.data, k.len, e.hash);
    return e;
}

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct entry));
}

static void add(struct queue *q, const struct entry *e)
{
    q->list = mem_room(q->list, q->count, sizeof(*q->list));
    q->list[q->count++] = *e;
}

static bool named(const struct queue *q, const char *repo, const char *image,
                  const struct digest *digest)
{
    struct entry e = entry_of(q, repo, image, digest);

    return q->count > 0 && bsearch(&e, q->list, q->count, sizeof(e), compare) != NULL;
}

static int queue_read(struct fsck *f, struct queue *q)
{
    struct db_walk *walk = db_walk_new(f->db, "Q", 1, NULL, 0);

    file_random(q->seed, sizeof(q->seed));
    for (; db_walk_valid(walk); db_walk_next(walk)) {
        size_t len;
        const char *data = db_walk_key(walk, &len), *repo, *image;
        struct key_reader key;
        struct digest digest;
        struct entry e;

        key_reader_init(&key, data + 1, len - 1);
        key_get_time(&key);
        repo = key_get_str(&key);
        image = key_get_str(&key);
        key_get_digest(&key, &digest);
        if (key_end(&key) != 0)
            continue; /* told by fsck_records.c */
        e = entry_of(q, repo, image, &digest);
        add(q, &e);
        e = entry_of(q, "", "", &digest);
        add(q, &e);
    }
    if (q->count > 0)
        qsort(q->list, q->count, sizeof(*q->list), compare);
    return db_walk_free(&walk);
}

/* To be looked at by the next collection, which decides. */
static void enqueue(struct fsck *f, const char *repo, const char *image,
                    const struct digest *digest)
{
    struct key k;

    key_suspect(&k, (uint64_t)time(NULL), repo, image, digest);
    db_put(f->db, k.data, k.len, "", 0);
}

/* Links of blobs that no manifest of the image names. */
static int links_check(struct fsck *f, const struct queue *q)
{
    struct db_walk *walk = db_walk_new(f->db, "L", 1, NULL, 0);

    for (; db_walk_valid(walk); db_walk_next(walk)) {
        size_t len;
        const char *data = db_walk_key(walk, &len), *repo, *image;
        char text[DIGEST_TEXT_MAX];
        struct key_reader key;
        struct digest digest;
        struct key parents;

        key_reader_init(&key, data + 1, len - 1);
        repo = key_get_str(&key);
        image = key_get_str(&key);
        key_get_digest(&key, &digest);
        if (key_end(&key) != 0)
            continue;
        key_image(&parents, 'K', repo, image);
        key_digest(&parents, &digest);
        if (fsck_any(f, &parents) || named(q, repo, image, &digest))
            continue;
        fsck_tell(f, "garbage", true, "%s/%s: no manifest names %s, and no collection would look",
                  repo, image, digest_text(&digest, text));
        if (f->repair)
            enqueue(f, repo, image, &digest);
    }
    return db_walk_free(&walk);
}

/* Bytes that no image holds. Without its record a file is an orphan. */
static void bytes_check(struct fsck *f, const struct queue *q)
{
    for (size_t i = 0; i < f->blob_count; i++) {
        const struct fsck_blob *b = &f->blobs[i];
        const char *store = f->conf->stores[b->store].key;
        char text[DIGEST_TEXT_MAX];
        struct key holders, k;

        key_holders(&holders, store, &b->digest);
        key_blob(&k, store, &b->digest);
        if (!fsck_has(f, &k) || fsck_any(f, &holders) || named(q, "", "", &b->digest))
            continue; /* gone: collected meanwhile */
        fsck_tell(f, "garbage", true, "no image holds %s in %s, and no collection would look",
                  digest_text(&b->digest, text), store);
        if (f->repair) {
            db_delete(f->db, k.data, k.len);
            key_damage(&k, store, &b->digest);
            db_delete(f->db, k.data, k.len);
        }
    }
}

int fsck_garbage(struct fsck *f)
{
    struct queue q = {0};
    int err;

    if (f->notes_told)
        return 0; /* who refers to what is known after their repair */
    err = queue_read(f, &q);
    if (err == 0)
        err = links_check(f, &q);
    if (err == 0)
        bytes_check(f, &q);
    free(q.list);
    return err;
}
