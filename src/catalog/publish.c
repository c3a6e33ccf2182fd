/*
 * publish.c - the shared index made from the database.
 *
 * Runs in the catalog at its start and whenever the map is crowded. The order
 * is what makes it safe: the new map is complete, is kept by the master and lies
 * in every worker's socket before the old one is marked superseded; only then
 * are changes acknowledged that the old one does not show. A crash between any
 * two steps leaves the old map, still true.
 */
#include "catalog/catalog.h"

#include "base/fail.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "catalog/held.h"
#include "catalog/scrub.h"
#include "catalog/witnessed.h"
#include "ipc/msg_push.h"
#include "meta/records.h"
#include "meta/witness.h"

#include <string.h>

#define ENTRIES_MIN 4096
/* Bytes that an entry of the index takes in the database, at least: links are the most frequent
 * records, and hold a digest and little else. */
#define ENTRY_BYTES 50
/* A record is a header and a media type of some 60 bytes. */
#define ARENA_PER_ENTRY 192

/* How much room the first attempt makes. At a start only the database can tell: a guess
 * that is too low costs a second reading of everything. */
static uint64_t index_entries_hint(const struct catalog *c)
{
    static const enum meta_kind kinds[] = {META_LINK, META_MANIFEST, META_TAG};
    uint64_t live = 0, bytes = 0;

    if (c->index.header)
        live = 2 * (atomic_load(&c->index.header->slots_used) -
                    atomic_load(&c->index.header->slots_dead));
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        bytes += meta_bytes(c->db, kinds[i]);
    if (live < bytes / ENTRY_BYTES)
        live = bytes / ENTRY_BYTES;
    return live + 2 * ENTRIES_MIN;
}

/* A walk over all of a kind that is committed. */
static struct meta_walk *walk_begin(const struct catalog *c, enum meta_kind kind)
{
    return meta_walk_new(db_committed(c->db), (struct meta_key){.kind = kind}, NULL);
}

/* What is no key is left out; so is what could not be read of a damaged database. */
static int walk_end(const struct catalog *c, struct meta_walk **walk)
{
    int err = meta_walk_end(walk);

    return c->witnessed || err == ERR_DAMAGED ? 0 : err;
}

static int count_damaged(struct catalog *c)
{
    struct meta_walk *walk = walk_begin(c, META_DAMAGE);
    struct meta_key key;

    memset(c->damaged_count, 0, sizeof(c->damaged_count));
    while (meta_walk_next(walk, &key))
        for (size_t i = 0; i < c->conf->store_count; i++)
            c->damaged_count[i] += strcmp(c->conf->stores[i].key, key.store) == 0;
    return walk_end(c, &walk);
}

/* Damaged blobs are held by images and shown to nobody. */
static bool hidden(struct catalog *c, size_t repo_place, const struct digest *digest)
{
    return c->damaged_count[catalog_store_of(c, repo_place)] > 0 &&
           damage_known(c, c->conf->repos[repo_place].store->key, digest);
}

/* What a manifest of a proxy names, so that a cold blob is asked for where it is. */
static int publish_named(struct index_writer *writer, const char *repo, const char *image,
                         const char *value, size_t value_len)
{
    struct mem_arena *arena = mem_arena_new();
    struct record_manifest record;
    char text[DIGEST_TEXT_MAX];
    int err = record_manifest_decode(value, value_len, arena, &record);

    for (size_t i = 0; err == 0 && i < record.contents.ref_count; i++)
        err = index_put(writer, INDEX_NAMED, repo, image,
                        digest_text(&record.contents.refs[i].digest, text),
                        record.contents.refs[i].size, NULL, NULL);
    mem_arena_free(&arena);
    return err;
}

/* Not configured now: it keeps its records and is not served. */
static int publish_unowned(struct catalog *c, const struct meta_key *key, const char *value,
                           size_t value_len)
{
    struct catalog_count *count = held_count(c->held, key->repo);
    struct record_blob blob = {0};
    const char *media_type;
    uint64_t size = 0;
    int err = 0;

    if (key->kind == META_LINK)
        err = record_blob_decode(value, value_len, &blob);
    else if (key->kind == META_MANIFEST)
        err = record_manifest_peek(value, value_len, &size, &media_type);
    count->tags += key->kind == META_TAG;
    count->blobs += key->kind == META_LINK;
    count->manifests += key->kind == META_MANIFEST;
    count->bytes += (int64_t)(key->kind == META_LINK ? blob.size : size);
    return err;
}

static int publish_tag(struct catalog *c, struct index_writer *writer, size_t place,
                       const struct meta_key *key, const char *value, size_t value_len)
{
    struct record_tag record;
    int err = record_tag_decode(value, value_len, &record);

    if (err != 0)
        return err;
    c->counts[place].tags++;
    if (hidden(c, place, &record.digest))
        return 0;
    err = index_put(writer, INDEX_TAG, key->repo, key->image, key->tag, record.size,
                    record.media_type, &record.digest);
    if (err == 0 && c->conf->repos[place].kind == CONF_PROXY)
        err = index_put(writer, INDEX_CHECKED, key->repo, key->image, key->tag, record.time, NULL,
                        NULL);
    return err;
}

static int publish_link(struct catalog *c, struct index_writer *writer, size_t place,
                        const struct meta_key *key, const char *value, size_t value_len)
{
    char text[DIGEST_TEXT_MAX];
    struct record_blob blob;
    int err = record_blob_decode(value, value_len, &blob);

    if (err != 0)
        return err;
    c->counts[place].blobs++;
    c->counts[place].bytes += (int64_t)blob.size;
    return hidden(c, place, &key->digest)
               ? 0
               : index_put(writer, INDEX_BLOB, key->repo, key->image,
                           digest_text(&key->digest, text), blob.size, NULL, NULL);
}

static int publish_manifest(struct catalog *c, struct index_writer *writer, size_t place,
                            const struct meta_key *key, const char *value, size_t value_len)
{
    char text[DIGEST_TEXT_MAX];
    const char *media_type;
    uint64_t size;
    int err = record_manifest_peek(value, value_len, &size, &media_type);

    if (err != 0)
        return err;
    c->counts[place].manifests++;
    c->counts[place].bytes += (int64_t)size;
    if (hidden(c, place, &key->digest))
        return 0;
    err = index_put(writer, INDEX_MANIFEST, key->repo, key->image, digest_text(&key->digest, text),
                    size, media_type, &key->digest);
    if (err == 0 && c->conf->repos[place].kind == CONF_PROXY)
        err = publish_named(writer, key->repo, key->image, value, value_len);
    return err;
}

/* One record into the map and the counts. */
static int publish_entry(struct catalog *c, struct index_writer *writer, const struct meta_key *key,
                         const char *value, size_t value_len)
{
    size_t place;

    if (catalog_repo(c, key->repo, &place) != 0)
        return publish_unowned(c, key, value, value_len);
    if (key->kind == META_TAG)
        return publish_tag(c, writer, place, key, value, value_len);
    if (key->kind == META_LINK)
        return publish_link(c, writer, place, key, value, value_len);
    return publish_manifest(c, writer, place, key, value, value_len);
}

/* Is a record of a damaged database an old one, which shows because the newer one cannot be read?
 * The journals know. */
static bool outdated(const struct catalog *c, const struct meta_key *key, const char *value,
                     size_t value_len)
{
    struct journal_line line;

    return c->witnessed && witness_line(key, value, value_len, &line) &&
           !witnessed_ok(c->witnessed, &line);
}

static int publish_kind(struct catalog *c, struct index_writer *writer, enum meta_kind kind)
{
    struct meta_walk *walk = walk_begin(c, kind);
    struct meta_key key;
    int err = 0, walk_err;
    uint64_t damaged = 0;

    while (err == 0 && meta_walk_step(walk, &key)) {
        size_t value_len;
        const char *value = meta_walk_value(walk, &value_len);

        if (key.kind == META_NONE)
            err = ERR_DAMAGED;
        else if (!outdated(c, &key, value, value_len))
            err = publish_entry(c, writer, &key, value, value_len);
        if (err == ERR_DAMAGED) {
            damaged++;
            err = 0;
        }
    }
    if (damaged > 0)
        log_error("damaged records in the database were left out", "kind=%c count=%llu", kind,
                  (unsigned long long)damaged);
    walk_err = walk_end(c, &walk);
    return err != 0 ? err : walk_err;
}

static int count_images(struct catalog *c)
{
    struct meta_walk *walk = walk_begin(c, META_IMAGE);
    struct meta_key key;
    size_t place;

    while (meta_walk_next(walk, &key)) {
        if (catalog_repo(c, key.repo, &place) == 0)
            c->counts[place].images++;
        else
            held_count(c->held, key.repo)->images++;
    }
    return walk_end(c, &walk);
}

static int count_store_bytes(struct catalog *c)
{
    struct meta_walk *walk = walk_begin(c, META_BLOB);
    struct record_blob blob;
    struct meta_key key;

    while (meta_walk_next(walk, &key)) {
        size_t len;
        const char *value = meta_walk_value(walk, &len);

        if (record_blob_decode(value, len, &blob) != 0)
            continue;
        for (size_t i = 0; i < c->conf->store_count; i++)
            if (strcmp(c->conf->stores[i].key, key.store) == 0)
                c->store_bytes[i] += (int64_t)blob.size;
    }
    return walk_end(c, &walk);
}

static int publish_fill(struct catalog *c, struct index_writer *writer)
{
    int err;

    memset(c->counts, 0, c->conf->repo_count * sizeof(*c->counts));
    memset(c->store_bytes, 0, sizeof(c->store_bytes));
    held_count_begin(c->held);
    err = count_damaged(c);
    if (err == 0)
        err = publish_kind(c, writer, META_LINK);
    if (err == 0)
        err = publish_kind(c, writer, META_MANIFEST);
    if (err == 0)
        err = publish_kind(c, writer, META_TAG);
    if (err == 0)
        err = count_images(c);
    if (err == 0)
        err = count_store_bytes(c);
    return err;
}

static int publish_hand_round(struct catalog *c, const struct index_writer *writer)
{
    struct msg_writer w = {0};
    int err = role_keep_index(c->role, ROLE_INDEX_WRITABLE, writer->fd);

    if (err == 0)
        err = role_keep_index(c->role, ROLE_INDEX_READABLE, writer->read_fd);
    if (err != 0)
        return err;
    FAIL_POINT(catalog_index_kept);
    msg_begin(&w, MSG_INDEX_NEW, 0);
    serve_broadcast(c->serve, &w, writer->read_fd);
    FAIL_POINT(catalog_index_handed);
    return 0;
}

/* A new map with all in it. */
static int publish_make(struct catalog *c, struct index_writer *writer)
{
    uint64_t entries = index_entries_hint(c);

    for (;; entries *= 2) {
        int err =
            index_writer_new(c->index_generation + 1, entries, entries * ARENA_PER_ENTRY, writer);

        if (err != 0)
            return err;
        err = publish_fill(c, writer);
        if (err == 0 && index_writer_crowded(writer))
            err = ERR_NO_SPACE;
        if (err == 0)
            return 0;
        index_writer_close(writer);
        if (err != ERR_NO_SPACE)
            return err;
    }
}

int publish_rebuild(struct catalog *c, enum index_map_state state)
{
    struct index_writer writer;
    int err;

    if (state == INDEX_PARTIAL)
        c->witnessed = witnessed_new(c);
    err = publish_make(c, &writer);
    if (state == INDEX_PARTIAL)
        witnessed_free(&c->witnessed);
    if (err != 0)
        return err;
    index_writer_state(&writer, state);
    FAIL_POINT(catalog_index_filled);
    err = publish_hand_round(c, &writer);
    if (err != 0) {
        index_writer_close(&writer);
        return err;
    }
    c->index_generation++;
    if (c->index.header) {
        index_writer_state(&c->index, INDEX_SUPERSEDED);
        index_writer_close(&c->index);
    }
    c->index = writer;
    publish_stores(c);
    log_notice("index published", "generation=%llu entries=%llu slots=%llu",
               (unsigned long long)c->index_generation,
               (unsigned long long)atomic_load(&writer.header->slots_used),
               (unsigned long long)writer.header->slot_count);
    return 0;
}

void publish_stores(struct catalog *c)
{
    for (size_t i = 0; c->index.header && i < c->conf->store_count; i++) {
        atomic_store(&c->index.header->store_bytes[i], (uint64_t)c->store_bytes[i]);
        atomic_store(&c->index.header->upload_bytes[i], c->survey_bytes[i]);
        atomic_store(&c->index.header->store_elsewhere[i], c->elsewhere[i]);
    }
}
