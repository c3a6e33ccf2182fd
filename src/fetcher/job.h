/*
 * job.h - one download that any number of clients wait for and follow.
 *
 * job.c: who waits, what they are told, the table. job_phase.c: what it is doing, and what of
 * that others see. job_get.c: bytes from the upstream into the file. job_end.c: verified, made
 * durable, linked.
 */
#ifndef ENTREPOT_FETCHER_JOB_H
#define ENTREPOT_FETCHER_JOB_H

#include "base/states.h"
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

/*
 * What a download is doing; job_move alone moves it. Before the name: what the board shows.
 *
 *   queued   JOB_NEW      made, and nothing else: job_new
 *   queued   JOB_LINK     the catalog is asked to link what another image may have brought
 *                         (not of a range). It can: the job is freed. job_link
 *   queued   JOB_OPEN     the file is being opened; what is in it, hashed: job_get
 *   connect  JOB_CHECK    all is in the file already: a remote is asked (HEAD) whether the
 *                         image has it, without any more being fetched: job_attempt
 *   connect  JOB_CONNECT  a remote is asked for the bytes. Nothing answered yet, so that its
 *                         failure is the download's: job_attempt
 *   connect  JOB_SPACE    the length is known and being reserved; the remote waits: on_head
 *   stream   JOB_STREAM   bytes come, and are written as they come: on_head, part_done
 *   stream   JOB_DRAIN    the exchange is over; what came is being written: on_done
 *   stalled  JOB_WAIT     cut off; a timer will ask for the rest: job_retry
 *   stalled  JOB_RESUME   a remote is asked for the rest, nothing answered yet: job_attempt
 *   verify   JOB_PLACE    the digest is right; the file is being made durable: job_verify
 *   commit   JOB_COMMIT   the catalog is asked to link it, image by image: job_placed
 *   done     JOB_DONE     over, as JOB_FAILED: freed when it has lingered, or when its place on
 *   failed   JOB_FAILED   the board is wanted: job_finish
 */
#define JOB_PHASES(X)                                                                              \
    X(JOB_NEW, TO(JOB_LINK) | TO(JOB_OPEN))                                                        \
    X(JOB_LINK, TO(JOB_OPEN) | TO(JOB_FAILED))                                                     \
    X(JOB_OPEN, TO(JOB_CHECK) | TO(JOB_CONNECT) | TO(JOB_FAILED))                                  \
    X(JOB_CHECK, TO(JOB_PLACE) | TO(JOB_FAILED))                                                   \
    X(JOB_CONNECT, TO(JOB_SPACE) | TO(JOB_STREAM) | TO(JOB_FAILED))                                \
    X(JOB_SPACE, TO(JOB_STREAM) | TO(JOB_DRAIN) | TO(JOB_FAILED))                                  \
    X(JOB_STREAM, TO(JOB_DRAIN) | TO(JOB_FAILED))                                                  \
    X(JOB_DRAIN, TO(JOB_WAIT) | TO(JOB_PLACE) | TO(JOB_DONE) | TO(JOB_FAILED))                     \
    X(JOB_WAIT, TO(JOB_RESUME))                                                                    \
    X(JOB_RESUME, TO(JOB_STREAM) | TO(JOB_WAIT) | TO(JOB_FAILED))                                  \
    X(JOB_PLACE, TO(JOB_COMMIT) | TO(JOB_FAILED))                                                  \
    X(JOB_COMMIT, TO(JOB_DONE) | TO(JOB_FAILED))                                                   \
    X(JOB_DONE, 0)                                                                                 \
    X(JOB_FAILED, 0)
enum job_phase { JOB_PHASES(STATES_ENUM) };
extern const struct states job_phases;

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
    enum job_phase phase;
    uint64_t total, blob_total;       /* UINT64_MAX: not known yet */
    TAILQ_HEAD(, job_waiter) waiters; /* not answered yet */
    TAILQ_HEAD(, job_image) images;
    TAILQ_HEAD(, job_peer) peers; /* to be rung */
    TAILQ_HEAD(, job_want) wants;
    struct ask ask;
    struct job_image *asked; /* whose link the catalog was asked for */
    unsigned commit_tries;
    struct part part;
    bool ready;    /* whoever asks is given the file at once */
    bool verified; /* the last byte may be sent; stays so when it fails afterwards */

    /* job_get.c */
    struct remote_request request;
    char path[32 + DIGEST_TEXT_MAX], range[64], if_range[300];
    struct str fill;   /* came, not yet being written */
    char etag[256];    /* strong; "" */
    uint64_t skip;     /* bytes to drop: the upstream began earlier than asked */
    uint64_t progress; /* part.size when this attempt began */
    unsigned attempts, resumes;
    struct failed end; /* of this attempt: what went wrong; err 0: nothing, so far */
    struct loop_timer retry, linger;
    UT_hash_handle hh;
    TAILQ_ENTRY(job) all;
};

struct jobs {
    struct job *table; /* running, whole blobs, by key */
    TAILQ_HEAD(, job) list;
    uint64_t done, failed;
    struct fetch *f;
    struct loop_timer left; /* until the places that a dead fetcher left are given back */
};

struct jobs *jobs_new(struct fetch *f);

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

/* Between the four files. Moving shows it on the board and rings the readers. */
void job_move(struct job *job, enum job_phase phase);
/* Its readers may send more. */
void job_publish(struct job *job);
enum board_state job_shown(const struct job *job);
bool job_over(const struct job *job);
/* Everybody who waits gets the file. */
void job_ready(struct job *job);
void job_fail(struct job *job, int err, uint32_t retry_after_s, const char *reason, bool unlink);
/* JOB_DONE or JOB_FAILED; readers may stay for a while. */
void job_finish(struct job *job, enum job_phase how, bool unlink);
void job_get(struct job *job);
void job_verify(struct job *job);
/* The file was made durable under its digest, or that failed: goes on with the link. */
void job_placed(struct job *job, int err);

#endif
