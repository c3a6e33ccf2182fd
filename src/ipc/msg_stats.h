/*
 * msg_stats.h - what the catalog tells about itself: contents of the replies, to questions
 * without contents:
 *   REPO_STATS     a count, that many struct stats_repo, a count, that many struct stats_store
 *   GC_STATUS      struct stats_gc
 * GC_WAITING with a struct stats_place; reply: struct stats_waiting
 *   SCRUB_STATUS   struct stats_scrub
 *   CATALOG_STATS  as REPO_STATS, then struct stats_gc, stats_scrub and stats_lists
 */
#ifndef ENTREPOT_IPC_MSG_STATS_H
#define ENTREPOT_IPC_MSG_STATS_H

#include "ipc/msg.h"

/* In `kind` of a repository without a section whose kind is not on record. */
#define STATS_KIND_UNKNOWN 255

/* How a REPO_DROP of a repository goes, since the catalog's start. */
enum stats_drop { STATS_DROP_NONE, STATS_DROP_RUNNING, STATS_DROP_DONE, STATS_DROP_FAILED };

struct stats_repo {
    const char *name, *store;
    uint8_t kind; /* enum conf_repo_kind */
    bool online;
    bool owned; /* has a section in the configuration */
    uint64_t images, tags, manifests, blobs, bytes;
};

struct stats_store {
    const char *name;
    uint64_t bytes, quota; /* quota 0: none */
    uint64_t uploads, upload_bytes;
    uint64_t damaged; /* blobs known to be damaged or missing */
    uint64_t
        journal;   /* 1: its journal is kept, 0: it is being read or written anew, or cannot be */
    uint64_t lost; /* 1: the database lacks changes that the journal has */
    uint64_t open; /* 0: it is away, or not ours: what needs it is answered 503 */
    uint64_t elsewhere; /* 1: its path leads to something else: pulls go on, pushes are 503 */
};

/* Garbage collection; counts are since the catalog's start. */
struct stats_gc {
    bool running;
    uint64_t sweeps, started_s, finished_s; /* of the last one; 0: none yet */
    uint64_t looked_at, links, blobs, bytes, kept, orphans;
    uint64_t looked_at_now; /* by the running one */
    /* Files without a record at the last count; how often they were counted. */
    uint64_t orphans_left, orphans_left_bytes, orphan_counts;
    uint64_t grace_ms, interval_ms;
};

/* An entry of the queue of what may be garbage. */
struct stats_place {
    uint64_t time; /* seconds since 1970 */
    const char *repo, *image;
    struct digest digest;
};

/* What of the queue nothing names now, from a place on; a slice. */
struct stats_waiting {
    /* At most: what several images have, or came to wait twice, is told as often. */
    uint64_t count, bytes;
    uint64_t first_s, last_s; /* when the first and the last of them came to wait; 0: none */
    bool more;                /* ask again, with `place` */
    struct stats_place place; /* all up to here was looked at */
};

/* The scrub; counts are since the catalog's start. */
struct stats_scrub {
    bool running;
    uint64_t passes, started_s, finished_s;
    uint64_t blobs, bytes, damaged, missing;
    uint64_t rate, interval_ms;
};

/* Lists, which are answered in slices; since the catalog's start. */
struct stats_lists {
    uint64_t slices;
    uint64_t keys_max, bytes_max; /* what the largest of them looked at */
};

void stats_repo_put(struct msg_writer *w, const struct stats_repo *s);
void stats_repo_get(struct msg_reader *r, struct stats_repo *s_r);
void stats_store_put(struct msg_writer *w, const struct stats_store *s);
void stats_store_get(struct msg_reader *r, struct stats_store *s_r);
void stats_gc_put(struct msg_writer *w, const struct stats_gc *s);
void stats_gc_get(struct msg_reader *r, struct stats_gc *s_r);
/* repo "": before all. */
void stats_place_put(struct msg_writer *w, const struct stats_place *p);
void stats_place_get(struct msg_reader *r, struct stats_place *p_r);
void stats_waiting_put(struct msg_writer *w, const struct stats_waiting *s);
void stats_waiting_get(struct msg_reader *r, struct stats_waiting *s_r);
void stats_scrub_put(struct msg_writer *w, const struct stats_scrub *s);
void stats_scrub_get(struct msg_reader *r, struct stats_scrub *s_r);
void stats_lists_put(struct msg_writer *w, const struct stats_lists *s);
void stats_lists_get(struct msg_reader *r, struct stats_lists *s_r);
/* "hosted" */
const char *stats_kind_name(uint8_t kind);

#endif
