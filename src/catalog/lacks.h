/*
 * lacks.h - does the database lack changes that a blob store's journal has?
 *
 * A change is synced in the database before its line is written, so no crash and no power loss
 * leaves a journal that is ahead: the database is an older copy, or has lost what it had synced.
 * It is treated as one that is damaged: what it has is served where no journal says otherwise
 * (witnessed.h), all else is INCOMPLETE, until `entrepotctl rebuild` has made it anew. An operator
 * who wants to go on with it as it is moves the journal away.
 */
#ifndef ENTREPOT_CATALOG_LACKS_H
#define ENTREPOT_CATALOG_LACKS_H

#include "catalog/catalog.h"

/* Asks the journals of the open stores that are c->db's. INCOMPLETE, with a logged reason; an
 * error of reading the database. What of a journal cannot be read says nothing. Blocks. */
must_check int lacks_look(struct catalog *c);
/* The same was found out otherwise: `number` is the database's last one, `journal` the journal's.
 * The database is closed as soon as no turn runs. */
void lacks_found(struct catalog *c, size_t store, uint64_t number, uint64_t journal);
/* Do the journals that were ahead of the closed database lie there still? A look costs nothing. */
bool lacks_still(const struct catalog *c);
/* Does it, by any journal? */
bool lacks_any(const struct catalog *c);

#endif
