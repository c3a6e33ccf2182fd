/*
 * follow.h - requests that wait for, and are served from, a blob that the fetcher
 * is downloading.
 *
 * Runs in workers. However many requests ask for one blob of an image, the worker
 * asks the fetcher once and holds one descriptor; bytes are sent as the board says
 * that they are there.
 */
#ifndef ENTREPOT_API_FOLLOW_H
#define ENTREPOT_API_FOLLOW_H

#include "base/digest.h"
#include "base/loop.h"
#include "base/states.h"
#include "http/http.h"
#include "ipc/link.h"
#include "ipc/msg_fetch.h"
#include "shm/board.h"

#include <sys/queue.h>

struct follows;
struct follow;

/* A download as the worker sees it; follow_move alone moves it. */
#define FOLLOW_STATES(X)                                                                           \
    /* the fetcher is asked where the bytes come to lie; also again, when their place on the       \
     * board was given away (finished long ago, or the fetcher died): follow_ask */                \
    X(FOLLOW_ASKING, TO(FOLLOW_RUNNING) | TO(FOLLOW_OVER))                                         \
    /* file and place on the board are known: follow_placed */                                     \
    X(FOLLOW_RUNNING, TO(FOLLOW_ASKING) | TO(FOLLOW_OVER))                                         \
    /* all is there, or it failed; nobody joins: follow_grown, follow_over */                      \
    X(FOLLOW_OVER, 0)
enum follow_state { FOLLOW_STATES(STATES_ENUM) };
extern const struct states follow_states;

struct follow_target {
    const char *repo, *image, *client; /* copied; client: see upstream_client() */
    struct digest digest;
    bool part;            /* only a range of it: never shared */
    uint64_t first, last; /* inclusive; `part` only */
    void *call;           /* the asker's own */
};

/* One request's share; lives in its arena. */
struct follow_share {
    /* Once: 0 (take follow_file and answer), EXISTS (it is here by now: look into the
     * index), or why it cannot be had. `why` lives as long as the call. */
    void (*ready)(struct follow_share *share, int err, const struct fetch_failure *why);
    /* follow.c's own */
    struct follow *follow;
    struct http_request *r; /* being answered from the file; or NULL */
    TAILQ_ENTRY(follow_share) entry;
};

struct follow_file {
    int fd;              /* the follow's; valid until follow_leave */
    uint64_t total;      /* bytes of the file when it is complete */
    uint64_t blob_total; /* of the whole blob */
    uint64_t have;       /* there now */
};

struct follows *follows_new(struct loop *loop, struct link *fetcher, const struct board *board);
/* The line to the fetcher is new: asks for the doorbell and looks at everything again. */
void follows_connected(struct follows *follows);

/* share->ready follows, never from inside. */
void follow_join(struct follows *follows, const struct follow_target *target,
                 struct follow_share *share);
void follow_file(const struct follow_share *share, struct follow_file *file_r);
/* The request answers from the file from now on: it is told of every growth, and cut
 * off when the download fails. */
void follow_serve(struct follow_share *share, struct http_request *r);
/* Must be called when the request is over; may be at any time. */
void follow_leave(struct follow_share *share);

#endif
