/*
 * msg_fetch.h - the contents of the messages between workers, entrepotctl and
 * the fetcher, and between the fetcher and the catalog about proxied content.
 */
#ifndef ENTREPOT_IPC_MSG_FETCH_H
#define ENTREPOT_IPC_MSG_FETCH_H

#include "ipc/msg_push.h"

/* Reasons an upstream gives, cut to this. */
#define FETCH_REASON_MAX 512
/* Names that one list of a remote may have. */
#define FETCH_NAMES_MAX 1000000
/* Who asks, for the fetcher's bounds by client: "user NAME" or an address; "": nobody in
 * particular. */
#define FETCH_CLIENT_MAX 128

/* FETCH_HELLO, first on every line from a worker: nothing. Reply: i32 0 and an
 * eventfd that the fetcher writes to when something on the board has changed.
 *
 * Questions of clients end with a str client (FETCH_CLIENT_MAX).
 *
 * FETCH_BLOB: a push_target (size unused). The first answer of several:
 *   0           struct fetch_ready and a read-only descriptor of the growing file
 *   EXISTS      u64 size: the image has it by now; look into the index
 *   otherwise   struct fetch_failure
 * FETCH_RANGE: a push_target, u64 first, u64 last (inclusive). The same answers; the
 *   file holds the range alone, begins with byte `first` of the blob, and is never verified.
 * FETCH_HEAD: a push_target. Reply: 0 and u64 size, or struct fetch_failure.
 * FETCH_MANIFEST: str repo, str image, str ref (tag or digest). Reply: 0 and struct
 *   fetch_manifest, or struct fetch_failure. It is kept and in the index when the answer comes.
 * FETCH_LIST: struct fetch_list. Reply: 0 and u32 count, names; or for referrers u32 count, then
 * for each digest, u64 size, contents (push_contents_put) as the catalog answers REFERRER_LIST.
 * FETCH_SEARCH: str repo, str term, u32 limit. Reply: 0, u32 count, then for each str name,
 *   str description, u64 stars, u8 official.
 */

/* Every reply begins with i32 err. Errors and what they mean for the client:
 * NOT_FOUND 404 (the upstream says so), DENIED 403, UNAUTHORIZED never (our credentials
 * are not the client's business: DENIED), BUSY 429, TIMEOUT 504, UNAVAILABLE 502/503,
 * NO_SPACE 507, TOO_BIG 502, PROTOCOL and MISMATCH 502. */
struct fetch_failure {
    uint32_t retry_after_s; /* 0: not told */
    const char *reason;     /* for the client and the log: names no host, port, file or secret */
};

struct fetch_ready {
    uint32_t slot;       /* of the board */
    uint64_t epoch;      /* of that slot */
    uint64_t total;      /* bytes of the blob, or of the range */
    uint64_t blob_total; /* bytes of the blob in both cases */
};

struct fetch_manifest {
    struct digest digest;
    uint64_t size;
    const char *media_type;
    bool stale;         /* the upstream could not be asked: an old answer, allowed by serve_stale */
    const char *reason; /* why it could not, for the Warning header; "" otherwise */
};

enum fetch_list_kind { FETCH_LIST_TAGS = 1, FETCH_LIST_CATALOG = 2, FETCH_LIST_REFERRERS = 3 };

struct fetch_list {
    uint8_t kind;             /* enum fetch_list_kind */
    const char *repo, *image; /* image "" for the catalog */
    struct digest subject;    /* referrers only, else alg 0 */
};

void fetch_failure_put(struct msg_writer *w, const struct fetch_failure *f);
void fetch_failure_get(struct msg_reader *r, struct fetch_failure *f_r);
void fetch_ready_put(struct msg_writer *w, const struct fetch_ready *f);
void fetch_ready_get(struct msg_reader *r, struct fetch_ready *f_r);
void fetch_manifest_put(struct msg_writer *w, const struct fetch_manifest *f);
void fetch_manifest_get(struct msg_reader *r, struct fetch_manifest *f_r);
void fetch_list_put(struct msg_writer *w, const struct fetch_list *f);
void fetch_list_get(struct msg_reader *r, struct fetch_list *f_r);

/* FETCH_STATUS: nothing. Reply: 0, u32 count, struct fetch_running each. */
struct fetch_running {
    const char *repo, *image; /* the first image that wanted it */
    struct digest digest;
    const char *state;    /* "stream" */
    uint64_t total, have; /* total UINT64_MAX: not known yet */
    uint64_t age_ms;
    uint32_t waiting;   /* questions that wait for its beginning */
    uint32_t followers; /* processes that read it */
    uint32_t resumes;
};

/* PROXY_STATUS: nothing. Reply: 0, u32 count, then for each a struct fetch_proxy_status and its
 * remotes. Counters run since the fetcher's start. */
struct fetch_proxy_status {
    const char *repo;
    uint64_t rate_limit, rate_left; /* pulls; UINT64_MAX: the upstream does not meter */
    uint32_t busy_s;                /* a 429 lasts that long still */
    uint32_t tokens;                /* cached */
    uint64_t requests, errors, bytes, resumes;
    uint32_t remotes;
};

struct fetch_remote_status {
    const char *url;
    uint32_t failures; /* connects in a row that failed */
    uint32_t down_s;   /* left alone that long still; 0: up */
};

#define FETCH_PLATFORM_MAX 128

/* WARM: struct fetch_warm. Reply: 0 and u64 id; or struct fetch_failure. */
struct fetch_warm {
    const char *repo, *image, *ref;
    const char *platform; /* "os/arch[/variant]"; "": all of an index */
};

enum fetch_warm_state { FETCH_WARM_RUNNING = 0, FETCH_WARM_DONE = 1, FETCH_WARM_FAILED = 2 };

/* WARM_STATUS: u64 id. Reply: 0 and struct fetch_warm_status; NOT_FOUND and struct fetch_failure
 * when there is none, or it ended long ago. */
struct fetch_warm_status {
    uint8_t state;   /* enum fetch_warm_state */
    uint32_t failed; /* things that could not be fetched */
    uint64_t manifests, blobs, blobs_done, bytes, bytes_done;
    const char *reason; /* of the first failure */
};

/* msg_warm.c */
void fetch_running_put(struct msg_writer *w, const struct fetch_running *r);
void fetch_running_get(struct msg_reader *r, struct fetch_running *out);
void fetch_proxy_status_put(struct msg_writer *w, const struct fetch_proxy_status *s);
void fetch_proxy_status_get(struct msg_reader *r, struct fetch_proxy_status *s_r);
void fetch_remote_status_put(struct msg_writer *w, const struct fetch_remote_status *s);
void fetch_remote_status_get(struct msg_reader *r, struct fetch_remote_status *s_r);
void fetch_warm_put(struct msg_writer *w, const struct fetch_warm *q);
void fetch_warm_get(struct msg_reader *r, struct fetch_warm *q_r);
void fetch_warm_status_put(struct msg_writer *w, const struct fetch_warm_status *s);
void fetch_warm_status_get(struct msg_reader *r, struct fetch_warm_status *s_r);

/* From the fetcher to the catalog:
 * PROXY_LINK: a push_target, u8 proven. Links the blob to the image when its bytes lie in the
 *   store and the image may have it: a manifest of the image names it, or `proven`: the upstream
 *   said so just now. Reply: 0 and u64 size: it is in the index; NOT_FOUND.
 * TAG_TOUCH: a push_target whose digest is what the tag points to, str tag: it was just confirmed.
 *   Reply: 0, or NOT_FOUND when the tag points elsewhere.
 * TAG_GONE: the same, when the upstream says that the tag does not exist any more. */

#endif
