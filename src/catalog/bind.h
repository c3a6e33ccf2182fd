/*
 * bind.h - are the blob stores the ones that the database has records of?
 *
 * The master has compared files before anything was opened (store/belong.h); here the database
 * itself is asked. A store that is not what it should be is closed: it answers 503, nothing of it
 * is collected and nothing is marked as damaged, until it is.
 */
#ifndef ENTREPOT_CATALOG_BIND_H
#define ENTREPOT_CATALOG_BIND_H

#include "catalog/catalog.h"

/* With the database open. Gives identities to new stores, durably; sets the names that stores have
 * in keys; closes what does not belong here (store_close), told once for each reason. A reason not
 * to serve at all is an error. Blocks. */
must_check int bind_stores(struct catalog *c);
/* The same for a database that cannot be written: the names in keys, and nothing else. */
void bind_names(struct catalog *c);
/* Is a store, before something of it is called damaged, still what it was when it was bound? */
bool bind_still(struct catalog *c, size_t place);

#endif
