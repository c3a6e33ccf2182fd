/*
 * fsck_records.c - records of blobs, who holds them, images, the queue of garbage.
 *
 * Changes nothing but the batch of repairs (fsck.h).
 */
#include "tools/fsck.h"

/* U store digest kind repo image: the image must have it. */
static int check_holder(struct fsck *f, const char *whole, size_t whole_len, struct key_reader *key,
                        const char *value, size_t value_len)
{
    struct digest digest;
    char text[DIGEST_TEXT_MAX], kind;
    const char *repo, *image;
    struct key k;

    (void)value;
    (void)value_len;
    key_get_str(key);
    key_get_digest(key, &digest);
    kind = key_get_char(key);
    repo = key_get_str(key);
    image = key_get_str(key);
    if (key_end(key) != 0 || (kind != 'L' && kind != 'M'))
        return ERR_DAMAGED;
    key_image(&k, kind, repo, image);
    key_digest(&k, &digest);
    if (fsck_has(f, &k))
        return 0;
    fsck_tell(f, "holder", true, "%s/%s is noted to hold %s and does not", repo, image,
              digest_text(&digest, text));
    if (f->repair)
        db_delete(f->db, whole, whole_len);
    return 0;
}

/* I repo image: something must be in it. */
static int check_image(struct fsck *f, const char *whole, size_t whole_len, struct key_reader *key,
                       const char *value, size_t value_len)
{
    const char *repo = key_get_str(key), *image = key_get_str(key);
    struct record_blob record;
    struct key links, manifests;

    if (key_end(key) != 0 || record_blob_decode(value, value_len, &record) != 0)
        return ERR_DAMAGED;
    key_image(&links, 'L', repo, image);
    key_image(&manifests, 'M', repo, image);
    if (fsck_any(f, &links) || fsck_any(f, &manifests))
        return 0;
    fsck_tell(f, "image", true, "%s/%s is listed and empty", repo, image);
    if (f->repair)
        db_delete(f->db, whole, whole_len);
    return 0;
}

/* D store digest: a mark of what is there. */
static int check_mark(struct fsck *f, const char *whole, size_t whole_len, struct key_reader *key,
                      const char *value, size_t value_len)
{
    const char *store = key_get_str(key);
    struct digest digest;
    char text[DIGEST_TEXT_MAX];
    struct key k;

    (void)value;
    (void)value_len;
    key_get_digest(key, &digest);
    if (key_end(key) != 0)
        return ERR_DAMAGED;
    key_blob(&k, store, &digest);
    if (fsck_has(f, &k))
        return 0;
    fsck_tell(f, "mark", true, "%s is marked as damaged in %s, which does not know it",
              digest_text(&digest, text), store);
    if (f->repair)
        db_delete(f->db, whole, whole_len);
    return 0;
}

/* Q time repo image digest: only its form; what it names may be gone by now. */
static int check_suspect(struct fsck *f, const char *whole, size_t whole_len,
                         struct key_reader *key, const char *value, size_t value_len)
{
    struct digest digest;

    (void)value;
    (void)value_len;
    key_get_time(key);
    key_get_str(key);
    key_get_str(key);
    key_get_digest(key, &digest);
    if (key_end(key) == 0)
        return 0;
    fsck_tell(f, "queue", true, "an entry in the queue of garbage is damaged");
    if (f->repair)
        db_delete(f->db, whole, whole_len);
    return 0;
}

int fsck_records(struct fsck *f)
{
    int err = fsck_each(f, 'U', check_holder);

    if (err == 0)
        err = fsck_each(f, 'I', check_image);
    if (err == 0)
        err = fsck_each(f, 'D', check_mark);
    if (err == 0)
        err = fsck_each(f, 'Q', check_suspect);
    return err;
}
