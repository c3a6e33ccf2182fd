/*
 * apply.c - what records say, told to the index and the counts.
 *
 * Runs in the catalog. Owns nothing and writes nothing but through its caller; a crash leaves what
 * that says.
 */
#include "catalog/apply.h"

#include <string.h>

const enum meta_kind apply_kinds[] = {META_DAMAGE,   META_BLOB, META_IMAGE, META_LINK,
                                      META_MANIFEST, META_TAG,  META_NONE};

/* One record, now or before. */
struct told {
    bool there;
    uint64_t size;
    struct record_tag tag;
    const char *media_type;
};

static int told_get(const struct meta_key *key, const char *value, size_t len, struct told *t_r)
{
    struct record_blob blob = {0};
    int err = 0;

    *t_r = (struct told){0};
    if (!value)
        return 0;
    if (key->kind == META_MANIFEST) {
        err = record_manifest_peek(value, len, &t_r->size, &t_r->media_type);
    } else if (key->kind == META_TAG) {
        err = record_tag_decode(value, len, &t_r->tag);
    } else if (key->kind == META_LINK || key->kind == META_BLOB) {
        err = record_blob_decode(value, len, &blob);
        t_r->size = blob.size;
    }
    t_r->there = err == 0;
    return err;
}

/* -1, 0 or 1. */
static int difference(const struct told *was, const struct told *now)
{
    return now->there - was->there;
}

static void count(struct apply *a, const struct meta_key *key, size_t place, bool owned,
                  const struct told *was, const struct told *now)
{
    struct catalog_count *n = owned ? &a->counts[place] : a->count_unowned(a, key->repo);
    int by = difference(was, now);

    n->images += key->kind == META_IMAGE ? by : 0;
    n->tags += key->kind == META_TAG ? by : 0;
    n->manifests += key->kind == META_MANIFEST ? by : 0;
    n->blobs += key->kind == META_LINK ? by : 0;
    n->bytes += (int64_t)now->size - (int64_t)was->size;
}

/* Damaged blobs are held by images and shown to nobody. */
static bool hidden(const struct apply *a, size_t repo_place, const struct digest *digest)
{
    size_t store = catalog_store_of(a->c, repo_place);

    return (int64_t)a->c->damaged_count[store] + a->damaged[store] > 0 &&
           meta_has(a->db, meta_damage(a->c->conf->stores[store].key, digest));
}

static int hide(struct apply *a, enum index_kind kind, const struct meta_key *key, const char *ref)
{
    const struct apply_entry entry = {
        .kind = kind, .repo = key->repo, .image = key->image, .ref = ref};

    return a->hide ? a->hide(a, &entry) : 0;
}

static int link_told(struct apply *a, size_t place, const struct meta_key *key,
                     const struct told *now)
{
    char text[DIGEST_TEXT_MAX];
    const struct apply_entry entry = {.kind = INDEX_BLOB,
                                      .repo = key->repo,
                                      .image = key->image,
                                      .ref = digest_text(&key->digest, text),
                                      .size = now->size};

    if (!now->there)
        return hide(a, INDEX_BLOB, key, text);
    return hidden(a, place, &key->digest) ? 0 : a->show(a, &entry);
}

/* What a manifest of a proxy names, so that a cold blob is asked for where it is. */
static int named_told(struct apply *a, const struct meta_key *key, const char *value, size_t len)
{
    struct mem_arena *arena = mem_arena_new();
    struct record_manifest record;
    char text[DIGEST_TEXT_MAX];
    int err = record_manifest_decode(value, len, arena, &record);

    for (size_t i = 0; err == 0 && i < record.contents.ref_count; i++) {
        const struct manifest_ref *ref = &record.contents.refs[i];
        const struct apply_entry entry = {.kind = INDEX_NAMED,
                                          .repo = key->repo,
                                          .image = key->image,
                                          .ref = digest_text(&ref->digest, text),
                                          .size = ref->size};

        err = a->show(a, &entry);
    }
    mem_arena_free(&arena);
    return err;
}

static int manifest_told(struct apply *a, size_t place, const struct meta_key *key,
                         const struct told *now, const char *value, size_t len)
{
    char text[DIGEST_TEXT_MAX];
    const struct apply_entry entry = {.kind = INDEX_MANIFEST,
                                      .repo = key->repo,
                                      .image = key->image,
                                      .ref = digest_text(&key->digest, text),
                                      .size = now->size,
                                      .media_type = now->media_type,
                                      .digest = &key->digest};
    int err;

    if (!now->there)
        return hide(a, INDEX_MANIFEST, key, text);
    if (hidden(a, place, &key->digest))
        return 0;
    err = a->show(a, &entry);
    return err == 0 && a->c->conf->repos[place].kind == CONF_PROXY ? named_told(a, key, value, len)
                                                                   : err;
}

static int tag_told(struct apply *a, size_t place, const struct meta_key *key,
                    const struct told *now)
{
    struct apply_entry entry = {.kind = INDEX_TAG,
                                .repo = key->repo,
                                .image = key->image,
                                .ref = key->tag,
                                .size = now->tag.size,
                                .media_type = now->tag.media_type,
                                .digest = &now->tag.digest};
    int err;

    if (!now->there)
        return hide(a, INDEX_TAG, key, key->tag);
    if (hidden(a, place, &now->tag.digest))
        return 0;
    err = a->show(a, &entry);
    if (err != 0 || a->c->conf->repos[place].kind != CONF_PROXY)
        return err;
    entry = (struct apply_entry){.kind = INDEX_CHECKED,
                                 .repo = key->repo,
                                 .image = key->image,
                                 .ref = key->tag,
                                 .size = now->tag.time};
    return a->show(a, &entry);
}

/* To the index. */
static int entry_told(struct apply *a, size_t place, const struct meta_key *key,
                      const struct told *now, const char *value, size_t len)
{
    switch (key->kind) {
    case META_TAG:
        return tag_told(a, place, key, now);
    case META_LINK:
        return link_told(a, place, key, now);
    case META_MANIFEST:
        return manifest_told(a, place, key, now, value, len);
    default: /* counted alone */
        return 0;
    }
}

/* Of an image: a repository that is not configured now keeps its records and is not served. */
static int of_image(struct apply *a, const struct meta_key *key, const struct told *was,
                    const struct told *now, const struct db_change *change)
{
    size_t place = 0;
    bool owned = catalog_repo(a->c, key->repo, &place) == 0;

    count(a, key, place, owned, was, now);
    return owned ? entry_told(a, place, key, now, change->now, change->now_len) : 0;
}

/* What was hidden, and is right again: as it is now. */
static int show_again(struct apply *a, struct meta_key key)
{
    struct str value = {0};
    struct told now;
    size_t place;
    int err = catalog_repo(a->c, key.repo, &place);

    if (err == 0)
        err = meta_get(a->db, key, &value);
    if (err == 0)
        err = told_get(&key, value.data, value.len, &now);
    if (err == 0)
        err = entry_told(a, place, &key, &now, value.data, value.len);
    str_free(&value);
    return err == ERR_NOT_FOUND || err == ERR_DAMAGED ? 0 : err;
}

/* Of a damaged manifest: its tags. */
static int tags_follow(struct apply *a, const struct meta_key *manifest, bool damaged)
{
    struct meta_walk *walk = meta_walk_new(
        a->db, meta_at(META_TAG_ON, manifest->repo, manifest->image, &manifest->digest), NULL);
    struct meta_key key;
    int err = 0, walk_err;

    while (err == 0 && meta_walk_next(walk, &key))
        err = damaged ? hide(a, INDEX_TAG, &key, key.tag)
                      : show_again(a, meta_tag(key.repo, key.image, key.tag));
    walk_err = meta_walk_end(&walk);
    return err != 0 ? err : walk_err;
}

static int holder_follows(struct apply *a, const struct meta_key *holder, bool damaged)
{
    bool manifest = holder->holds == META_MANIFEST;
    char text[DIGEST_TEXT_MAX];
    int err =
        damaged
            ? hide(a, manifest ? INDEX_MANIFEST : INDEX_BLOB, holder,
                   digest_text(&holder->digest, text))
            : show_again(a, meta_at(holder->holds, holder->repo, holder->image, &holder->digest));

    return err == 0 && manifest ? tags_follow(a, holder, damaged) : err;
}

/* A mark came or went: all who hold these bytes follow. */
static int damage_told(struct apply *a, const struct meta_key *key, bool damaged)
{
    struct meta_walk *walk;
    struct meta_key holder;
    int err = 0, walk_err;

    if (damaged && !a->hide)
        return 0;
    walk = meta_walk_new(a->db, meta_holders(key->store, &key->digest), NULL);
    while (err == 0 && meta_walk_next(walk, &holder))
        err = holder_follows(a, &holder, damaged);
    walk_err = meta_walk_end(&walk);
    return err != 0 ? err : walk_err;
}

static int of_store(struct apply *a, const struct meta_key *key, const struct told *was,
                    const struct told *now)
{
    const struct conf *conf = a->c->conf;
    int by = difference(was, now);

    for (size_t i = 0; i < conf->store_count; i++) {
        if (strcmp(conf->stores[i].key, key->store) != 0)
            continue;
        if (key->kind == META_BLOB) {
            a->store_bytes[i] += (int64_t)now->size - (int64_t)was->size;
            return 0;
        }
        a->damaged[i] += by;
        return by == 0 ? 0 : damage_told(a, key, by > 0);
    }
    return 0; /* not configured now */
}

int apply_record(struct apply *a, const struct meta_key *key, const struct db_change *change)
{
    struct told was, now;
    int err;

    if (told_get(key, change->was, change->was_len, &was) != 0)
        was = (struct told){0};
    err = told_get(key, change->now, change->now_len, &now);
    if (err != 0)
        return err;
    if (key->kind == META_DAMAGE || key->kind == META_BLOB)
        return of_store(a, key, &was, &now);
    return of_image(a, key, &was, &now, change);
}
