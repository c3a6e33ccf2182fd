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
#include "meta/keys.h"
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
    static const char letters[] = {'L', 'M', 'T'};
    uint64_t live = 0, bytes = 0;

    if (c->index.header)
        live = 2 * (atomic_load(&c->index.header->slots_used) -
                    atomic_load(&c->index.header->slots_dead));
    for (size_t i = 0; i < sizeof(letters); i++)
        bytes += kv_bytes(db_kv(c->db), letters[i], (char)(letters[i] + 1));
    if (live < bytes / ENTRY_BYTES)
        live = bytes / ENTRY_BYTES;
    return live + 2 * ENTRIES_MIN;
}

/* The end of a walk: what it could not read of a damaged database is left out. */
static int walk_end(const struct catalog *c, struct db_walk **walk)
{
    int err = db_walk_free(walk);

    return c->witnessed ? 0 : err;
}

static int count_damaged(struct catalog *c)
{
    struct db_walk *walk;

    memset(c->damaged_count, 0, sizeof(c->damaged_count));
    for (walk = db_walk_new(db_committed(c->db), "D", 1, NULL, 0); db_walk_valid(walk);
         db_walk_next(walk)) {
        struct key_reader key;
        size_t len;
        const char *data = db_walk_key(walk, &len), *store;

        key_reader_init(&key, data + 1, len - 1);
        store = key_get_str(&key);
        for (size_t i = 0; i < c->conf->store_count; i++)
            c->damaged_count[i] += strcmp(c->conf->stores[i].key, store) == 0;
    }
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
static int publish_unowned(struct catalog *c, char letter, const char *repo, const char *value,
                           size_t value_len)
{
    struct catalog_count *count = held_count(c->held, repo);
    struct record_blob blob = {0};
    const char *media_type;
    uint64_t size = 0;
    int err = 0;

    if (letter == 'L')
        err = record_blob_decode(value, value_len, &blob);
    else if (letter == 'M')
        err = record_manifest_peek(value, value_len, &size, &media_type);
    count->tags += letter == 'T';
    count->blobs += letter == 'L';
    count->manifests += letter == 'M';
    count->bytes += (int64_t)(letter == 'L' ? blob.size : size);
    return err;
}

/* One key of letter L, M or T into the map and the counts. */
static int publish_entry(struct catalog *c, struct index_writer *writer, char letter,
                         struct key_reader *key, const char *value, size_t value_len)
{
    const char *repo = key_get_str(key), *image = key_get_str(key), *tag, *media_type;
    char text[DIGEST_TEXT_MAX];
    struct record_blob blob;
    struct record_tag record;
    struct digest digest;
    uint64_t size;
    size_t place;
    int err;

    if (key->bad)
        return ERR_DAMAGED;
    if (catalog_repo(c, repo, &place) != 0)
        return publish_unowned(c, letter, repo, value, value_len);
    if (letter == 'T') {
        tag = key_get_str(key);
        if (key_end(key) != 0 || record_tag_decode(value, value_len, &record) != 0)
            return ERR_DAMAGED;
        c->counts[place].tags++;
        if (hidden(c, place, &record.digest))
            return 0;
        err = index_put(writer, INDEX_TAG, repo, image, tag, record.size, record.media_type,
                        &record.digest);
        if (err == 0 && c->conf->repos[place].kind == CONF_PROXY)
            err = index_put(writer, INDEX_CHECKED, repo, image, tag, record.time, NULL, NULL);
        return err;
    }
    key_get_digest(key, &digest);
    if (key_end(key) != 0)
        return ERR_DAMAGED;
    digest_text(&digest, text);
    if (letter == 'L') {
        err = record_blob_decode(value, value_len, &blob);
        if (err != 0)
            return err;
        c->counts[place].blobs++;
        c->counts[place].bytes += (int64_t)blob.size;
        if (hidden(c, place, &digest))
            return 0;
        return index_put(writer, INDEX_BLOB, repo, image, text, blob.size, NULL, NULL);
    }
    err = record_manifest_peek(value, value_len, &size, &media_type);
    if (err != 0)
        return err;
    c->counts[place].manifests++;
    c->counts[place].bytes += (int64_t)size;
    if (hidden(c, place, &digest))
        return 0;
    err = index_put(writer, INDEX_MANIFEST, repo, image, text, size, media_type, &digest);
    if (err == 0 && c->conf->repos[place].kind == CONF_PROXY)
        err = publish_named(writer, repo, image, value, value_len);
    return err;
}

/* Is a record of a damaged database an old one, which shows because the newer one cannot be read?
 * The journals know. */
static bool outdated(const struct catalog *c, const char *key, size_t key_len, const char *value,
                     size_t value_len)
{
    struct journal_line line;

    return c->witnessed && witness_line(key, key_len, value, value_len, &line) &&
           !witnessed_ok(c->witnessed, &line);
}

static int publish_letter(struct catalog *c, struct index_writer *writer, char letter)
{
    struct db_walk *walk;
    int err = 0, walk_err;
    uint64_t damaged = 0;

    for (walk = db_walk_new(db_committed(c->db), &letter, 1, NULL, 0);
         db_walk_valid(walk) && err == 0; db_walk_next(walk)) {
        struct key_reader key;
        size_t key_len, value_len;
        const char *data = db_walk_key(walk, &key_len);
        const char *value = db_walk_value(walk, &value_len);

        if (outdated(c, data, key_len, value, value_len))
            continue;
        key_reader_init(&key, data + 1, key_len - 1);
        err = publish_entry(c, writer, letter, &key, value, value_len);
        if (err == ERR_DAMAGED) {
            damaged++;
            err = 0;
        }
    }
    if (damaged > 0)
        log_error("damaged records in the database were left out", "kind=%c count=%llu", letter,
                  (unsigned long long)damaged);
    walk_err = walk_end(c, &walk);
    return err != 0 ? err : walk_err;
}

static int count_images(struct catalog *c)
{
    struct db_walk *walk;
    size_t place;

    for (walk = db_walk_new(db_committed(c->db), "I", 1, NULL, 0); db_walk_valid(walk);
         db_walk_next(walk)) {
        struct key_reader key;
        size_t len;
        const char *data = db_walk_key(walk, &len), *repo;

        key_reader_init(&key, data + 1, len - 1);
        repo = key_get_str(&key);
        if (catalog_repo(c, repo, &place) == 0)
            c->counts[place].images++;
        else if (!key.bad)
            held_count(c->held, repo)->images++;
    }
    return walk_end(c, &walk);
}

static int count_store_bytes(struct catalog *c)
{
    struct db_walk *walk;

    for (walk = db_walk_new(db_committed(c->db), "B", 1, NULL, 0); db_walk_valid(walk);
         db_walk_next(walk)) {
        struct record_blob blob;
        struct key_reader key;
        size_t key_len, value_len;
        const char *data = db_walk_key(walk, &key_len), *store;
        const char *value = db_walk_value(walk, &value_len);

        key_reader_init(&key, data + 1, key_len - 1);
        store = key_get_str(&key);
        if (record_blob_decode(value, value_len, &blob) != 0)
            continue;
        for (size_t i = 0; i < c->conf->store_count; i++)
            if (strcmp(c->conf->stores[i].key, store) == 0)
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
        err = publish_letter(c, writer, 'L');
    if (err == 0)
        err = publish_letter(c, writer, 'M');
    if (err == 0)
        err = publish_letter(c, writer, 'T');
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
