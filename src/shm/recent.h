/*
 * recent.h - when somebody last asked for a blob: what keeps garbage collection
 * from taking what a client was just told is here.
 *
 * Shared memory of the master that outlives every other process. Workers mark,
 * the catalog looks; a mark costs one store and no message. Keys share places:
 * that only keeps something longer.
 */
#ifndef ENTREPOT_SHM_RECENT_H
#define ENTREPOT_SHM_RECENT_H

#include "base/digest.h"
#include "base/err.h"

struct recent;

/* Everything counts as asked for at its making: what was marked before is unknown. */
must_check int recent_new(struct recent **recent_r);
/* Marks before the caller looks whether it is there. Whoever hides it first and
 * then calls recent_at either sees the mark, or the caller does not see it there. */
void recent_mark(struct recent *recent, const char *repo, const char *image,
                 const struct digest *digest, uint64_t now_s);
/* The wall clock jumped: what was marked moves with it, by the nearest whole seconds. Master. */
void recent_shift(struct recent *recent, int64_t by_ms);
/* Seconds since 1970. */
uint64_t recent_at(struct recent *recent, const char *repo, const char *image,
                   const struct digest *digest);

#endif
