/*
 * load.h - what tests/bench/load can do; each is a file of its name. Results go to
 * standard output, one `name value` a line.
 */
#ifndef ENTREPOT_BENCH_LOAD_H
#define ENTREPOT_BENCH_LOAD_H

#include <stddef.h>
#include <stdint.h>

/* Runs `work(ctx, n)` in `count` threads, n = 0 ... count-1, and waits for all. */
void load_threads(size_t count, void (*work)(void *ctx, size_t n), void *ctx);
/* A number from the command line; ends the program when it is none. */
uint64_t load_number(const char *text);
/* Median and 99th percentile of `times` (seconds; sorted in place), printed in ms. */
void load_print_times(const char *name, double *times, size_t count);

/* load_push.c */
void load_push(int port, size_t clients, uint64_t bytes);
void load_small(int port, size_t clients, double seconds);
void load_hash_copy(const char *path, uint64_t bytes);
/* load_delete.c */
void load_delete(int port, size_t clients, size_t count);
/* load_pull.c */
void load_slow(int port, const char *path, size_t count);
void load_busy(int port, const char *path, size_t clients, double seconds);
void load_latency(int port, const char *path, size_t count);
void load_first(int port, const char *path);

/* load_cold.c */
void load_cold(int port, size_t clients, char **paths, size_t path_count);

#endif
