/*
 * msg_fetch.h - the contents of the messages between workers, entrepotctl and
 * the fetcher, and between the fetcher and the catalog about proxied content.
 */
#ifndef ENTREPOT_IPC_MSG_FETCH_H
#define ENTREPOT_IPC_MSG_FETCH_H

#include "ipc/msg_push.h"

/* Reasons an upstream gives, cut to this. */
#define FETCH_REASON_MAX 512
/* Warning of RFC 7234 section 5.5 and others. */
#define FETCH_NAMES_MAX 1000000

/* FETCH_HELLO, first on every line from a worker: nothing. Reply: i32 0 and an
 * eventfd that the fetcher writes to when something on the board has changed.
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
    const char *reason;     /* for the client and the log; never a secret, never a URL's query */
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

/* From the fetcher to the catalog:
 * PROXY_LINK: a push_target, u8 proven. Links the blob to the image when its bytes lie in the
 *   store and the image may have it: a manifest of the image names it, or `proven`: the upstream
 *   said so just now. Reply: 0 and u64 size: it is in the index; NOT_FOUND.
 * TAG_TOUCH: a push_target whose digest is what the tag points to, str tag: it was just confirmed.
 *   Reply: 0, or NOT_FOUND when the tag points elsewhere.
 * TAG_GONE: the same, when the upstream says that the tag does not exist any more. */

#endif
