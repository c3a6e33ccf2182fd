/*
 * msg_operator.h - contents of what entrepotctl alone asks: orders to the catalog, and how the
 * daemon's processes are.
 */
#ifndef ENTREPOT_IPC_MSG_OPERATOR_H
#define ENTREPOT_IPC_MSG_OPERATOR_H

#include "ipc/msg_stats.h"

/* EVICT. Reply: NOT_FOUND no such repository, UNSUPPORTED no proxy, BUSY: one runs. */
struct operator_evict {
    const char *repo;
    const char *image; /* "": all of them */
};

/* REPO_DROP. Reply: 0 and struct operator_dropped; NOT_FOUND nothing of that name, UNSUPPORTED a
 * group, BUSY: another one is being dropped. */
struct operator_drop {
    const char *repo;
    bool begin; /* else tell only how it goes */
};

struct operator_dropped {
    struct stats_repo stats; /* what it holds now */
    uint8_t state;           /* enum stats_drop */
};

void operator_evict_put(struct msg_writer *w, const struct operator_evict *q);
void operator_evict_get(struct msg_reader *r, struct operator_evict *q_r);
void operator_drop_put(struct msg_writer *w, const struct operator_drop *q);
void operator_drop_get(struct msg_reader *r, struct operator_drop *q_r);
void operator_dropped_put(struct msg_writer *w, const struct operator_dropped *d);
void operator_dropped_get(struct msg_reader *r, struct operator_dropped *d_r);
/* GC_RUN: without waiting for gc_grace where no push can need it. Reply: it has begun. */
void operator_gc_put(struct msg_writer *w, bool now);
bool operator_gc_get(struct msg_reader *r);
/* GC_ORPHANS: take what is found, else count it. Reply: it has begun. */
void operator_orphans_put(struct msg_writer *w, bool take);
bool operator_orphans_get(struct msg_reader *r);

/* CTL_STATUS: nothing. Reply: 0, struct operator_daemon, a count, that many struct
 * operator_process. */
struct operator_daemon {
    const char *version, *file; /* of the configuration */
    uint32_t pid, generation;
    uint64_t uptime_s;
};

struct operator_process {
    const char *role, *state;
    const char *trouble; /* lines; "": none */
    uint32_t slot, generation, restarts;
    uint32_t pid; /* 0: none runs */
    uint64_t connections, requests, bytes_in, bytes_out, asks;
};

void operator_daemon_put(struct msg_writer *w, const struct operator_daemon *d);
void operator_daemon_get(struct msg_reader *r, struct operator_daemon *d_r);
void operator_process_put(struct msg_writer *w, const struct operator_process *p);
void operator_process_get(struct msg_reader *r, struct operator_process *p_r);

#endif
