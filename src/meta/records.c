/*
 * records.c - the database's records, by what they are.
 *
 * Runs in the catalog and in entrepotctl, over a batch of theirs, which a crash leaves all of or
 * nothing.
 */
#include "meta/records.h"

int meta_get(struct db *db, struct meta_key key, struct str *value_r)
{
    struct meta_place k;

    meta_place_of(&key, &k);
    return db_get(db, k.data, k.len, value_r);
}

int meta_find(struct db *db, struct meta_key key)
{
    return meta_get(db, key, NULL);
}

bool meta_has(struct db *db, struct meta_key key)
{
    return meta_find(db, key) == 0;
}

bool meta_any(struct db *db, struct meta_key prefix)
{
    struct meta_walk *walk = meta_walk_new(db, prefix, NULL);
    struct meta_key key;
    bool any = meta_walk_step(walk, &key);

    return meta_walk_end(&walk) != 0 || any;
}

void meta_put(struct db *db, struct meta_key key, const struct str *value)
{
    struct meta_place k;

    meta_place_of(&key, &k);
    db_put(db, k.data, k.len, value->data, value->len);
}

void meta_put_key(struct db *db, struct meta_key key)
{
    meta_put(db, key, &(struct str){0});
}

void meta_delete(struct db *db, struct meta_key key)
{
    struct meta_place k;

    meta_place_of(&key, &k);
    db_delete(db, k.data, k.len);
}

uint64_t meta_bytes(struct db *db, enum meta_kind kind)
{
    return kv_bytes(db_kv(db), (char)kind, (char)(kind + 1));
}

int meta_blob_get(struct db *db, struct meta_key key, struct record_blob *b_r)
{
    struct str value = {0};
    int err = meta_get(db, key, &value);

    if (err == 0)
        err = record_blob_decode(value.data, value.len, b_r);
    str_free(&value);
    return err;
}

void meta_blob_put(struct db *db, struct meta_key key, uint64_t size, uint64_t time)
{
    const struct record_blob record = {.size = size, .time = time};
    struct str value = {0};

    record_blob_encode(&value, &record);
    meta_put(db, key, &value);
    str_free(&value);
}

void meta_blob_forget(struct db *db, const char *store, const struct digest *digest)
{
    meta_delete(db, meta_blob(store, digest));
    if (meta_has(db, meta_damage(store, digest)))
        meta_delete(db, meta_damage(store, digest));
}

int meta_manifest_get(struct db *db, struct meta_key key, struct mem_arena *arena,
                      struct str *value, struct record_manifest *m_r)
{
    int err = meta_get(db, key, value);

    return err != 0 ? err : record_manifest_decode(value->data, value->len, arena, m_r);
}

int meta_manifest_peek(struct db *db, struct meta_key key, struct str *value, uint64_t *size_r,
                       const char **media_type_r)
{
    int err = meta_get(db, key, value);

    return err != 0 ? err : record_manifest_peek(value->data, value->len, size_r, media_type_r);
}

void meta_manifest_put(struct db *db, struct meta_key key, const struct record_manifest *m)
{
    const struct manifest *contents = &m->contents;
    struct str value = {0};

    record_manifest_encode(&value, m);
    meta_put(db, key, &value);
    record_parent_encode(&value, contents->is_index);
    for (size_t i = 0; i < contents->ref_count; i++)
        meta_put(db,
                 meta_by(META_PARENT, key.repo, key.image, &contents->refs[i].digest, &key.digest),
                 &value);
    if (contents->subject.alg != 0) {
        record_referrer_encode(&value, m);
        meta_put(db, meta_by(META_REFERRER, key.repo, key.image, &contents->subject, &key.digest),
                 &value);
    }
    str_free(&value);
}

void meta_manifest_delete(struct db *db, struct meta_key key, const struct record_manifest *m)
{
    const struct manifest *contents = &m->contents;

    meta_delete(db, key);
    for (size_t i = 0; i < contents->ref_count; i++)
        meta_delete(
            db, meta_by(META_PARENT, key.repo, key.image, &contents->refs[i].digest, &key.digest));
    if (contents->subject.alg != 0)
        meta_delete(db,
                    meta_by(META_REFERRER, key.repo, key.image, &contents->subject, &key.digest));
}

int meta_tag_get(struct db *db, struct meta_key key, struct str *value, struct record_tag *t_r)
{
    int err = meta_get(db, key, value);

    return err != 0 ? err : record_tag_decode(value->data, value->len, t_r);
}

void meta_tag_put(struct db *db, struct meta_key key, const struct record_tag *t,
                  const struct digest *old)
{
    struct str value = {0};

    if (old && !digest_equal(old, &t->digest))
        meta_delete(db, meta_tag_on(key.repo, key.image, old, key.tag));
    record_tag_encode(&value, t);
    meta_put(db, key, &value);
    meta_put_key(db, meta_tag_on(key.repo, key.image, &t->digest, key.tag));
    str_free(&value);
}

void meta_tag_delete(struct db *db, struct meta_key key, const struct digest *old)
{
    meta_delete(db, key);
    meta_delete(db, meta_tag_on(key.repo, key.image, old, key.tag));
}
