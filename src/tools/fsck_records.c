/*
 * fsck_records.c - records of blobs, who holds them, images, the queue of garbage.
 *
 * Changes nothing but the batch of repairs (fsck.h).
 */
#include "tools/fsck.h"

/* The image must have it. */
static int check_holder(struct fsck *f, const struct meta_key *key, const char *value,
                        size_t value_len)
{
    char text[DIGEST_TEXT_MAX];

    (void)value;
    (void)value_len;
    if (meta_has(f->db, meta_at(key->holds, key->repo, key->image, &key->digest)))
        return 0;
    fsck_tell(f, "holder", true, "%s/%s is noted to hold %s and does not", key->repo, key->image,
              digest_text(&key->digest, text));
    if (f->repair)
        meta_delete(f->db, *key);
    return 0;
}

/* Something must be in it. */
static int check_image(struct fsck *f, const struct meta_key *key, const char *value,
                       size_t value_len)
{
    struct record_blob record;

    if (record_blob_decode(value, value_len, &record) != 0)
        return ERR_DAMAGED;
    if (meta_any(f->db, meta_of_image(META_LINK, key->repo, key->image)) ||
        meta_any(f->db, meta_of_image(META_MANIFEST, key->repo, key->image)))
        return 0;
    fsck_tell(f, "image", true, "%s/%s is listed and empty", key->repo, key->image);
    if (f->repair)
        meta_delete(f->db, *key);
    return 0;
}

/* A mark of what is there. */
static int check_mark(struct fsck *f, const struct meta_key *key, const char *value,
                      size_t value_len)
{
    char text[DIGEST_TEXT_MAX];

    (void)value;
    (void)value_len;
    if (meta_has(f->db, meta_blob(key->store, &key->digest)))
        return 0;
    fsck_tell(f, "mark", true, "%s is marked as damaged in %s, which does not know it",
              digest_text(&key->digest, text), key->store);
    if (f->repair)
        meta_delete(f->db, *key);
    return 0;
}

/* Only its form; what it names may be gone by now. */
static int check_queue(struct fsck *f)
{
    struct meta_walk *walk = meta_walk_new(f->db, (struct meta_key){.kind = META_SUSPECT}, NULL);
    struct meta_key key;

    while (meta_walk_step(walk, &key)) {
        f->records++;
        if (key.kind != META_NONE)
            continue;
        fsck_tell(f, "queue", true, "an entry in the queue of garbage is damaged");
        if (f->repair)
            meta_walk_delete(walk);
    }
    return meta_walk_end(&walk);
}

int fsck_records(struct fsck *f)
{
    int err = fsck_each(f, META_HOLDER, check_holder);

    if (err == 0)
        err = fsck_each(f, META_IMAGE, check_image);
    if (err == 0)
        err = fsck_each(f, META_DAMAGE, check_mark);
    return err != 0 ? err : check_queue(f);
}
