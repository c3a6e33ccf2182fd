/*
 * damage.h - marks on blobs whose bytes have changed (META_DAMAGE): hidden while they have one,
 * shown again when somebody pushed them anew.
 *
 * Within a turn (turn.h): calls change its batch and nothing else; what is hidden and shown follows
 * from that (apply.h).
 */
#ifndef ENTREPOT_CATALOG_DAMAGE_H
#define ENTREPOT_CATALOG_DAMAGE_H

#include "catalog/catalog.h"

/* Is it known to be damaged? `store`: conf_store.key. What cannot be read is not known, and fails
 * the turn. */
bool damage_known(struct catalog *c, const char *store, const struct digest *digest);
/* Notes it: nobody sees it any more. `store`: place in conf->stores, as in the next one. */
void damage_note(struct catalog *c, size_t store, const struct digest *digest);
/* Good content lies in its place again: all who hold it see it. Nothing where there is no mark. */
void damage_heal(struct catalog *c, size_t store, const struct digest *digest);

#endif
