/*
 * opening.h - database and blob stores of the catalog, opened when they can be.
 */
#ifndef ENTREPOT_CATALOG_OPENING_H
#define ENTREPOT_CATALOG_OPENING_H

#include "catalog/catalog.h"

/* Opens what opens, publishes the index, and comes back each second for what does not.
 * A database that can be read and not written gives the index all the same. Blocks for the
 * time of a walk over the database. */
void opening_begin(struct catalog *c);
/* The database was closed after a failed write: opens it again as soon as that works.
 * Until then changes are answered with `refusal`. */
void opening_again(struct catalog *c, int refusal);
void opening_end(struct catalog *c);

#endif
