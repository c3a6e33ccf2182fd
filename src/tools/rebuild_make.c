/*
 * rebuild_make.c - the records of what is wanted and whose bytes are there.
 *
 * Runs in entrepotctl. A manifest is believed when its bytes have its digest; the blobs it names,
 * when there is a file of their size: fsck and the scrub read them. A crash leaves a part of a new
 * database in DATA_DIR/rebuild, which the next run removes.
 */
#include "tools/rebuild.h"

#include "base/mem.h"

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

/* The bytes, who holds them and the image. holds: META_LINK or META_MANIFEST. */
static void hold(struct rebuild *r, const struct place *p, const struct digest *digest,
                 uint64_t size, enum meta_kind holds, uint64_t time)
{
    meta_blob_put(r->made, meta_blob(store_key(r, p), digest), size, time);
    meta_put_key(r->made, meta_holder(store_key(r, p), digest, holds, p->repo, p->image));
    if (!meta_has(r->made, meta_image(p->repo, p->image))) {
        meta_blob_put(r->made, meta_image(p->repo, p->image), 0, time);
        r->counts.images++;
    }
}

static struct meta_key wanted_key(const struct rebuild *r, const struct place *p,
                                  const struct digest *digest)
{
    return rebuild_manifest_key(r, p->store, p->repo, p->image, digest);
}

static bool is_wanted(const struct rebuild *r, const struct place *p, const struct digest *digest)
{
    return meta_has(r->wanted, wanted_key(r, p, digest));
}

/* An entry of an index that is a manifest: where the journal lacks something it may have been one
 * of the image. True: it is no blob. */
static bool child(struct rebuild *r, const struct place *p, const struct manifest_ref *ref,
                  bool *more_r)
{
    struct rebuild_wanted w = {.by = REBUILD_BY_NAME, .media_type = ""};
    struct mem_arena *arena = mem_arena_new();
    struct rebuild_manifest m;
    const struct meta_key key = wanted_key(r, p, &ref->digest);
    bool is_manifest = is_wanted(r, p, &ref->digest);

    if (!is_manifest && rebuild_read(r, p->store, &ref->digest, "", arena, &m) == 0) {
        is_manifest = true;
        if (r->about[p->store].trust != REBUILD_JOURNAL) {
            rebuild_wanted_put(r, &key, &w);
            *more_r = true;
        }
    }
    mem_arena_free(&arena);
    return is_manifest;
}

static void link_blob(struct rebuild *r, const struct place *p, const struct digest *manifest,
                      const struct manifest_ref *ref, uint64_t time)
{
    const struct meta_key link = meta_at(META_LINK, p->repo, p->image, &ref->digest);
    char text[DIGEST_TEXT_MAX], of[DIGEST_TEXT_MAX];
    uint64_t size;

    if (meta_has(r->made, link))
        return;
    if (store_blob_size(r->stores[p->store], &ref->digest, &size) == 0 && size == ref->size) {
        meta_blob_put(r->made, link, size, time);
        hold(r, p, &ref->digest, size, META_LINK, time);
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
    for (size_t i = 0; i < m->contents.ref_count; i++) {
        const struct manifest_ref *ref = &m->contents.refs[i];

        if (ref->kind != MANIFEST_REF_CHILD)
            link_blob(r, p, digest, ref, m->time);
        else if (!child(r, p, ref, more_r) &&
                 store_blob_size(r->stores[p->store], &ref->digest, &(uint64_t){0}) == 0)
            link_blob(r, p, digest, ref, m->time);
    }
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
    char text[DIGEST_TEXT_MAX];
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
    meta_manifest_put(r->made, meta_at(META_MANIFEST, p->repo, p->image, digest), &record);
    hold(r, p, digest, m.size, META_MANIFEST, m.time);
    references(r, p, digest, &record, more_r);
    r->counts.manifests++;
    if (is_guess(r, p->store, w->by)) {
        r->counts.guessed++;
        rebuild_tell(r, "guess", "%s/%s@%s", p->repo, p->image, text);
    }
    mem_arena_free(&arena);
    return rebuild_write(r, r->made, false);
}

static struct place place_of(const struct rebuild *r, const struct meta_key *key)
{
    const struct conf_repo *repo = conf_repo_by_name(r->conf, key->repo, strlen(key->repo));

    return (struct place){.store = rebuild_store_of(r, key),
                          .repo = key->repo,
                          .image = key->image,
                          .proxy = repo && repo->kind == CONF_PROXY};
}

/* Those that are not made yet. *more_r: others have come to be wanted meanwhile. */
static int make_manifests(struct rebuild *r, bool *more_r)
{
    struct meta_walk *walk =
        meta_walk_new(r->wanted, (struct meta_key){.kind = META_WANTED_MANIFEST}, NULL);
    struct meta_key key;
    uint64_t lost;
    int err = 0, walk_err;

    *more_r = false;
    while (err == 0 && meta_walk_next(walk, &key)) {
        const struct place p = place_of(r, &key);
        size_t len;
        const char *value = meta_walk_value(walk, &len);
        struct rebuild_wanted w;

        err = rebuild_wanted_get(value, len, &w);
        if (err != 0)
            break;
        if (meta_has(r->made, meta_at(META_MANIFEST, p.repo, p.image, &key.digest)))
            continue;
        lost = r->counts.lost;
        err = make_manifest(r, &p, &key.digest, &w, more_r);
        if (r->counts.lost > lost) /* told once */
            meta_walk_delete(walk);
        if (err == 0)
            err = rebuild_write(r, r->wanted, false);
    }
    walk_err = meta_walk_end_whole(&walk);
    return err != 0 ? err : walk_err;
}

/* Its manifest, made just now if no line named that: the tag does. */
static int tagged(struct rebuild *r, const struct place *p, const struct digest *digest,
                  struct str *value)
{
    struct rebuild_wanted w = {.by = REBUILD_BY_NAME, .media_type = ""};
    uint64_t lost = r->counts.lost, size;
    bool more;
    const struct meta_key key = meta_at(META_MANIFEST, p->repo, p->image, digest);
    int err = meta_get(r->made, key, value);

    if (err != ERR_NOT_FOUND || is_wanted(r, p, digest) ||
        store_blob_size(r->stores[p->store], digest, &size) != 0)
        return err;
    err = make_manifest(r, p, digest, &w, &more);
    r->counts.lost = lost; /* the tag is what is lost */
    return err != 0 ? err : meta_get(r->made, key, value);
}

static int make_tag(struct rebuild *r, const struct place *p, const char *tag,
                    const struct rebuild_wanted *w)
{
    struct record_tag record = {.digest = w->digest, .time = w->time};
    struct str manifest = {0};
    char text[DIGEST_TEXT_MAX];
    int err = tagged(r, p, &w->digest, &manifest);

    if (err == 0)
        err = record_manifest_peek(manifest.data, manifest.len, &record.size, &record.media_type);
    if (err == 0) {
        meta_tag_put(r->made, meta_tag(p->repo, p->image, tag), &record, NULL);
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
    return err != 0 ? err : rebuild_write(r, r->made, false);
}

static int make_tags(struct rebuild *r)
{
    struct meta_walk *walk =
        meta_walk_new(r->wanted, (struct meta_key){.kind = META_WANTED_TAG}, NULL);
    struct meta_key key;
    int err = 0, walk_err;

    while (err == 0 && meta_walk_next(walk, &key)) {
        const struct place p = place_of(r, &key);
        size_t len;
        const char *value = meta_walk_value(walk, &len);
        struct rebuild_wanted w;

        err = rebuild_wanted_get(value, len, &w);
        if (err == 0)
            err = make_tag(r, &p, key.tag, &w);
    }
    walk_err = meta_walk_end_whole(&walk);
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

    if (found->size > UNNAMED_MAX ||
        meta_has(r->made, meta_blob(r->conf->stores[store].key, &found->digest)))
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
