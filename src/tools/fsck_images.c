/*
 * fsck_images.c - what images hold: links, manifests, tags, and the
 * back-references that garbage collection trusts, checked both ways.
 *
 * Changes nothing but the batch of repairs (fsck.h).
 */
#include "tools/fsck.h"

#include <string.h>

/* An image whose repository is configured, and where its bytes lie. */
struct place {
    const char *repo, *image, *store;
};

static bool place_get(struct fsck *f, struct key_reader *key, struct place *p_r)
{
    const struct conf_repo *repo;

    p_r->repo = key_get_str(key);
    p_r->image = key_get_str(key);
    repo = conf_repo_by_name(f->conf, p_r->repo, strlen(p_r->repo));
    p_r->store = repo && repo->store ? repo->store->key : NULL;
    return p_r->store != NULL;
}

static void need(struct fsck *f, const struct place *p, const struct key *k, const char *what,
                 const struct digest *digest)
{
    char text[DIGEST_TEXT_MAX];

    if (fsck_has(f, k))
        return;
    f->notes_told = true;
    fsck_tell(f, "back-reference", true, "%s/%s: %s of %s is missing", p->repo, p->image, what,
              digest_text(digest, text));
    if (f->repair)
        db_put(f->db, k->data, k->len, "", 0);
}

/* A note that holds something of the manifest it is of. An empty one is of before there was such a
 * value, and no problem: a repair fills it. */
static void need_noted(struct fsck *f, const struct place *p, const struct key *k, const char *what,
                       const struct digest *digest, const struct str *value)
{
    struct str found = {0};
    char text[DIGEST_TEXT_MAX];

    need(f, p, k, what, digest);
    if (db_get(f->db, k->data, k->len, &found) == 0 &&
        (found.len != value->len || memcmp(found.data, value->data, value->len) != 0)) {
        if (found.len > 0)
            fsck_tell(f, "back-reference", true, "%s/%s: %s of %s tells something else than is",
                      p->repo, p->image, what, digest_text(digest, text));
        if (f->repair)
            db_put(f->db, k->data, k->len, value->data, value->len);
    }
    str_free(&found);
}

static void need_image(struct fsck *f, const struct place *p, uint64_t time)
{
    struct record_blob record = {.time = time};
    struct str value = {0};
    struct key k;

    key_image(&k, 'I', p->repo, p->image);
    if (fsck_has(f, &k))
        return;
    fsck_tell(f, "image", true, "%s/%s has contents and is not listed", p->repo, p->image);
    if (f->repair) {
        record_blob_encode(&value, &record);
        db_put(f->db, k.data, k.len, value.data, value.len);
    }
    str_free(&value);
}

/* The record of the bytes that an image holds: it follows from a good file. */
static void need_blob(struct fsck *f, const struct place *p, const struct digest *digest,
                      uint64_t size, uint64_t time)
{
    struct record_blob record = {.size = size, .time = time};
    struct str value = {0};
    char text[DIGEST_TEXT_MAX];
    struct key k;
    bool good;

    digest_text(digest, text);
    key_blob(&k, p->store, digest);
    if (db_get(f->db, k.data, k.len, &value) != 0) {
        good = fsck_file_good(f, (size_t)fsck_store_place(f, p->store), digest, size);
        fsck_tell(f, "blob", good, "%s/%s holds %s, which %s does not know%s", p->repo, p->image,
                  text, p->store, good ? "" : "; push it again");
        if (good && f->repair) {
            record_blob_encode(&value, &record);
            db_put(f->db, k.data, k.len, value.data, value.len);
        }
    } else if (record_blob_decode(value.data, value.len, &record) == 0 && record.size != size)
        fsck_tell(f, "blob", false, "%s/%s holds %s with %llu bytes, %s with %llu", p->repo,
                  p->image, text, (unsigned long long)size, p->store,
                  (unsigned long long)record.size);
    str_free(&value);
}

static int check_link(struct fsck *f, const char *whole, size_t whole_len, struct key_reader *key,
                      const char *value, size_t value_len)
{
    struct record_blob record;
    struct digest digest;
    struct place p;
    struct key k;
    bool here = place_get(f, key, &p);

    (void)whole;
    (void)whole_len;
    key_get_digest(key, &digest);
    if (key_end(key) != 0 || record_blob_decode(value, value_len, &record) != 0)
        return ERR_DAMAGED;
    if (!here) {
        f->skipped++;
        return 0;
    }
    key_holder(&k, p.store, &digest, 'L', p.repo, p.image);
    need(f, &p, &k, "the holder's note", &digest);
    need_blob(f, &p, &digest, record.size, record.time);
    need_image(f, &p, record.time);
    return 0;
}

static int check_manifest(struct fsck *f, const char *whole, size_t whole_len,
                          struct key_reader *key, const char *value, size_t value_len)
{
    struct record_manifest record;
    struct str note = {0};
    struct digest digest;
    struct place p;
    struct key k;
    bool here = place_get(f, key, &p);

    (void)whole;
    (void)whole_len;
    key_get_digest(key, &digest);
    if (key_end(key) != 0 || record_manifest_decode(value, value_len, f->arena, &record) != 0)
        return ERR_DAMAGED;
    if (!here) {
        f->skipped++;
        return 0;
    }
    key_holder(&k, p.store, &digest, 'M', p.repo, p.image);
    need(f, &p, &k, "the holder's note", &digest);
    need_blob(f, &p, &digest, record.size, record.time);
    need_image(f, &p, record.time);
    record_parent_encode(&note, record.contents.is_index);
    for (size_t i = 0; i < record.contents.ref_count; i++) {
        key_image(&k, 'K', p.repo, p.image);
        key_digest(&k, &record.contents.refs[i].digest);
        key_digest(&k, &digest);
        need_noted(f, &p, &k, "a parent's note", &record.contents.refs[i].digest, &note);
    }
    if (record.contents.subject.alg != 0) {
        key_image(&k, 'R', p.repo, p.image);
        key_digest(&k, &record.contents.subject);
        key_digest(&k, &digest);
        record_referrer_encode(&note, &record);
        need_noted(f, &p, &k, "a referrer's note", &record.contents.subject, &note);
    }
    str_free(&note);
    return 0;
}

static int check_tag(struct fsck *f, const char *whole, size_t whole_len, struct key_reader *key,
                     const char *value, size_t value_len)
{
    char text[DIGEST_TEXT_MAX];
    struct record_tag record;
    const char *tag;
    struct place p;
    struct key k;
    bool here = place_get(f, key, &p);

    (void)whole;
    (void)whole_len;
    tag = key_get_str(key);
    if (key_end(key) != 0 || record_tag_decode(value, value_len, &record) != 0)
        return ERR_DAMAGED;
    if (!here) {
        f->skipped++;
        return 0;
    }
    key_image(&k, 'M', p.repo, p.image);
    key_digest(&k, &record.digest);
    if (!fsck_has(f, &k))
        fsck_tell(f, "tag", false, "%s/%s:%s points to %s, which is not there; push it again",
                  p.repo, p.image, tag, digest_text(&record.digest, text));
    key_image(&k, 'G', p.repo, p.image);
    key_digest(&k, &record.digest);
    key_str(&k, tag);
    need(f, &p, &k, "a tag's note", &record.digest);
    return 0;
}

static void dangling(struct fsck *f, const struct place *p, const char *whole, size_t whole_len,
                     const char *what)
{
    fsck_tell(f, "back-reference", true, "%s/%s: %s that is not there is noted", p->repo, p->image,
              what);
    if (f->repair)
        db_delete(f->db, whole, whole_len);
}

/* G repo image digest tag */
static int check_tag_note(struct fsck *f, const char *whole, size_t whole_len,
                          struct key_reader *key, const char *value, size_t value_len)
{
    struct place p;
    struct digest digest;
    struct record_tag record;
    struct str found = {0};
    const char *tag;
    struct key k;
    int err;

    (void)value;
    (void)value_len;
    (void)place_get(f, key, &p);
    key_get_digest(key, &digest);
    tag = key_get_str(key);
    if (key_end(key) != 0)
        return ERR_DAMAGED;
    key_image(&k, 'T', p.repo, p.image);
    key_str(&k, tag);
    err = db_get(f->db, k.data, k.len, &found);
    if (err == ERR_NOT_FOUND ||
        (err == 0 && record_tag_decode(found.data, found.len, &record) == 0 &&
         !digest_equal(&record.digest, &digest)))
        dangling(f, &p, whole, whole_len, "a tag");
    str_free(&found);
    return 0;
}

static bool names(const struct manifest *m, const struct digest *digest, bool as_subject)
{
    for (size_t i = 0; !as_subject && i < m->ref_count; i++)
        if (digest_equal(&m->refs[i].digest, digest))
            return true;
    return as_subject && digest_equal(&m->subject, digest);
}

/* K and R: repo image named manifest */
static int check_parent_note(struct fsck *f, const char *whole, size_t whole_len,
                             struct key_reader *key, const char *value, size_t value_len)
{
    struct digest named, manifest;
    struct record_manifest record;
    struct str found = {0};
    struct place p;
    struct key k;
    int err;

    (void)value;
    (void)value_len;
    (void)place_get(f, key, &p);
    key_get_digest(key, &named);
    key_get_digest(key, &manifest);
    if (key_end(key) != 0)
        return ERR_DAMAGED;
    key_image(&k, 'M', p.repo, p.image);
    key_digest(&k, &manifest);
    err = db_get(f->db, k.data, k.len, &found);
    if (err == ERR_NOT_FOUND ||
        (err == 0 && record_manifest_decode(found.data, found.len, f->arena, &record) == 0 &&
         !names(&record.contents, &named, *whole == 'R')))
        dangling(f, &p, whole, whole_len, "a manifest");
    str_free(&found);
    return 0;
}

int fsck_images(struct fsck *f)
{
    int err = fsck_each(f, 'L', check_link);

    if (err == 0)
        err = fsck_each(f, 'M', check_manifest);
    if (err == 0)
        err = fsck_each(f, 'T', check_tag);
    if (err == 0)
        err = fsck_each(f, 'G', check_tag_note);
    if (err == 0)
        err = fsck_each(f, 'K', check_parent_note);
    if (err == 0)
        err = fsck_each(f, 'R', check_parent_note);
    return err;
}
