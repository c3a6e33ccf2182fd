/*
 * evict.h - room for proxies: what was not used for longest goes first.
 *
 * A pass walks who holds what, adds up the bytes of each proxy (a blob that several
 * of its images share counts once), and where a quota or the disk's floor is
 * reached takes links and manifests away, oldest use first, until nine tenths are
 * left. Pulls that run keep their open files. Nothing of a hosted repository is
 * ever touched.
 */
#ifndef ENTREPOT_CATALOG_EVICT_H
#define ENTREPOT_CATALOG_EVICT_H

#include "catalog/catalog.h"

struct evict;

struct evict *evict_new(struct catalog *c);
/* Only when no turn runs. */
void evict_free(struct evict **evict);
/* The catalog serves: a pass follows now and then, when something was added. */
void evict_start(struct evict *evict);
/* Something of that size came into a proxy. */
void evict_added(struct evict *evict, size_t repo_place, uint64_t bytes);

/* Something of that size did not get in: the blob store's quota is used up. It is asked for again.
 */
void evict_refused(struct evict *evict, size_t repo_place, uint64_t bytes);

/* EVICT (ipc/msg_operator.h): begins a pass that takes what it names; the answer does not wait. */
void evict_op(struct catalog *c, struct msg_reader *question, struct msg_writer *answer);

#endif
