/*
 * scrub_next.c - which blob the scrub reads next.
 *
 * Runs in the catalog, outside turns. Reads the database and changes nothing.
 */
#include "catalog/scrub.h"

#include "meta/keys.h"
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

/* What stands behind the letter of keys B and D, and the size that is on record. */
static bool target_of(const struct catalog *c, const struct key *key, const char *value,
                      size_t value_len, struct scrub_target *t_r)
{
    struct record_blob record;
    struct key_reader r;
    const char *store;

    key_reader_init(&r, key->data + 1, key->len - 1);
    store = key_get_str(&r);
    key_get_digest(&r, &t_r->digest);
    if (key_end(&r) != 0 || record_blob_decode(value, value_len, &record) != 0)
        return false;
    t_r->size = record.size;
    return store_place(c, store, &t_r->store);
}

bool scrub_next(struct catalog *c, struct key *cursor, struct scrub_target *t_r)
{
    struct db_walk *walk = db_walk_new(db_committed(c->db), "B", 1,
                                       cursor->len > 0 ? cursor->data : NULL, cursor->len);
    bool found = false;

    for (; db_walk_valid(walk) && !found; db_walk_next(walk)) {
        size_t len, value_len;
        const char *key = db_walk_key(walk, &len);
        const char *value = db_walk_value(walk, &value_len);

        if (len == cursor->len && memcmp(key, cursor->data, len) == 0)
            continue;
        memcpy(cursor->data, key, len);
        cursor->len = len;
        found = target_of(c, cursor, value, value_len, t_r);
    }
    return db_walk_free(&walk) == 0 && found;
}

bool scrub_next_mark(struct catalog *c, struct key *mark, struct scrub_target *t_r)
{
    struct str value = {0};
    bool found = false;

    while (!found && damage_next(db_committed(c->db), mark)) {
        struct key blob = *mark;

        blob.data[0] = 'B'; /* the same fields */
        found = db_get(db_committed(c->db), blob.data, blob.len, &value) == 0 &&
                target_of(c, mark, value.data, value.len, t_r);
    }
    str_free(&value);
    return found;
}
