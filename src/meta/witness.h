/*
 * witness.h - what of the database the stores' journals repeat (store/journal.h), and how far.
 *
 * A change of a manifest or a tag is a line of its store's journal. The record META_JOURNAL of a
 * store, written with the changes, is the number of its last line: so whoever opens both knows
 * which of them lacks something.
 */
#ifndef ENTREPOT_META_WITNESS_H
#define ENTREPOT_META_WITNESS_H

#include "meta/records.h"
#include "store/journal.h"

/* Is a record one that the journals repeat? Then the line that tells it, without number. `value`
 * NULL: it was deleted. Strings point into key and value. */
bool witness_line(const struct meta_key *key, const char *value, size_t value_len,
                  struct journal_line *line_r);
/* The record that a line is of, which is no begin or end. Strings are the line's. */
struct meta_key witness_key(const struct journal_line *line);

/* The number of the last line that a store's journal should have; 0: none yet. `store`: its name in
 * keys. */
must_check int witness_number(struct db *db, const char *store, uint64_t *number_r);
/* Collects it into the batch. */
void witness_number_put(struct db *db, const char *store, uint64_t number);

#endif
