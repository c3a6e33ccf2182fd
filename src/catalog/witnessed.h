/*
 * witnessed.h - what the stores' journals say of a damaged database's records.
 *
 * Where damage hides the newest record of a key, LevelDB shows the one before it: a tag's old
 * place, an image that was deleted. Who serves from such a database asks the journals.
 */
#ifndef ENTREPOT_CATALOG_WITNESSED_H
#define ENTREPOT_CATALOG_WITNESSED_H

#include "catalog/catalog.h"
#include "store/journal.h"

struct witnessed;

/* Reads the journals of the open stores that are of c->db, which is open, too. Blocks. */
struct witnessed *witnessed_new(struct catalog *c);
void witnessed_free(struct witnessed **w);
/* May a manifest or tag be what it was last? Not where its store's journal says otherwise. */
bool witnessed_ok(const struct witnessed *w, const struct journal_line *line);

#endif
