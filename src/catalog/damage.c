/*
 * damage.c - marks on blobs whose bytes have changed.
 *
 * Runs in the catalog inside a turn (turn.h). The mark is a record of its own,
 * so that back-references stay true and healing needs no search. A crash leaves the mark and the
 * file in its place, which the next read finds, or neither.
 */
#include "catalog/damage.h"

#include "meta/records.h"

bool damage_known(struct catalog *c, const char *store, const struct digest *digest)
{
    return meta_has(c->db, meta_damage(store, digest));
}

void damage_note(struct catalog *c, size_t store, const struct digest *digest)
{
    meta_put_key(c->db, meta_damage(c->conf->stores[store].key, digest));
}

void damage_heal(struct catalog *c, size_t store, const struct digest *digest)
{
    const char *key = c->conf->stores[store].key;

    if (damage_known(c, key, digest))
        meta_delete(c->db, meta_damage(key, digest));
}
