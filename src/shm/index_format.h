/*
 * index_format.h - the shared index's memory layout. See doc/architecture.md.
 *
 * A memfd: header, slot table, arena. The catalog alone writes it. A slot is
 * written once: payload first, then the state word with release order. A slot
 * never changes its key within one map, so a reader needs no lock and a killed
 * writer leaves nothing to repair. It is rebuilt from the database at start
 * and has no disk format.
 */
#ifndef ENTREPOT_SHM_INDEX_FORMAT_H
#define ENTREPOT_SHM_INDEX_FORMAT_H

#include "base/digest.h"

#include <stdatomic.h>
#include <stdint.h>

#define INDEX_MAGIC      0x31786469746f7065ULL
#define INDEX_STORES_MAX 16

enum index_map_state {
    INDEX_BUILDING = 0,   /* not handed round yet: a miss is not final */
    INDEX_COMPLETE = 1,   /* a miss is final */
    INDEX_SUPERSEDED = 2, /* a newer map was handed round before this was stored */
    INDEX_PARTIAL = 3     /* what could be read of a damaged database: a miss is not final */
};

enum index_slot_state { INDEX_EMPTY = 0, INDEX_LIVE = 1, INDEX_DEAD = 2 };

struct index_header {
    uint64_t magic;
    uint64_t generation;
    _Atomic uint32_t state; /* enum index_map_state */
    uint32_t pad;
    uint8_t seed[16];    /* of siphash_128, random for each map */
    uint64_t slot_count; /* power of two */
    uint64_t slots_offset, arena_offset, arena_size, total_size;
    _Atomic uint64_t slots_used, slots_dead, arena_used;
    /* by place of the blob store in the configuration (workers read these for quotas) */
    _Atomic uint64_t store_bytes[INDEX_STORES_MAX];     /* blobs */
    _Atomic uint32_t store_elsewhere[INDEX_STORES_MAX]; /* 1: its path leads to something else, and
                                                           nothing is pushed */
};

/* 32 bytes: two a cache line. */
struct index_slot {
    _Atomic uint32_t state; /* enum index_slot_state */
    uint32_t pad;
    uint64_t key[2];
    _Atomic uint64_t value; /* blob: size. manifest and tag: offset of a record in the arena */
};

/* In the arena, 8-byte aligned, never changed after its offset was stored. */
struct index_record {
    uint64_t size; /* of the manifest, bytes */
    struct digest digest;
    uint16_t media_type_len;
    char media_type[]; /* NUL-terminated */
};

#endif
