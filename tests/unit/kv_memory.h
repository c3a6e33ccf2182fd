/*
 * kv_memory.h - an engine (meta/kv.h) that only remembers: tests of what stands above it need no
 * disk, and it shows that nothing above knows LevelDB.
 */
#ifndef ENTREPOT_TESTS_KV_MEMORY_H
#define ENTREPOT_TESTS_KV_MEMORY_H

#include "meta/kv.h"

struct kv *kv_memory_new(void);
/* The reads that follow fail with it; 0: no more. */
void kv_memory_fail(struct kv *kv, int err);

#endif
