/*
 * sweep.h - a slice of a garbage collection: what may be garbage is looked at, links that no
 * manifest names go, then bytes that no image holds.
 *
 * Within a turn (turn.h): a slice changes its batch and notes in `struct sweep` what must follow;
 * files move when that is durable (sweep_files). Who sweeps (gc.c), makes room (evict.c) or drops a
 * repository (drop.c) has a struct sweep of its own, zero but for `c`, sets the times before it
 * asks for a slice or evicts, and calls sweep_anew() first in each run of its task.
 *
 * What is queued waits from then on. Where queued_s is later than deadline_s it need not: whoever
 * was told that it is here, by a push or by asking, marked it (shm/recent.h), and what was marked
 * since deadline_s stays, and stays queued.
 */
#ifndef ENTREPOT_CATALOG_SWEEP_H
#define ENTREPOT_CATALOG_SWEEP_H

#include "catalog/files.h"
#include "meta/records.h"

/* Entries, links and files of a slice: so much keeps the loop for a few milliseconds. */
#define SWEEP_SLICE 128

/* Bytes whose record went. */
struct sweep_file {
    struct file_ask ask; /* its store and digest, and that it goes to the trash */
    struct sweep *sweep;
    uint64_t size;
};

struct sweep {
    struct catalog *c;
    uint64_t deadline_s;      /* what was asked for since then stays; seconds since 1970 */
    uint64_t queued_s;        /* what was queued until then is looked at; sweep_slice() only */
    struct meta_place cursor; /* of the last slice that is durable; len 0: none */
    struct meta_place next;   /* the last one looked at; the cursor when that is durable */
    bool finished;            /* the queue has no more up to the deadline */
    /* Of the last slice, from here on. The last thing that is looked at may be in each store. */
    struct sweep_file files[SWEEP_SLICE + INDEX_STORES_MAX];
    size_t file_count;
    /* Links that went, and the last time of asking that lets them. */
    struct sweep_taken {
        struct meta_key link; /* its strings: until the turn's end */
        uint64_t deadline_s;
    } taken[SWEEP_SLICE];
    size_t taken_count;
    uint64_t looked_at, links, kept; /* kept: still queued, somebody may need them */
    /* When that is durable. */
    void (*moved)(struct sweep *sweep);
    size_t moving;
    uint64_t moved_bytes;
};

/* A slice begins: nothing is noted of it. */
void sweep_anew(struct sweep *sweep);
/* Looks at up to SWEEP_SLICE entries of the queue behind the cursor. What cannot be read fails the
 * turn; damaged entries are left out, with an error in the log. */
void sweep_slice(struct sweep *sweep);
/* The links are hidden: has nobody asked for one of them meanwhile? */
bool sweep_still(const struct sweep *sweep);
/* Takes an image's link of a blob away although manifests name it, and the bytes with the last
 * one. False: somebody has asked for it since sweep->deadline_s, it is not there, or the slice is
 * full. `image` lives until the turn's end. */
bool sweep_evict(struct sweep *sweep, size_t repo_place, const char *image,
                 const struct digest *digest);
/* The bytes, when nobody holds them any more; at most SWEEP_SLICE a slice. */
void sweep_bytes(struct sweep *sweep, size_t store, const struct digest *digest);
/* Those changes are durable: the files go to the trash, then `moved` is called, at once where there
 * are none; `moved_bytes` tells how many bytes went. Until then no slice begins; the next one does
 * behind this one. A file that does not move stays, with an error in the log, for orphans.c. */
void sweep_files(struct sweep *sweep, void (*moved)(struct sweep *sweep));
/* True when no record of the store's blobs names the digest. */
bool sweep_unknown(struct catalog *c, size_t store, const struct digest *digest);

#endif
