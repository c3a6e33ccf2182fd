/*
 * misses.h - failures remembered for a moment, so that a storm of clients does not
 * become a storm on the upstream.
 */
#ifndef ENTREPOT_FETCHER_MISSES_H
#define ENTREPOT_FETCHER_MISSES_H

#include "fetcher/fetch.h"

/* One a proxy. */
struct misses *misses_new(struct loop *loop);
/* `key`: of the caller's making. NULL: nothing is remembered. */
const struct failed *misses_find(struct misses *m, const char *key);
void misses_add(struct misses *m, const char *key, const struct failed *failed, uint64_t for_ms);
/* How long a failure is believed: missing_ttl for NOT_FOUND, else seconds. */
uint64_t misses_ms(const struct proxy *p, int err);

#endif
