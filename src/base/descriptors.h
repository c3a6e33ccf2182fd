/*
 * descriptors.h - how many descriptors a process may have, and what for.
 */
#ifndef ENTREPOT_BASE_DESCRIPTORS_H
#define ENTREPOT_BASE_DESCRIPTORS_H

#include <stddef.h>
#include <stdint.h>

/* Raises the soft limit of open files (RLIMIT_NOFILE) to the hard one, for this process and those
 * it forks later. Returns what holds now. */
uint64_t descriptors_raise(void);
uint64_t descriptors_limit(void);

/* Of `limit` descriptors: those that a worker keeps for files that are pulled often. */
size_t descriptors_kept(uint64_t limit);
/* How many connections a worker can serve at once, each with a file of its own, when `own`
 * descriptors are its listeners and stores; at least 1. */
uint64_t descriptors_connections(uint64_t limit, size_t own);

#endif
