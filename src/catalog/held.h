/*
 * held.h - the catalog's side of conf/holdings.h, and what nobody's repositories hold.
 */
#ifndef ENTREPOT_CATALOG_HELD_H
#define ENTREPOT_CATALOG_HELD_H

#include "catalog/catalog.h"
#include "catalog/turn.h"
#include "conf/holdings.h"

/* A repository that holds something and is in no section of the configuration. */
struct held_unowned {
    char *name;
    struct catalog_count count;
};

struct held;

struct held *held_new(struct catalog *c);
void held_free(struct held **held);

/* publish.c counts: begin, one call each for what belongs to nobody, end. */
void held_count_begin(struct held *held);
struct catalog_count *held_count(struct held *held, const char *repo);
/* The database is open and counted: the file is made to fit it. */
void held_settle(struct held *held);

/* Of a turn, before its batch is written: true when the file must be written with it. */
bool held_turn(struct held *held);
/* On the pool, before the batch. An error only when a repository would not be named. */
must_check int held_write(struct held *held);
/* After the batch: takes a turn of its own when a repository became empty. */
void held_written(struct held *held, int err);

/* What nobody owns; NULL past the end. */
const struct held_unowned *held_unowned(const struct held *held, size_t at);
/* The same by name, to change its counts (effects.h). NULL: it is not there. */
struct held_unowned *held_unowned_find(struct held *held, const char *repo);
/* As the file has it: kind and store of a repository; NULL: it is not named. */
const struct holding *held_holding(const struct held *held, const char *repo);

#endif
