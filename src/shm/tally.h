/*
 * tally.h - counters of each process slot in shared memory: a page a slot,
 * written by its process only, read by the master for `status` and by any worker for /metrics.
 */
#ifndef ENTREPOT_SHM_TALLY_H
#define ENTREPOT_SHM_TALLY_H

#include "base/err.h"
#include "http/counters.h"

#include <stddef.h>
#include <stdint.h>

#define TALLY_SLOTS_MAX 256

/* 4096 bytes each. */
struct tally_page {
    struct http_counters http;
    _Atomic uint64_t proxy_hits, proxy_misses; /* lookups in proxies */
    _Atomic uint64_t asks;                     /* questions sent to other processes */
};

/* The master's region for TALLY_SLOTS_MAX slots: shared with children by fork. */
must_check int tally_new(void **region_r);
struct tally_page *tally_at(void *region, size_t slot);
/* Zeroes a slot's page before a process takes it. */
void tally_reset(void *region, size_t slot);

#endif
