/*
 * job.h - one download that any number of clients wait for and follow.
 *
 * job.c: who waits, what they are told, the table. job_get.c: bytes from the upstream
 * into the file. job_end.c: verified, made durable, linked.
 */
#ifndef ENTREPOT_FETCHER_JOB_H
#define ENTREPOT_FETCHER_JOB_H

#include "fetcher/fetch.h"
#include "fetcher/part.h"
#include "fetcher/remote.h"
#include "fetcher/share.h"

#include <uthash.h>

struct job_waiter {
    struct serve_return to;
    char *image;
    TAILQ_ENTRY(job_waiter) entry;
};

/* An image that asked for it, and was shown to have it; linked at the end. */
struct job_image {
    char *name;
    TAILQ_ENTRY(job_image) entry;
};

struct job_peer {
    uint64_t id;
    TAILQ_ENTRY(job_peer) entry;
};

struct job {
    struct fetch *f;
    struct proxy *proxy;
    struct digest digest;
    char key[CONF_NAME_MAX + 1 + DIGEST_TEXT_MAX];
    bool part_only;       /* a range: not shared, not verified, not kept */
    uint64_t first, last; /* of the blob; part_only */
    bool proven;          /* the upstream said that the image has it */

    struct share share; /* until it is over */
    size_t slot;
    uint64_t epoch, started_ms;
    enum board_state state;
    uint64_t total, blob_total;       /* UINT64_MAX: not known yet */
    TAILQ_HEAD(, job_waiter) waiters; /* not answered yet */
    TAILQ_HEAD(, job_image) images;
    TAILQ_HEAD(, job_peer) peers; /* to be rung */
    TAILQ_HEAD(, job_want) wants;
    struct ask ask;
    struct job_image *asked; /* whose link the catalog was asked for */
    unsigned commit_tries;
    struct part part;
    bool ready, tabled, verified, over;

    /* job_get.c */
    struct remote_request request;
    char path[32 + DIGEST_TEXT_MAX], range[64], if_range[300];
    struct str fill;   /* came, not yet being written */
    char etag[256];    /* strong; "" */
    uint64_t skip;     /* bytes to drop: the upstream began earlier than asked */
    uint64_t progress; /* part.size when this attempt began */
    unsigned attempts, resumes;
    bool paused, running, ended, begun, enough, check_only;
    int end_err;
    struct failed end_why;
    struct loop_timer retry, linger;
    UT_hash_handle hh;
    TAILQ_ENTRY(job) all;
};

struct jobs {
    struct job *table; /* running, whole blobs, by key */
    TAILQ_HEAD(, job) list;
    uint64_t done, failed;
};

struct jobs *jobs_new(void);

/* Who inside the fetcher wants a blob to be here. */
struct job_want {
    /* Once, from the loop. */
    void (*done)(struct job_want *want, int err, const char *reason);
    struct fetch *f; /* job.c's own */
    struct loop_timer later;
    struct failed failed;
    TAILQ_ENTRY(job_want) entry;
};

/* FETCH_BLOB, FETCH_RANGE. `proven`: the upstream has just said that the image has it. */
void job_ask(struct fetch *f, struct serve_return to, const struct push_target *t,
             const char *client, bool proven);
void job_ask_range(struct fetch *f, struct serve_return to, const struct push_target *t,
                   const char *client, uint64_t first, uint64_t last);

/* The image is known to have it: a manifest of it that is here names it. */
void job_want(struct fetch *f, const struct push_target *t, struct job_want *want);

/* Between the three files. */
void job_publish(struct job *job, enum board_state state);
/* Everybody who waits gets the file. */
void job_ready(struct job *job);
void job_fail(struct job *job, int err, uint32_t retry_after_s, const char *reason, bool unlink);
/* The download is over and done: readers may stay for a while. */
void job_finish(struct job *job, enum board_state state, bool unlink);
void job_get(struct job *job);
void job_verify(struct job *job);
/* The part's step was not job_get.c's own. */
void job_placed(struct job *job, int err);

#endif
