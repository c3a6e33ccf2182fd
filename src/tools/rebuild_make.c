/*
 * rebuild_make.c - the records of what is wanted and whose bytes are there.
 *
 * Runs in entrepotctl. A manifest is believed when its bytes have its digest; the blobs it names,
 * when there is a file of their size: fsck and the scrub read them. A crash leaves a part of a new
 * database in DATA_DIR/rebuild, which the next run removes.
 */
#include "tools/rebuild.h"

#include "base/mem.h"
#include "meta/keys.h"
#include "meta/records.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FOUND_MAX 65536
/* Of a file that nobody names: larger ones are layers. */
#define UNNAMED_MAX (4u << 20)

/* An image, and the store that has its bytes. */
struct place {
    const char *repo, *image;
    size_t store;
    bool proxy; /* blobs that are not here are fetched */
};

static const char *store_key(const struct rebuild *r, const struct place *p)
{
    return r->conf->stores[p->store].key;
}

static void put_empty(struct rebuild *r, const struct key *k)
{
    db_put(r->made, k->data, k->len, "", 0);
}

static bool has(struct db *db, const struct key *k)
{
    return db_get(db, k->data, k->len, NULL) == 0;
}

static void put_blob_record(struct rebuild *r, const struct key *k, uint64_t size, uint64_t time)
{
    struct record_blob record = {.size = size, .time = time};
    struct str value = {0};

    record_blob_encode(&value, &record);
    db_put(r->made, k->data, k->len, value.data, value.len);
    str_free(&value);
}

/* B, U and I of what an image holds. kind: 'L' or 'M'. */
static void hold(struct rebuild *r, const struct place *p, const struct digest *digest,
                 uint64_t size, char kind, uint64_t time)
{
    struct key k;

    key_blob(&k, store_key(r, p), digest);
    put_blob_record(r, &k, size, time);
    key_holder(&k, store_key(r, p), digest, kind, p->repo, p->image);
    put_empty(r, &k);
    key_image(&k, 'I', p->repo, p->image);
    if (!has(r->made, &k)) {
        put_blob_record(r, &k, 0, time);
        r->counts.images++;
    }
}

static bool is_wanted(struct rebuild *r, const struct place *p, const struct digest *digest)
{
    struct key k;

    rebuild_key(&k, 'M', p->store, p->repo, p->image);
    key_digest(&k, digest);
    return has(r->wanted, &k);
}

/* An entry of an index that is a manifest: where the journal lacks something it may have been one
 * of the image. True: it is no blob. */
static bool child(struct rebuild *r, const struct place *p, const struct manifest_ref *ref,
                  bool *more_r)
{
    struct rebuild_wanted w = {.by = REBUILD_BY_NAME, .media_type = ""};
    struct mem_arena *arena = mem_arena_new();
    struct rebuild_manifest m;
    struct key k;
    bool is_manifest = is_wanted(r, p, &ref->digest);

    if (!is_manifest && rebuild_read(r, p->store, &ref->digest, "", arena, &m) == 0) {
        is_manifest = true;
        if (r->about[p->store].trust != REBUILD_JOURNAL) {
            rebuild_key(&k, 'M', p->store, p->repo, p->image);
            key_digest(&k, &ref->digest);
            rebuild_wanted_put(r, &k, &w);
            *more_r = true;
        }
    }
    mem_arena_free(&arena);
    return is_manifest;
}

static void link_blob(struct rebuild *r, const struct place *p, const struct digest *manifest,
                      const struct manifest_ref *ref, uint64_t time)
{
    char text[DIGEST_TEXT_MAX], of[DIGEST_TEXT_MAX];
    uint64_t size;
    struct key k;

    key_image(&k, 'L', p->repo, p->image);
    key_digest(&k, &ref->digest);
    if (has(r->made, &k))
        return;
    if (store_blob_size(r->stores[p->store], &ref->digest, &size) == 0 && size == ref->size) {
        put_blob_record(r, &k, size, time);
        hold(r, p, &ref->digest, size, 'L', time);
        r->counts.blobs++;
    } else if (!p->proxy && !ref->exempt) {
        r->counts.missing++;
        rebuild_tell(r, "missing", "%s/%s: %s, which %s names, is not there or has another size",
                     p->repo, p->image, digest_text(&ref->digest, text), digest_text(manifest, of));
    }
}

static void references(struct rebuild *r, const struct place *p, const struct digest *digest,
                       const struct record_manifest *m, bool *more_r)
{
    struct str note = {0};
    struct key k;

    record_parent_encode(&note, m->contents.is_index);
    for (size_t i = 0; i < m->contents.ref_count; i++) {
        const struct manifest_ref *ref = &m->contents.refs[i];

        key_image(&k, 'K', p->repo, p->image);
        key_digest(&k, &ref->digest);
        key_digest(&k, digest);
        db_put(r->made, k.data, k.len, note.data, note.len);
        if (ref->kind != MANIFEST_REF_CHILD)
            link_blob(r, p, digest, ref, m->time);
        else if (!child(r, p, ref, more_r) &&
                 store_blob_size(r->stores[p->store], &ref->digest, &(uint64_t){0}) == 0)
            link_blob(r, p, digest, ref, m->time);
    }
    if (m->contents.subject.alg != 0) {
        key_image(&k, 'R', p->repo, p->image);
        key_digest(&k, &m->contents.subject);
        key_digest(&k, digest);
        record_referrer_encode(&note, m);
        db_put(r->made, k.data, k.len, note.data, note.len);
    }
    str_free(&note);
}

static bool is_guess(const struct rebuild *r, size_t store, uint8_t by)
{
    return r->about[store].trust != REBUILD_JOURNAL &&
           (by & (REBUILD_BY_JOURNAL | REBUILD_BY_DATABASE)) !=
               (REBUILD_BY_JOURNAL | REBUILD_BY_DATABASE);
}

/* 0 also when it is lost, which is told. */
static int make_manifest(struct rebuild *r, const struct place *p, const struct digest *digest,
                         const struct rebuild_wanted *w, bool *more_r)
{
    struct mem_arena *arena = mem_arena_new();
    struct record_manifest record;
    struct rebuild_manifest m;
    struct str value = {0};
    char text[DIGEST_TEXT_MAX];
    struct key k;
    int err;

    digest_text(digest, text);
    err = rebuild_read(r, p->store, digest, w->media_type, arena, &m);
    if (err != 0) {
        r->counts.lost++;
        rebuild_tell(r, "lost", "%s/%s@%s: its file is %s", p->repo, p->image, text,
                     err == ERR_NOT_FOUND ? "not there"
                     : err == ERR_DAMAGED ? "damaged"
                                          : "not to be read");
        mem_arena_free(&arena);
        return 0;
    }
    record = (struct record_manifest){.size = m.size, .time = m.time, .contents = m.contents};
    record_manifest_encode(&value, &record);
    key_image(&k, 'M', p->repo, p->image);
    key_digest(&k, digest);
    db_put(r->made, k.data, k.len, value.data, value.len);
    hold(r, p, digest, m.size, 'M', m.time);
    references(r, p, digest, &record, more_r);
    r->counts.manifests++;
    if (is_guess(r, p->store, w->by)) {
        r->counts.guessed++;
        rebuild_tell(r, "guess", "%s/%s@%s", p->repo, p->image, text);
    }
    str_free(&value);
    mem_arena_free(&arena);
    return rebuild_write(r, r->made, false);
}

static void place_of(const struct rebuild *r, struct key_reader *key, struct place *p)
{
    const struct conf_repo *repo;

    p->store = (uint8_t)key_get_char(key);
    p->repo = key_get_str(key);
    p->image = key_get_str(key);
    repo = conf_repo_by_name(r->conf, p->repo, strlen(p->repo));
    p->proxy = repo && repo->kind == CONF_PROXY;
}

/* Those that are not made yet. *more_r: others have come to be wanted meanwhile. */
static int make_manifests(struct rebuild *r, bool *more_r)
{
    struct db_walk *walk = db_walk_new(r->wanted, "M", 1, NULL, 0);
    uint64_t lost;
    int err = 0, walk_err;

    *more_r = false;
    for (; db_walk_valid(walk) && err == 0; db_walk_next(walk)) {
        size_t len, value_len;
        const char *data = db_walk_key(walk, &len), *value = db_walk_value(walk, &value_len);
        struct rebuild_wanted w;
        struct key_reader key;
        struct digest digest;
        struct place p;
        struct key k;

        key_reader_init(&key, data + 1, len - 1);
        place_of(r, &key, &p);
        key_get_digest(&key, &digest);
        err = key_end(&key);
        if (err == 0)
            err = rebuild_wanted_get(value, value_len, &w);
        if (err != 0)
            break;
        key_image(&k, 'M', p.repo, p.image);
        key_digest(&k, &digest);
        if (has(r->made, &k))
            continue;
        lost = r->counts.lost;
        err = make_manifest(r, &p, &digest, &w, more_r);
        if (r->counts.lost > lost) /* told once */
            db_delete(r->wanted, data, len);
        if (err == 0)
            err = rebuild_write(r, r->wanted, false);
    }
    walk_err = db_walk_free(&walk);
    return err != 0 ? err : walk_err;
}

/* Its manifest, made just now if no line named that: the tag does. */
static int tagged(struct rebuild *r, const struct place *p, const struct digest *digest,
                  struct str *value)
{
    struct rebuild_wanted w = {.by = REBUILD_BY_NAME, .media_type = ""};
    uint64_t lost = r->counts.lost, size;
    bool more;
    struct key k;
    int err;

    key_image(&k, 'M', p->repo, p->image);
    key_digest(&k, digest);
    err = db_get(r->made, k.data, k.len, value);
    if (err != ERR_NOT_FOUND || is_wanted(r, p, digest) ||
        store_blob_size(r->stores[p->store], digest, &size) != 0)
        return err;
    err = make_manifest(r, p, digest, &w, &more);
    r->counts.lost = lost; /* the tag is what is lost */
    return err != 0 ? err : db_get(r->made, k.data, k.len, value);
}

static int make_tag(struct rebuild *r, const struct place *p, const char *tag,
                    const struct rebuild_wanted *w)
{
    struct record_tag record = {.digest = w->digest, .time = w->time};
    struct str manifest = {0}, value = {0};
    char text[DIGEST_TEXT_MAX];
    struct key k;
    int err = tagged(r, p, &w->digest, &manifest);

    if (err == 0)
        err = record_manifest_peek(manifest.data, manifest.len, &record.size, &record.media_type);
    if (err == 0) {
        record_tag_encode(&value, &record);
        key_image(&k, 'T', p->repo, p->image);
        key_str(&k, tag);
        db_put(r->made, k.data, k.len, value.data, value.len);
        key_image(&k, 'G', p->repo, p->image);
        key_digest(&k, &w->digest);
        key_str(&k, tag);
        put_empty(r, &k);
        r->counts.tags++;
        if (is_guess(r, p->store, w->by)) {
            r->counts.guessed++;
            rebuild_tell(r, "guess", "%s/%s:%s", p->repo, p->image, tag);
        }
    } else if (err == ERR_NOT_FOUND) {
        r->counts.lost++;
        rebuild_tell(r, "lost", "%s/%s:%s: the manifest it points to is not there: %s", p->repo,
                     p->image, tag, digest_text(&w->digest, text));
        err = 0;
    }
    str_free(&manifest);
    str_free(&value);
    return err != 0 ? err : rebuild_write(r, r->made, false);
}

static int make_tags(struct rebuild *r)
{
    struct db_walk *walk = db_walk_new(r->wanted, "T", 1, NULL, 0);
    int err = 0, walk_err;

    for (; db_walk_valid(walk) && err == 0; db_walk_next(walk)) {
        size_t len, value_len;
        const char *data = db_walk_key(walk, &len), *value = db_walk_value(walk, &value_len);
        struct rebuild_wanted w;
        struct key_reader key;
        const char *tag;
        struct place p;

        key_reader_init(&key, data + 1, len - 1);
        place_of(r, &key, &p);
        tag = key_get_str(&key);
        err = key_end(&key);
        if (err == 0)
            err = rebuild_wanted_get(value, value_len, &w);
        if (err == 0)
            err = make_tag(r, &p, tag, &w);
    }
    walk_err = db_walk_free(&walk);
    return err != 0 ? err : walk_err;
}

int rebuild_make(struct rebuild *r)
{
    bool more = true;
    int err = 0;

    while (err == 0 && more) {
        err = make_manifests(r, &more);
        if (err == 0)
            err = rebuild_write(r, r->wanted, true);
        if (err == 0)
            err = rebuild_write(r, r->made, true);
    }
    if (err == 0)
        err = make_tags(r);
    return err != 0 ? err : rebuild_write(r, r->made, true);
}

static void look_unnamed(struct rebuild *r, size_t store, const struct store_found *found)
{
    struct mem_arena *arena;
    struct rebuild_manifest m;
    char text[DIGEST_TEXT_MAX];
    struct key k;

    key_blob(&k, r->conf->stores[store].key, &found->digest);
    if (found->size > UNNAMED_MAX || has(r->made, &k))
        return;
    arena = mem_arena_new();
    if (rebuild_read(r, store, &found->digest, "", arena, &m) == 0) {
        r->counts.unnamed++;
        r->counts.doubtful += r->about[store].trust != REBUILD_JOURNAL;
        rebuild_tell(r, "unnamed", "%s in %s: %s", digest_text(&found->digest, text),
                     r->conf->stores[store].name, m.contents.media_type);
    }
    mem_arena_free(&arena);
}

static int look_through(struct rebuild *r, size_t store)
{
    struct store_cursor cursor = {0};
    struct store_found *found = mem_alloc_array(FOUND_MAX, sizeof(*found));
    int err = 0;

    while (err == 0 && !cursor.end) {
        size_t count = 0;

        err = store_blobs_list(r->stores[store], &cursor, 0, found, FOUND_MAX, &count);
        for (size_t i = 0; i < count && err == 0; i++)
            look_unnamed(r, store, &found[i]);
    }
    free(found);
    return err;
}

int rebuild_unnamed(struct rebuild *r)
{
    int err = 0;

    for (size_t i = 0; i < r->conf->store_count && err == 0; i++)
        err = look_through(r, i);
    return err;
}
