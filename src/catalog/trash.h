/*
 * trash.h - files that were put aside are deleted for good once nobody can come back for them.
 */
#ifndef ENTREPOT_CATALOG_TRASH_H
#define ENTREPOT_CATALOG_TRASH_H

#include "catalog/catalog.h"

struct trash *trash_new(struct catalog *c);
/* Only when its pool is gone. */
void trash_free(struct trash **trash);
/* Deletes what has lain there long enough, on a thread; nothing while one is at it. */
void trash_empty(struct trash *trash);
/* The same, when what was put aside just now has lain there long enough. */
void trash_empty_later(struct trash *trash);

#endif
