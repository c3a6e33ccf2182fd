/*
 * fsck_images.c - what images hold: links, manifests, tags, and the
 * back-references that garbage collection trusts, checked both ways.
 *
 * Changes nothing but the batch of repairs (fsck.h).
 */
#include "tools/fsck.h"

#include <string.h>

/* The name in keys of the store that has an image's bytes. NULL: it is not configured now. */
static const char *store_of(const struct fsck *f, const struct meta_key *key)
{
    const struct conf_repo *repo = conf_repo_by_name(f->conf, key->repo, strlen(key->repo));

    return repo && repo->store ? repo->store->key : NULL;
}

static void need(struct fsck *f, const struct meta_key *k, const char *what)
{
    char text[DIGEST_TEXT_MAX];

    if (meta_has(f->db, *k))
        return;
    f->notes_told = true;
    fsck_tell(f, "back-reference", true, "%s/%s: %s of %s is missing", k->repo, k->image, what,
              digest_text(&k->digest, text));
    if (f->repair)
        meta_put_key(f->db, *k);
}

/* A note that holds something of the manifest it is of. An empty one is of before there was such a
 * value, and no problem: a repair fills it. */
static void need_noted(struct fsck *f, const struct meta_key *k, const char *what,
                       const struct str *value)
{
    struct str found = {0};
    char text[DIGEST_TEXT_MAX];

    need(f, k, what);
    if (meta_get(f->db, *k, &found) == 0 &&
        (found.len != value->len || memcmp(found.data, value->data, value->len) != 0)) {
        if (found.len > 0)
            fsck_tell(f, "back-reference", true, "%s/%s: %s of %s tells something else than is",
                      k->repo, k->image, what, digest_text(&k->digest, text));
        if (f->repair)
            meta_put(f->db, *k, value);
    }
    str_free(&found);
}

static void need_image(struct fsck *f, const struct meta_key *key, uint64_t time)
{
    if (meta_has(f->db, meta_image(key->repo, key->image)))
        return;
    fsck_tell(f, "image", true, "%s/%s has contents and is not listed", key->repo, key->image);
    if (f->repair)
        meta_blob_put(f->db, meta_image(key->repo, key->image), 0, time);
}

/* The record of the bytes that an image holds: it follows from a good file. */
static void need_blob(struct fsck *f, const struct meta_key *key, const char *store, uint64_t size,
                      uint64_t time)
{
    const struct meta_key blob = meta_blob(store, &key->digest);
    struct record_blob record;
    char text[DIGEST_TEXT_MAX];
    int err = meta_blob_get(f->db, blob, &record);
    bool good;

    digest_text(&key->digest, text);
    if (err != 0 && err != ERR_DAMAGED) {
        good = fsck_file_good(f, (size_t)fsck_store_place(f, store), &key->digest, size);
        fsck_tell(f, "blob", good, "%s/%s holds %s, which %s does not know%s", key->repo,
                  key->image, text, store, good ? "" : "; push it again");
        if (good && f->repair)
            meta_blob_put(f->db, blob, size, time);
    } else if (err == 0 && record.size != size) {
        fsck_tell(f, "blob", false, "%s/%s holds %s with %llu bytes, %s with %llu", key->repo,
                  key->image, text, (unsigned long long)size, store,
                  (unsigned long long)record.size);
    }
}

/* What a link and a manifest need. */
static void need_held(struct fsck *f, const struct meta_key *key, const char *store, uint64_t size,
                      uint64_t time)
{
    const struct meta_key holder =
        meta_holder(store, &key->digest, key->kind, key->repo, key->image);

    need(f, &holder, "the holder's note");
    need_blob(f, key, store, size, time);
    need_image(f, key, time);
}

static int check_link(struct fsck *f, const struct meta_key *key, const char *value,
                      size_t value_len)
{
    const char *store = store_of(f, key);
    struct record_blob record;

    if (record_blob_decode(value, value_len, &record) != 0)
        return ERR_DAMAGED;
    if (store)
        need_held(f, key, store, record.size, record.time);
    else
        f->skipped++;
    return 0;
}

/* Of what it names, and of its subject. */
static void need_notes(struct fsck *f, const struct meta_key *key,
                       const struct record_manifest *record)
{
    struct str note = {0};
    struct meta_key k = meta_at(META_PARENT, key->repo, key->image, &key->digest);

    k.by = key->digest;
    record_parent_encode(&note, record->contents.is_index);
    for (size_t i = 0; i < record->contents.ref_count; i++) {
        k.digest = record->contents.refs[i].digest;
        need_noted(f, &k, "a parent's note", &note);
    }
    if (record->contents.subject.alg != 0) {
        k.kind = META_REFERRER;
        k.digest = record->contents.subject;
        record_referrer_encode(&note, record);
        need_noted(f, &k, "a referrer's note", &note);
    }
    str_free(&note);
}

static int check_manifest(struct fsck *f, const struct meta_key *key, const char *value,
                          size_t value_len)
{
    const char *store = store_of(f, key);
    struct record_manifest record;

    if (record_manifest_decode(value, value_len, f->arena, &record) != 0)
        return ERR_DAMAGED;
    if (!store) {
        f->skipped++;
        return 0;
    }
    need_held(f, key, store, record.size, record.time);
    need_notes(f, key, &record);
    return 0;
}

static int check_tag(struct fsck *f, const struct meta_key *key, const char *value,
                     size_t value_len)
{
    char text[DIGEST_TEXT_MAX];
    struct record_tag record;
    struct meta_key note;

    if (record_tag_decode(value, value_len, &record) != 0)
        return ERR_DAMAGED;
    if (!store_of(f, key)) {
        f->skipped++;
        return 0;
    }
    if (!meta_has(f->db, meta_at(META_MANIFEST, key->repo, key->image, &record.digest)))
        fsck_tell(f, "tag", false, "%s/%s:%s points to %s, which is not there; push it again",
                  key->repo, key->image, key->tag, digest_text(&record.digest, text));
    note = meta_tag_on(key->repo, key->image, &record.digest, key->tag);
    need(f, &note, "a tag's note");
    return 0;
}

static void dangling(struct fsck *f, const struct meta_key *key, const char *what)
{
    fsck_tell(f, "back-reference", true, "%s/%s: %s that is not there is noted", key->repo,
              key->image, what);
    if (f->repair)
        meta_delete(f->db, *key);
}

static int check_tag_note(struct fsck *f, const struct meta_key *key, const char *value,
                          size_t value_len)
{
    struct record_tag record;
    struct str found = {0};
    int err = meta_tag_get(f->db, meta_tag(key->repo, key->image, key->tag), &found, &record);

    (void)value;
    (void)value_len;
    if (err == ERR_NOT_FOUND || (err == 0 && !digest_equal(&record.digest, &key->digest)))
        dangling(f, key, "a tag");
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

/* Of parents and of referrers. */
static int check_manifest_note(struct fsck *f, const struct meta_key *key, const char *value,
                               size_t value_len)
{
    struct record_manifest record;
    struct str found = {0};
    int err = meta_manifest_get(f->db, meta_at(META_MANIFEST, key->repo, key->image, &key->by),
                                f->arena, &found, &record);

    (void)value;
    (void)value_len;
    if (err == ERR_NOT_FOUND ||
        (err == 0 && !names(&record.contents, &key->digest, key->kind == META_REFERRER)))
        dangling(f, key, "a manifest");
    str_free(&found);
    return 0;
}

int fsck_images(struct fsck *f)
{
    int err = fsck_each(f, META_LINK, check_link);

    if (err == 0)
        err = fsck_each(f, META_MANIFEST, check_manifest);
    if (err == 0)
        err = fsck_each(f, META_TAG, check_tag);
    if (err == 0)
        err = fsck_each(f, META_TAG_ON, check_tag_note);
    if (err == 0)
        err = fsck_each(f, META_PARENT, check_manifest_note);
    if (err == 0)
        err = fsck_each(f, META_REFERRER, check_manifest_note);
    return err;
}
