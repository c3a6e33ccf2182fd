/*
 * trouble.h - what the catalog cannot do at present, for entrepotctl status.
 */
#ifndef ENTREPOT_CATALOG_TROUBLE_H
#define ENTREPOT_CATALOG_TROUBLE_H

#include "catalog/catalog.h"

/* Tells the master, when it has changed: a line each of database and blob stores, with the cure. */
void trouble_tell(const struct catalog *c);

#endif
