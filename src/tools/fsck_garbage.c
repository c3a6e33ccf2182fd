/*
 * fsck_garbage.c - what would stay for ever: garbage collection looks only at what
 * its queue names, so whatever nothing refers to must be named there.
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
    const struct meta_key key = meta_suspect(0, repo, image, digest);
    struct entry e = {0};
    struct meta_place place;

    meta_place_of(&key, &place);
    siphash_128(q->seed, place.data, place.len, e.hash);
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

/* What is no key is told by fsck_records.c. */
static int queue_read(struct fsck *f, struct queue *q)
{
    struct meta_walk *walk = meta_walk_new(f->db, (struct meta_key){.kind = META_SUSPECT}, NULL);
    struct meta_key key;

    file_random(q->seed, sizeof(q->seed));
    while (meta_walk_next(walk, &key)) {
        struct entry e = entry_of(q, key.repo, key.image, &key.digest);

        add(q, &e);
        e = entry_of(q, "", "", &key.digest);
        add(q, &e);
    }
    if (q->count > 0)
        qsort(q->list, q->count, sizeof(*q->list), compare);
    return meta_walk_end(&walk);
}

/* Links of blobs that no manifest of the image names. A collection decides. */
static int links_check(struct fsck *f, const struct queue *q)
{
    struct meta_walk *walk = meta_walk_new(f->db, (struct meta_key){.kind = META_LINK}, NULL);
    struct meta_key key;

    while (meta_walk_next(walk, &key)) {
        char text[DIGEST_TEXT_MAX];

        if (meta_any(f->db, meta_at(META_PARENT, key.repo, key.image, &key.digest)) ||
            named(q, key.repo, key.image, &key.digest))
            continue;
        fsck_tell(f, "garbage", true, "%s/%s: no manifest names %s, and no collection would look",
                  key.repo, key.image, digest_text(&key.digest, text));
        if (f->repair)
            meta_put_key(f->db,
                         meta_suspect((uint64_t)time(NULL), key.repo, key.image, &key.digest));
    }
    return meta_walk_end(&walk);
}

/* Bytes that no image holds. Without its record a file is an orphan. */
static void bytes_check(struct fsck *f, const struct queue *q)
{
    for (size_t i = 0; i < f->blob_count; i++) {
        const struct fsck_blob *b = &f->blobs[i];
        const char *store = f->conf->stores[b->store].key;
        char text[DIGEST_TEXT_MAX];

        if (!meta_has(f->db, meta_blob(store, &b->digest)) ||
            meta_any(f->db, meta_holders(store, &b->digest)) || named(q, "", "", &b->digest))
            continue; /* gone: collected meanwhile */
        fsck_tell(f, "garbage", true, "no image holds %s in %s, and no collection would look",
                  digest_text(&b->digest, text), store);
        if (f->repair)
            meta_blob_forget(f->db, store, &b->digest);
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
