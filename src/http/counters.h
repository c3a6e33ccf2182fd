/*
 * counters.h - what a server counts. Its own header: shared memory has them (shm/tally.h), for
 * processes that have nothing to do with HTTP.
 */
#ifndef ENTREPOT_HTTP_COUNTERS_H
#define ENTREPOT_HTTP_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>

/* Counters in shared memory, written by this process only; any may be read by others. */
#define HTTP_TOOK_BOUNDS 8
/* Upper bounds; the last one has none (UINT64_MAX). */
extern const uint64_t http_took_bounds_us[HTTP_TOOK_BOUNDS];

struct http_counters {
    _Atomic uint64_t connections, accepted, requests, bytes_in, bytes_out;
    _Atomic uint64_t answers[6];             /* by the first digit of the status */
    _Atomic uint64_t took[HTTP_TOOK_BOUNDS]; /* requests by time, http_took_bounds_us */
    _Atomic uint64_t took_us;                /* all of them */
    _Atomic uint64_t cold_reads;             /* pieces of files that a thread had to fetch */
};

#endif
