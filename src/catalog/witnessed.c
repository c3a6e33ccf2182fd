/*
 * witnessed.c - what the stores' journals say of a damaged database's records.
 *
 * Runs in the catalog, once, at a start beside a damaged database. Owns a table of what is there by
 * the journals; a crash leaves nothing.
 */
#include "catalog/witnessed.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/siphash.h"
#include "meta/witness.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

/* The last that a journal says of a manifest or tag. */
struct said {
    uint64_t id[2]; /* hash of store and key */
    uint64_t value; /* of the digest that a tag points to */
    bool gone;
    UT_hash_handle hh;
};

struct witnessed {
    const struct catalog *c;
    size_t reading;             /* the store whose journal is read */
    bool all[INDEX_STORES_MAX]; /* it knows all that the database knows */
    uint8_t seed[16];
    struct said *said;
};

static struct said *said_of(const struct witnessed *w, size_t store, const struct journal_line *l,
                            uint64_t id_r[2])
{
    const struct meta_key key = witness_key(l);
    struct meta_place place;
    struct said *s;

    meta_place_of(&key, &place);
    siphash_128(w->seed, place.data, place.len, id_r);
    id_r[0] ^= store;
    HASH_FIND(hh, w->said, id_r, sizeof(s->id), s);
    return s;
}

static uint64_t value_of(const struct witnessed *w, const struct journal_line *l)
{
    uint64_t out[2] = {0};

    if (l->tag)
        siphash_128(w->seed, &l->digest, sizeof(l->digest), out);
    return out[0];
}

static void take(void *ctx, const struct journal_line *l)
{
    struct witnessed *w = ctx;
    uint64_t id[2];
    struct said *s = said_of(w, w->reading, l, id);

    if (!s) {
        s = mem_alloc(sizeof(*s));
        memcpy(s->id, id, sizeof(id));
        HASH_ADD(hh, w->said, id, sizeof(s->id), s);
    }
    s->gone = l->kind == JOURNAL_MANIFEST_GONE || l->kind == JOURNAL_TAG_GONE;
    s->value = value_of(w, l);
}

/* Reads a store's journal. One that belongs to another database or store is not listened to. */
static void ask(struct witnessed *w, size_t store)
{
    const struct catalog *c = w->c;
    const struct store *in = c->stores[store];
    struct identity identity;
    struct journal_file file;
    uint64_t number;

    if (journal_glance(in, &file) != 0 || store_identity_read(in, &identity) != 0 ||
        !journal_ours(&file, c->meta.identity.id, identity.id))
        return;
    w->reading = store;
    if (journal_read(in, take, w, &file) != 0)
        return;
    if (witness_number(c->db, c->conf->stores[store].key, &number) != 0)
        number = 0; /* what cannot be read is not relied on */
    w->all[store] = journal_whole(&file) && file.last >= number;
}

struct witnessed *witnessed_new(struct catalog *c)
{
    struct witnessed *w = mem_alloc(sizeof(*w));

    w->c = c;
    file_random(w->seed, sizeof(w->seed));
    for (size_t i = 0; i < c->conf->store_count; i++)
        ask(w, i);
    return w;
}

void witnessed_free(struct witnessed **w_p)
{
    struct witnessed *w = *w_p;
    struct said *s, *next;

    *w_p = NULL;
    HASH_ITER(hh, w->said, s, next) {
        HASH_DEL(w->said, s);
        free(s);
    }
    free(w);
}

bool witnessed_ok(const struct witnessed *w, const struct journal_line *l)
{
    const struct said *s;
    uint64_t id[2];
    size_t place, store;

    if (catalog_repo(w->c, l->repo, &place) != 0)
        return true; /* not served */
    store = catalog_store_of(w->c, place);
    s = said_of(w, store, l, id);
    return s ? !s->gone && s->value == value_of(w, l) : !w->all[store];
}
