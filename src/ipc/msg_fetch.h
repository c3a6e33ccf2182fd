/*
 * msg_fetch.h - the contents of the messages between workers, entrepotctl and
 * the fetcher, and between the fetcher and the catalog about proxied content.
 */
#ifndef ENTREPOT_IPC_MSG_FETCH_H
#define ENTREPOT_IPC_MSG_FETCH_H

#include "ipc/msg_push.h"

/* Reasons an upstream gives, cut to this. */
#define FETCH_REASON_MAX 512
/* Of what an index says about an image, cut to this. */
#define FETCH_DESCRIPTION_MAX 1000
/* Names that one list of a remote may have. */
#define FETCH_NAMES_MAX 1000000
/* Who asks, for the fetcher's bounds by client: "user NAME" or an address; "": nobody in
 * particular. */
#define FETCH_CLIENT_MAX 128

/* FETCH_HELLO, first on every line from a worker: nothing. Reply: 0 and an
 * eventfd that the fetcher writes to when something on the board has changed.
 *
 * Questions of clients end with who asks (fetch_client_put).
 *
 * FETCH_BLOB: a push_target (size unused). The first answer of several:
 *   0           struct fetch_ready and a read-only descriptor of the growing file
 *   EXISTS      its size: the image has it by now; look into the index
 *   otherwise   struct fetch_failure
 * FETCH_RANGE: a push_target, struct fetch_range. The same answers; the
 *   file holds the range alone, begins with byte `first` of the blob, and is never verified.
 * FETCH_HEAD: a push_target. Reply: 0 and its size, or struct fetch_failure.
 * FETCH_MANIFEST: struct fetch_wanted. Reply: 0 and struct
 *   fetch_manifest, or struct fetch_failure. It is kept and in the index when the answer comes.
 * FETCH_LIST: struct fetch_list. Reply: as the catalog answers TAG_LIST, IMAGE_LIST and
 *   REFERRER_LIST (msg_list.h), or struct fetch_failure.
 * FETCH_SEARCH: struct fetch_search. Reply: 0, a count, that many struct fetch_hit; or struct
 *   fetch_failure.
 */

/* Errors and what they mean for the client:
 * NOT_FOUND 404 (the upstream says so), DENIED 403, UNAUTHORIZED never (our credentials
 * are not the client's business: DENIED), BUSY 429, TIMEOUT 504, UNAVAILABLE 502/503,
 * NO_SPACE 507, TOO_BIG 502, PROTOCOL and MISMATCH 502. */
struct fetch_failure {
    uint32_t retry_after_s; /* 0: not told */
    const char *reason;     /* for the client and the log: names no host, port, file or secret */
};

/* Bytes of the blob, both inclusive. */
struct fetch_range {
    uint64_t first, last;
};

struct fetch_wanted {
    const char *repo, *image;
    const char *ref; /* tag or digest */
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

struct fetch_search {
    const char *repo, *term;
    uint32_t limit;
};

struct fetch_hit {
    const char *name, *description;
    uint64_t stars;
    bool official;
};

void fetch_client_put(struct msg_writer *w, const char *client);
const char *fetch_client_get(struct msg_reader *r);
/* Of a blob, in bytes. */
void fetch_size_put(struct msg_writer *w, uint64_t size);
uint64_t fetch_size_get(struct msg_reader *r);
void fetch_range_put(struct msg_writer *w, const struct fetch_range *f);
void fetch_range_get(struct msg_reader *r, struct fetch_range *f_r);
void fetch_wanted_put(struct msg_writer *w, const struct fetch_wanted *f);
void fetch_wanted_get(struct msg_reader *r, struct fetch_wanted *f_r);
void fetch_search_put(struct msg_writer *w, const struct fetch_search *f);
void fetch_search_get(struct msg_reader *r, struct fetch_search *f_r);
void fetch_hit_put(struct msg_writer *w, const struct fetch_hit *f);
void fetch_hit_get(struct msg_reader *r, struct fetch_hit *f_r);
void fetch_failure_put(struct msg_writer *w, const struct fetch_failure *f);
void fetch_failure_get(struct msg_reader *r, struct fetch_failure *f_r);
void fetch_ready_put(struct msg_writer *w, const struct fetch_ready *f);
void fetch_ready_get(struct msg_reader *r, struct fetch_ready *f_r);
void fetch_manifest_put(struct msg_writer *w, const struct fetch_manifest *f);
void fetch_manifest_get(struct msg_reader *r, struct fetch_manifest *f_r);
void fetch_list_put(struct msg_writer *w, const struct fetch_list *f);
void fetch_list_get(struct msg_reader *r, struct fetch_list *f_r);

/* FETCH_STATUS: nothing. Reply: 0, a count, that many struct fetch_running. */
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

/* PROXY_STATUS: nothing. Reply: 0, a count, then for each a struct fetch_proxy_status and its
 * remotes. Counters run since the fetcher's start. */
struct fetch_proxy_status {
    const char *repo;
    uint64_t rate_limit, rate_left; /* pulls; UINT64_MAX: the upstream does not meter */
    uint32_t tokens;                /* cached */
    uint64_t requests, errors, bytes, resumes;
    uint32_t remotes;
};

/* Kinds of requests that remotes count apart. */
enum fetch_limit {
    FETCH_LIMIT_MANIFEST,
    FETCH_LIMIT_MANIFEST_HEAD,
    FETCH_LIMIT_BLOB,
    FETCH_LIMIT_BLOB_HEAD,
    FETCH_LIMIT_LIST,
    FETCH_LIMIT_TOKEN,
    FETCH_LIMIT_COUNT
};
/* "manifests" */
const char *fetch_limit_name(enum fetch_limit limit);

struct fetch_remote_status {
    const char *url;
    uint32_t failures;                     /* connects in a row that failed */
    uint32_t down_s;                       /* left alone that long still; 0: up */
    uint32_t limited_s[FETCH_LIMIT_COUNT]; /* it said 429: not asked so for that long; 0: asked */
};

#define FETCH_PLATFORM_MAX 128

/* WARM: struct fetch_warm. Reply: 0 and an id; or struct fetch_failure. */
struct fetch_warm {
    const char *repo, *image, *ref;
    const char *platform; /* "os/arch[/variant]"; "": all of an index */
};

enum fetch_warm_state { FETCH_WARM_RUNNING = 0, FETCH_WARM_DONE = 1, FETCH_WARM_FAILED = 2 };

/* WARM_STATUS: the id. Reply: 0 and struct fetch_warm_status; NOT_FOUND and struct fetch_failure
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
void fetch_warm_id_put(struct msg_writer *w, uint64_t id);
uint64_t fetch_warm_id_get(struct msg_reader *r);
void fetch_warm_status_put(struct msg_writer *w, const struct fetch_warm_status *s);
void fetch_warm_status_get(struct msg_reader *r, struct fetch_warm_status *s_r);

/* From the fetcher to the catalog. */

/* PROXY_LINK: links the blob to the image when its bytes lie in the store and the image may have
 * it: a manifest of the image names it, or `proven`. Reply: 0 and its size: it is in the index;
 * NOT_FOUND. */
struct proxy_link {
    struct push_target target; /* size unused */
    bool proven;               /* the upstream said so just now */
};

/* TAG_TOUCH: the tag was just confirmed. Reply: 0, or NOT_FOUND when it points elsewhere.
 * TAG_GONE: the same, when the upstream says that the tag does not exist any more. */
struct proxy_tag {
    struct push_tag tag;
    struct digest digest; /* what it points to */
};

void proxy_link_put(struct msg_writer *w, const struct proxy_link *l);
void proxy_link_get(struct msg_reader *r, struct proxy_link *l_r);
void proxy_tag_put(struct msg_writer *w, const struct proxy_tag *t);
void proxy_tag_get(struct msg_reader *r, struct proxy_tag *t_r);

#endif
