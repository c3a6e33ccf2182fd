/*
 * apply.h - what records say, told to the index and the counts.
 *
 * One function for all: a record that is there now and was not, or says something else, or is gone.
 * A turn asks it for each change of its batch, a rebuild of the index for each record there is.
 * Operations change records only; what is shown, what is counted and how many bytes there are
 * follows from them here.
 */
#ifndef ENTREPOT_CATALOG_APPLY_H
#define ENTREPOT_CATALOG_APPLY_H

#include "catalog/catalog.h"
#include "meta/records.h"

/* An entry of the index (shm/index_write.h). Strings live as long as the call. */
struct apply_entry {
    enum index_kind kind;
    const char *repo, *image, *ref;
    uint64_t size;
    const char *media_type;      /* may be NULL */
    const struct digest *digest; /* may be NULL */
};

/* Where it goes. */
struct apply {
    struct catalog *c;
    struct db *db; /* whose marks of damage count */
    /* An error ends the call that led to it. */
    int (*show)(struct apply *apply, const struct apply_entry *entry);
    /* NULL: what is hidden was never shown. */
    int (*hide)(struct apply *apply, const struct apply_entry *entry);
    /* Where the counts of a repository without a section are; may make room for them. */
    struct catalog_count *(*count_unowned)(struct apply *apply, const char *repo);
    struct catalog_count *counts; /* by place in conf->repos; and the others, in conf->stores: */
    int64_t store_bytes[INDEX_STORES_MAX];
    int64_t damaged[INDEX_STORES_MAX]; /* marks; since `c->damaged_count` */
};

/* Kinds that are told, in the order in which that must be done: a mark of damage hides what comes
 * behind it. META_NONE ends them. */
extern const enum meta_kind apply_kinds[];

/* What the record of that key held and holds; a rebuild's held nothing. DAMAGED: what it holds says
 * nothing, and nothing was told of it; what said nothing before was never told. Otherwise what show
 * and hide return, or IO. */
must_check int apply_record(struct apply *apply, const struct meta_key *key,
                            const struct db_change *change);

#endif
