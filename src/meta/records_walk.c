/*
 * records_walk.c - walks over records, and over what a batch changes of them.
 *
 * Runs in the catalog and in entrepotctl. Reads only, but for the deletes that collect in the
 * batch, which a crash leaves all of or nothing.
 */
#include "meta/records.h"

#include "base/mem.h"
#include "base/must.h"

#include <stdlib.h>
#include <string.h>

struct meta_walk {
    struct db *db;
    struct db_walk *walk;
    bool begun;     /* the walk below stands on the present record, not before the first */
    size_t damaged; /* that were met */
};

static bool is_key(const struct db_walk *walk, const struct meta_place *place)
{
    size_t len;
    const char *key = db_walk_key(walk, &len);

    return len == place->len && memcmp(key, place->data, len) == 0;
}

struct meta_walk *meta_walk_new(struct db *db, struct meta_key prefix,
                                const struct meta_place *after)
{
    struct meta_walk *walk = mem_alloc(sizeof(*walk));
    struct meta_place from;

    meta_place_of(&prefix, &from);
    if (after && (after->len < from.len || memcmp(after->data, from.data, from.len) != 0))
        after = NULL; /* another walk's, or a damaged note of one */
    walk->db = db;
    walk->walk =
        db_walk_new(db, from.data, from.len, after ? after->data : NULL, after ? after->len : 0);
    if (after && db_walk_valid(walk->walk) && is_key(walk->walk, after))
        db_walk_next(walk->walk);
    return walk;
}

bool meta_walk_step(struct meta_walk *walk, struct meta_key *key_r)
{
    const char *key;
    size_t len;

    if (walk->begun && db_walk_valid(walk->walk))
        db_walk_next(walk->walk);
    walk->begun = true;
    if (!db_walk_valid(walk->walk))
        return false;
    key = db_walk_key(walk->walk, &len);
    if (len > META_PLACE_MAX || !meta_key_read(key, len, key_r)) {
        key_r->kind = META_NONE;
        walk->damaged++;
    }
    return true;
}

bool meta_walk_next(struct meta_walk *walk, struct meta_key *key_r)
{
    while (meta_walk_step(walk, key_r))
        if (key_r->kind != META_NONE)
            return true;
    return false;
}

const char *meta_walk_value(const struct meta_walk *walk, size_t *len_r)
{
    const char *value = db_walk_value(walk->walk, len_r);

    return value ? value : "";
}

size_t meta_walk_size(const struct meta_walk *walk)
{
    size_t key_len, value_len;

    db_walk_key(walk->walk, &key_len);
    db_walk_value(walk->walk, &value_len);
    return key_len + value_len;
}

void meta_walk_place(const struct meta_walk *walk, struct meta_place *place_r)
{
    const char *key = db_walk_key(walk->walk, &place_r->len);

    MUST(place_r->len <= sizeof(place_r->data));
    memcpy(place_r->data, key, place_r->len);
}

void meta_walk_delete(struct meta_walk *walk)
{
    size_t len;
    const char *key = db_walk_key(walk->walk, &len);

    db_delete(walk->db, key, len);
}

int meta_walk_end(struct meta_walk **walk_p)
{
    struct meta_walk *walk = *walk_p;
    int err = db_walk_free(&walk->walk);

    *walk_p = NULL;
    free(walk);
    return err;
}

int meta_walk_end_whole(struct meta_walk **walk)
{
    bool whole = (*walk)->damaged == 0;
    int err = meta_walk_end(walk);

    return err == 0 && !whole ? ERR_DAMAGED : err;
}

struct each {
    void (*call)(void *ctx, const struct meta_key *key, const struct db_change *change);
    void *ctx;
};

static void each_change(void *ctx, const char *data, size_t len, const struct db_change *change)
{
    const struct each *each = ctx;
    struct meta_key key;

    if (meta_key_read(data, len, &key))
        each->call(each->ctx, &key, change);
}

size_t meta_batch_since(struct db *db, enum meta_kind kind, size_t from,
                        void (*each)(void *ctx, const struct meta_key *key,
                                     const struct db_change *change),
                        void *ctx)
{
    struct each call = {each, ctx};

    return db_batch_since(db, (char)kind, from, each_change, &call);
}
