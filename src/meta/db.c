/*
 * db.c - a batch of changes over an engine.
 *
 * Runs in the catalog and in entrepotctl. Owns the engine and the batch, which is memory only: a
 * crash before or in its writing leaves all of it or nothing.
 *
 * A change is an entry that never changes again; a later one of the same key comes after it. Most
 * are never looked for (one manifest has thousands of back-references), so they are only kept in a
 * row, by the first byte of their keys, and what finds one again is made when somebody looks: a
 * hash for gets, an order for walks.
 */
#include "meta/db.h"

#include "base/mem.h"
#include "base/must.h"
#include "base/siphash.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* Keys are made of names that strangers choose. */
static uint8_t hash_seed[16];
static unsigned key_hash(const void *key, size_t len)
{
    uint64_t out[2];

    siphash_128(hash_seed, key, len, out);
    return (unsigned)out[0];
}
#define HASH_FUNCTION(key, len, hashv) ((hashv) = key_hash((key), (len)))
#include <uthash.h>

#define ROWS 256

struct entry {
    struct kv_change change;
    size_t number;        /* how many came before it */
    struct entry *before; /* of the same key, once it is in the hash */
    UT_hash_handle hh;
};

/* Entries of one first byte. */
struct row {
    struct entry **made;    /* as they came */
    struct entry **ordered; /* by key; of each key the last one */
    size_t count, ordered_count;
    size_t hashed, sorted; /* how many of `made` are in the hash, in the order */
    struct entry *hash;
};

struct db {
    struct kv *kv;
    struct db *committed; /* NULL: this is one */
    struct mem_arena *arena;
    struct row rows[ROWS];
    const struct kv_change **changes; /* all, as they came */
    size_t count, bytes;              /* of them; of their keys and values */
    size_t walks;                     /* that point to entries */
    bool sealed;                      /* they are being written */
    bool read_failed;
};

struct db_walk {
    struct db *db;
    struct kv_walk *kv;
    struct entry **entries; /* those of the batch that are left */
    size_t count, at;
    struct entry *present; /* of the batch, not of the engine */
    size_t prefix_len;
    char prefix[];
};

struct db *db_new(struct kv *kv)
{
    struct db *db = mem_alloc(sizeof(*db));

    MUST(getrandom(hash_seed, sizeof(hash_seed), 0) == sizeof(hash_seed));
    db->kv = kv;
    db->arena = mem_arena_new();
    db->committed = mem_alloc(sizeof(*db->committed));
    db->committed->kv = kv;
    return db;
}

int db_open(const char *path, enum kv_how how, struct db **db_r)
{
    struct kv *kv;
    int err = kv_leveldb_open(path, how, &kv);

    if (err == 0)
        *db_r = db_new(kv);
    return err;
}

struct kv *db_kv(struct db *db)
{
    return db->kv;
}

struct db *db_committed(struct db *db)
{
    return db->committed;
}

static void batch_clear(struct db *db)
{
    MUST(db->walks == 0);
    for (size_t i = 0; i < ROWS && db->count > 0; i++) {
        struct row *row = &db->rows[i];

        HASH_CLEAR(hh, row->hash);
        free(row->made);
        free(row->ordered);
        *row = (struct row){0};
    }
    free(db->changes);
    db->changes = NULL;
    db->count = db->bytes = 0;
    db->sealed = db->read_failed = false;
    mem_arena_reset(db->arena);
}

void db_close(struct db **db_p)
{
    struct db *db = *db_p;

    if (!db)
        return;
    *db_p = NULL;
    batch_clear(db);
    mem_arena_free(&db->arena);
    kv_close(&db->kv);
    free(db->committed);
    free(db);
}

static struct row *row_of(struct db *db, const void *key, size_t key_len)
{
    MUST(key_len > 0);
    return &db->rows[*(const uint8_t *)key];
}

static void row_hash(struct row *row)
{
    for (; row->hashed < row->count; row->hashed++) {
        struct entry *e = row->made[row->hashed];

        HASH_REPLACE(hh, row->hash, change.key[0], e->change.key_len, e, e->before);
    }
}

static struct entry *entry_find(struct row *row, const void *key, size_t key_len)
{
    struct entry *e;

    row_hash(row);
    HASH_FIND(hh, row->hash, key, key_len, e);
    return e;
}

int db_get(struct db *db, const void *key, size_t key_len, struct str *value_r)
{
    struct entry *e = db->count > 0 ? entry_find(row_of(db, key, key_len), key, key_len) : NULL;
    int err;

    if (value_r)
        str_reset(value_r);
    if (e) {
        if (!e->change.value)
            return ERR_NOT_FOUND;
        if (value_r)
            str_append(value_r, e->change.value, e->change.value_len);
        return 0;
    }
    err = kv_get(db->kv, key, key_len, value_r);
    if (err != 0 && err != ERR_NOT_FOUND)
        db->read_failed = true;
    return err;
}

static void entry_add(struct db *db, const void *key, size_t key_len, const void *value,
                      size_t value_len)
{
    struct row *row = row_of(db, key, key_len);
    struct entry *e = mem_arena_alloc(db->arena, sizeof(*e) + key_len + value_len + 1);
    char *bytes = (char *)(e + 1);

    MUST(db->committed && !db->sealed);
    memcpy(bytes, key, key_len);
    e->number = db->count;
    e->change = (struct kv_change){.key = bytes, .key_len = key_len, .value_len = value_len};
    if (value) {
        e->change.value = bytes + key_len;
        memcpy(bytes + key_len, value, value_len);
    }
    row->made = mem_room(row->made, row->count, sizeof(*row->made));
    row->made[row->count++] = e;
    db->changes = mem_room(db->changes, db->count, sizeof(*db->changes));
    db->changes[db->count++] = &e->change;
    db->bytes += key_len + value_len;
}

void db_put(struct db *db, const void *key, size_t key_len, const void *value, size_t value_len)
{
    entry_add(db, key, key_len, value_len > 0 ? value : "", value_len);
}

void db_delete(struct db *db, const void *key, size_t key_len)
{
    entry_add(db, key, key_len, NULL, 0);
}

bool db_batch_empty(const struct db *db)
{
    return db->count == 0;
}

size_t db_batch_bytes(const struct db *db)
{
    return db->bytes;
}

static int key_compare(const char *a, size_t a_len, const char *b, size_t b_len)
{
    int order = memcmp(a, b, a_len < b_len ? a_len : b_len);

    return order != 0 ? order : (a_len > b_len) - (a_len < b_len);
}

/* By key, then as they came. */
static int entry_compare(const void *a, const void *b)
{
    const struct entry *one = *(struct entry *const *)a, *other = *(struct entry *const *)b;
    int order =
        key_compare(one->change.key, one->change.key_len, other->change.key, other->change.key_len);

    return order != 0 ? order : (one->number > other->number) - (one->number < other->number);
}

/* Merges two rows in order; of a key only the last entry stays. */
static size_t merge(struct entry **a, size_t a_count, struct entry **b, size_t b_count,
                    struct entry **out)
{
    size_t count = 0;

    for (size_t i = 0, j = 0; i < a_count || j < b_count;) {
        struct entry *next;

        if (j == b_count || (i < a_count && entry_compare(&a[i], &b[j]) < 0))
            next = a[i++];
        else
            next = b[j++];
        if (count > 0 && key_compare(out[count - 1]->change.key, out[count - 1]->change.key_len,
                                     next->change.key, next->change.key_len) == 0)
            out[count - 1] = next;
        else
            out[count++] = next;
    }
    return count;
}

/* What came since the last time is put in its place. */
static void row_order(struct row *row)
{
    size_t fresh = row->count - row->sorted;
    struct entry **some, **all;

    if (fresh == 0)
        return;
    some = mem_alloc_array(fresh, sizeof(*some));
    all = mem_alloc_array(row->ordered_count + fresh, sizeof(*all));
    memcpy(some, row->made + row->sorted, fresh * sizeof(*some));
    qsort(some, fresh, sizeof(*some), entry_compare);
    row->ordered_count = merge(row->ordered, row->ordered_count, some, fresh, all);
    free(some);
    free(row->ordered);
    row->ordered = all;
    row->sorted = row->count;
}

/* What was there before an entry: an earlier one, or what is committed. `value` keeps that. */
static struct db_change change_of(struct db *db, const struct entry *e, struct str *value)
{
    struct db_change change = {.now = e->change.value, .now_len = e->change.value_len};
    int err;

    if (e->before) {
        change.was = e->before->change.value;
        change.was_len = e->before->change.value_len;
        return change;
    }
    str_reset(value);
    err = kv_get(db->kv, e->change.key, e->change.key_len, value);
    if (err == 0) {
        change.was = value->len > 0 ? value->data : "";
        change.was_len = value->len;
    }
    db->read_failed = db->read_failed || (err != 0 && err != ERR_NOT_FOUND);
    return change;
}

size_t db_batch_since(struct db *db, char first, size_t from,
                      void (*each)(void *ctx, const char *key, size_t key_len,
                                   const struct db_change *change),
                      void *ctx)
{
    struct row *row = row_of(db, &first, 1);
    struct str value = {0};

    row_hash(row);
    for (; from < row->count; from++) {
        const struct entry *e = row->made[from];
        const struct db_change change = change_of(db, e, &value);

        each(ctx, e->change.key, e->change.key_len, &change);
    }
    str_free(&value);
    return from;
}

bool db_read_failed(const struct db *db)
{
    return db->read_failed;
}

void db_batch_discard(struct db *db)
{
    MUST(!db->sealed);
    batch_clear(db);
}

void db_batch_seal(struct db *db)
{
    db->sealed = true;
}

int db_batch_write(struct db *db)
{
    MUST(db->sealed);
    return kv_write(db->kv, db->changes, db->count);
}

void db_batch_done(struct db *db)
{
    MUST(db->sealed);
    batch_clear(db);
}

int db_batch_commit(struct db *db)
{
    int err;

    db_batch_seal(db);
    err = db_batch_write(db);
    db_batch_done(db);
    return err;
}

/* The place of the first entry at or behind a key. */
static size_t entry_at(const struct row *row, const void *key, size_t key_len)
{
    size_t low = 0, high = row->ordered_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct kv_change *change = &row->ordered[middle]->change;

        if (key_compare(change->key, change->key_len, key, key_len) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool within(const struct db_walk *walk, const char *key, size_t key_len)
{
    return key_len >= walk->prefix_len && memcmp(key, walk->prefix, walk->prefix_len) == 0;
}

/* Those of the batch that the walk will meet. */
static void entries_take(struct db_walk *walk, struct row *row, const void *start, size_t start_len)
{
    size_t first, last;

    row_order(row);
    first = last = entry_at(row, start, start_len);
    while (last < row->ordered_count &&
           within(walk, row->ordered[last]->change.key, row->ordered[last]->change.key_len))
        last++;
    walk->count = last - first;
    if (walk->count == 0)
        return;
    walk->entries = mem_alloc_array(walk->count, sizeof(*walk->entries));
    memcpy(walk->entries, row->ordered + first, walk->count * sizeof(*walk->entries));
    walk->db->walks++;
}

static bool kv_within(const struct db_walk *walk)
{
    size_t len;
    const char *key;

    if (!kv_walk_valid(walk->kv))
        return false;
    key = kv_walk_key(walk->kv, &len);
    return within(walk, key, len);
}

/* Whose key comes next: the batch's stands before the engine's, and hides it where they are the
 * same; what it deleted is passed by. */
static void settle(struct db_walk *walk)
{
    walk->present = NULL;
    for (; walk->at < walk->count; walk->at++) {
        struct entry *e = walk->entries[walk->at];
        size_t len = 0;
        const char *key = kv_within(walk) ? kv_walk_key(walk->kv, &len) : NULL;
        int order = key ? key_compare(e->change.key, e->change.key_len, key, len) : -1;

        if (order > 0)
            return;
        if (order == 0)
            kv_walk_next(walk->kv);
        if (e->change.value) {
            walk->present = e;
            return;
        }
    }
}

struct db_walk *db_walk_new(struct db *db, const void *prefix, size_t prefix_len, const void *start,
                            size_t start_len)
{
    struct db_walk *walk = mem_alloc(sizeof(*walk) + prefix_len);

    MUST(prefix_len > 0 || db->count == 0);
    memcpy(walk->prefix, prefix, prefix_len);
    walk->prefix_len = prefix_len;
    walk->db = db;
    if (!start) {
        start = prefix;
        start_len = prefix_len;
    }
    walk->kv = kv_walk(db->kv, start, start_len);
    if (db->count > 0)
        entries_take(walk, row_of(db, prefix, prefix_len), start, start_len);
    settle(walk);
    return walk;
}

bool db_walk_valid(const struct db_walk *walk)
{
    return walk->present || kv_within(walk);
}

void db_walk_next(struct db_walk *walk)
{
    if (walk->present)
        walk->at++;
    else
        kv_walk_next(walk->kv);
    settle(walk);
}

const char *db_walk_key(const struct db_walk *walk, size_t *len_r)
{
    if (!walk->present)
        return kv_walk_key(walk->kv, len_r);
    *len_r = walk->present->change.key_len;
    return walk->present->change.key;
}

const char *db_walk_value(const struct db_walk *walk, size_t *len_r)
{
    if (!walk->present)
        return kv_walk_value(walk->kv, len_r);
    *len_r = walk->present->change.value_len;
    return walk->present->change.value;
}

int db_walk_free(struct db_walk **walk_p)
{
    struct db_walk *walk = *walk_p;
    int err = kv_walk_end(&walk->kv);

    *walk_p = NULL;
    walk->db->read_failed = walk->db->read_failed || err != 0;
    if (walk->entries)
        walk->db->walks--;
    free(walk->entries);
    free(walk);
    return err;
}
