/*
 * whereabouts.h - is each blob store still where the configuration says?
 */
#ifndef ENTREPOT_CATALOG_WHEREABOUTS_H
#define ENTREPOT_CATALOG_WHEREABOUTS_H

#include "catalog/catalog.h"

/* Looks from now on, and keeps catalog.elsewhere, the index and the master told. */
struct whereabouts *whereabouts_new(struct catalog *c);
/* After the pool has ended. */
void whereabouts_free(struct whereabouts **w_p);

#endif
