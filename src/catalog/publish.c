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

#include "base/container.h"
#include "base/fail.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "catalog/apply.h"
#include "catalog/held.h"
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

/* Into the map that is made. */
struct filling {
    struct apply apply;
    struct index_writer *writer;
};

static int show(struct apply *apply, const struct apply_entry *e)
{
    struct filling *f = CONTAINER_OF(apply, struct filling, apply);

    return index_put(f->writer, e->kind, e->repo, e->image, e->ref, e->size, e->media_type,
                     e->digest);
}

static struct catalog_count *count_unowned(struct apply *apply, const char *repo)
{
    return held_count(apply->c->held, repo);
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

static int publish_kind(struct filling *f, enum meta_kind kind)
{
    struct catalog *c = f->apply.c;
    struct meta_walk *walk = meta_walk_new(f->apply.db, (struct meta_key){.kind = kind}, NULL);
    struct meta_key key;
    int err = 0, walk_err;
    uint64_t damaged = 0;

    while (err == 0 && meta_walk_step(walk, &key)) {
        struct db_change record = {0};

        record.now = meta_walk_value(walk, &record.now_len);
        if (key.kind == META_NONE)
            err = ERR_DAMAGED;
        else if (!outdated(c, &key, record.now, record.now_len))
            err = apply_record(&f->apply, &key, &record);
        if (err == ERR_DAMAGED) {
            damaged++;
            err = 0;
        }
    }
    if (damaged > 0)
        log_error("damaged records in the database were left out", "kind=%c count=%llu", kind,
                  (unsigned long long)damaged);
    walk_err = meta_walk_end(&walk);
    /* What could not be read of a damaged database is left out. */
    return err != 0 || c->witnessed ? err : walk_err;
}

static int publish_fill(struct catalog *c, struct index_writer *writer)
{
    struct filling f = {.apply = {.c = c,
                                  .db = db_committed(c->db),
                                  .show = show,
                                  .count_unowned = count_unowned,
                                  .counts = c->counts},
                        .writer = writer};
    int err = 0;

    memset(c->counts, 0, c->conf->repo_count * sizeof(*c->counts));
    memset(c->damaged_count, 0, sizeof(c->damaged_count));
    held_count_begin(c->held);
    for (const enum meta_kind *kind = apply_kinds; err == 0 && *kind != META_NONE; kind++)
        err = publish_kind(&f, *kind);
    for (size_t i = 0; i < c->conf->store_count; i++) {
        c->store_bytes[i] = f.apply.store_bytes[i];
        c->damaged_count[i] = (uint64_t)f.apply.damaged[i];
    }
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
        atomic_store(&c->index.header->store_elsewhere[i], c->elsewhere[i]);
    }
}
