/*
 * witness.h - what of the database the stores' journals repeat (store/journal.h), and how far.
 *
 * A change of a manifest (key M) or a tag (T) is a line of its store's journal. The record J of a
 * store, written with the changes, is the number of its last line: so whoever opens both knows
 * which of them lacks something.
 */
#ifndef ENTREPOT_META_WITNESS_H
#define ENTREPOT_META_WITNESS_H

#include "meta/db.h"
#include "store/journal.h"

/* Is a record one that the journals repeat? Then the line that tells it, without number. `value`
 * NULL: it was deleted. Strings point into key and value. */
bool witness_line(const char *key, size_t key_len, const char *value, size_t value_len,
                  struct journal_line *line_r);

/* The number of the last line that a store's journal should have; 0: none yet. `store`: its name in
 * keys. */
must_check int witness_number(struct db *db, const char *store, uint64_t *number_r);
/* Collects it into the batch. */
void witness_number_put(struct db *db, const char *store, uint64_t number);

#endif
