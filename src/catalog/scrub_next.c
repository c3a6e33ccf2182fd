/*
 * scrub_next.c - which blob the scrub reads next.
 *
 * Runs in the catalog, outside turns. Reads the database and changes nothing.
 */
#include "catalog/scrub.h"

#include "meta/records.h"

#include <string.h>

/* A store that is there, by its name in keys. */
static bool store_place(const struct catalog *c, const char *key, size_t *place_r)
{
    for (size_t i = 0; i < c->conf->store_count; i++)
        if (strcmp(c->conf->stores[i].key, key) == 0 && store_is_open(c->stores[i])) {
            *place_r = i;
            return true;
        }
    return false;
}

/* The next of a kind that is of a store and a digest, and the size on record. */
static bool next_of(struct catalog *c, enum meta_kind kind, struct meta_place *cursor,
                    struct scrub_target *t_r)
{
    struct db *db = db_committed(c->db);
    struct meta_walk *walk = meta_walk_new(db, (struct meta_key){.kind = kind}, cursor);
    struct record_blob record = {0};
    struct meta_key key;
    bool found = false;

    while (!found && meta_walk_next(walk, &key)) {
        meta_walk_place(walk, cursor);
        found = store_place(c, key.store, &t_r->store) &&
                meta_blob_get(db, meta_blob(key.store, &key.digest), &record) == 0;
        t_r->digest = key.digest;
        t_r->size = record.size;
    }
    return meta_walk_end(&walk) == 0 && found;
}

bool scrub_next(struct catalog *c, struct meta_place *cursor, struct scrub_target *t_r)
{
    return next_of(c, META_BLOB, cursor, t_r);
}

bool scrub_next_mark(struct catalog *c, struct meta_place *mark, struct scrub_target *t_r)
{
    return next_of(c, META_DAMAGE, mark, t_r);
}
