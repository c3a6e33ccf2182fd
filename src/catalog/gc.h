/*
 * gc.h - online garbage collection: blobs that nobody refers to.
 *
 * Whatever stops being referred to is queued with the time (META_SUSPECT). A sweep
 * looks at what has waited for the grace period and takes links that no manifest
 * names, then bytes that no image holds. Its cost is that of the queue, not of
 * the store. Files without a record, which crashes leave, are found by a slow
 * walk over the directories. See doc/reliability.md.
 */
#ifndef ENTREPOT_CATALOG_GC_H
#define ENTREPOT_CATALOG_GC_H

#include "catalog/catalog.h"
#include "ipc/msg_stats.h"

struct gc *gc_new(struct catalog *c);
/* Only when no turn runs. */
void gc_free(struct gc **gc);
/* The catalog serves: sweeps follow at their interval. */
void gc_start(struct gc *gc);

/* Operations that read (turn.h). */
void gc_stats(const struct gc *gc, struct stats_gc *stats_r);
void gc_op_run(struct catalog *c, struct msg_reader *question, struct msg_writer *answer);
void gc_op_status(struct catalog *c, struct msg_reader *question, struct msg_writer *answer);

#endif
