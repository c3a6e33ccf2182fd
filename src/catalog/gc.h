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
#include "meta/records.h"

struct gc *gc_new(struct catalog *c);
/* Only when no turn runs. */
void gc_free(struct gc **gc);
/* The catalog serves: sweeps follow at their interval. */
void gc_start(struct gc *gc);

/* Operations that read (turn.h). */
void gc_stats(const struct gc *gc, struct stats_gc *stats_r);
void gc_op_run(struct catalog *c, struct msg_reader *question, struct msg_writer *answer);
void gc_op_status(struct catalog *c, struct msg_reader *question, struct msg_writer *answer);

/* sweep.c: a slice of a sweep, within a turn. */
#define SWEEP_SLICE 128

struct sweep_file {
    size_t store;
    struct digest digest;
    uint64_t size;
};

struct sweep {
    struct catalog *c;
    uint64_t deadline_s;      /* what was queued until then is looked at */
    struct meta_place cursor; /* of the last slice that is durable; len 0: none */
    struct meta_place next;   /* the last one looked at; the cursor when that is durable */
    bool finished;
    /* of the last slice */
    /* Whose records went. The last thing that is looked at may be in each store. */
    struct sweep_file files[SWEEP_SLICE + INDEX_STORES_MAX];
    size_t file_count;
    /* Links that went, and the last time of asking that lets them. */
    struct sweep_taken {
        struct meta_key link; /* until the turn's end */
        uint64_t deadline_s;
    } taken[SWEEP_SLICE];
    size_t taken_count;
    uint64_t looked_at, links, kept; /* kept: queued again, somebody asked for them */
};

/* A slice begins: nothing is noted of it. */
void sweep_anew(struct sweep *sweep);
/* Looks at up to SWEEP_SLICE entries and collects the changes of the turn. */
void sweep_slice(struct sweep *sweep);
/* The links are hidden: has nobody asked for one of them meanwhile? */
bool sweep_still(const struct sweep *sweep);
/* Takes an image's link of a blob away although manifests name it, and the bytes with the last
 * one. False: somebody has asked for it since sweep->deadline_s, or it is not there. */
bool sweep_evict(struct sweep *sweep, size_t repo_place, const char *image,
                 const struct digest *digest);
/* The bytes, when nobody holds them any more; at most SWEEP_SLICE a slice. */
void sweep_bytes(struct sweep *sweep, size_t store, const struct digest *digest);
/* Those changes are durable: the files go to the trash, the next slice begins behind this one.
 * Returns how many bytes. */
uint64_t sweep_files(struct sweep *sweep);
/* True when no record of the store's blobs names the digest. */
bool sweep_unknown(struct catalog *c, size_t store, const struct digest *digest);

#endif
