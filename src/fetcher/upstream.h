/*
 * upstream.h - one HTTP exchange with an upstream, on the event loop. The only user
 * of libcurl.
 *
 * No redirect is followed and no credential is kept here: remote.h does both by hand.
 */
#ifndef ENTREPOT_FETCHER_UPSTREAM_H
#define ENTREPOT_FETCHER_UPSTREAM_H

#include "base/loop.h"
#include "base/states.h"
#include "base/str.h"
#include "conf/conf.h"
#include "fetcher/bucket.h"

#define UPSTREAM_HEADERS_MAX 8
/* Of a response's head, in all. */
#define UPSTREAM_HEAD_MAX 65536

struct upstream;

/* Response headers that matter here; NULL when absent. Live until on_done has returned. */
struct upstream_head {
    int status;
    uint64_t length; /* Content-Length; UINT64_MAX: not told */
    const char *content_type, *content_encoding, *content_range, *digest, *etag, *location, *link,
        *retry_after, *rate_limit, *rate_remaining;
    bool inner;                    /* it came over a connection to an address that is not public */
    const char *const *challenges; /* of WWW-Authenticate, a line each */
    size_t challenge_count;
};

enum upstream_take { UPSTREAM_TAKEN, UPSTREAM_PAUSE, UPSTREAM_ABORT };

/* What an exchange is doing; upstream_move alone moves it. */
#define UPSTREAM_STATES(X)                                                                         \
    /* curl gets it after the running round: upstream_start */                                     \
    X(UPSTREAM_STARTING, TO(UPSTREAM_RUNNING) | TO(UPSTREAM_CANCELLED))                            \
    /* curl has it: upstream_after */                                                              \
    X(UPSTREAM_RUNNING, TO(UPSTREAM_TOLD) | TO(UPSTREAM_FINISHED) | TO(UPSTREAM_CANCELLED))        \
    /* on_head was called, the body comes: tell_head */                                            \
    X(UPSTREAM_TOLD, TO(UPSTREAM_FINISHED) | TO(UPSTREAM_CANCELLED))                               \
    /* From here on it is over. on_done is being called, then it is freed: request_done */         \
    X(UPSTREAM_FINISHED, 0)                                                                        \
    /* no callback comes any more; freed after the running round: upstream_cancel */               \
    X(UPSTREAM_CANCELLED, 0)
enum upstream_state { UPSTREAM_STATES(STATES_ENUM) };
extern const struct states upstream_states;

struct upstream_request;

struct upstream_ask {
    const char *url;
    bool head;
    const char *headers[UPSTREAM_HEADERS_MAX]; /* "Name: value"; NULL ends */
    const char *username, *password;           /* Basic; NULL: none. Copied */
    const struct conf_proxy *proxy;            /* TLS, timeouts, HTTP proxy */
    struct bucket *bucket;                     /* NULL: no limit */
    bool any_address;                          /* else only public ones are spoken to */
    /* Once, before any of the body; NULL: not interested. */
    enum upstream_take (*on_head)(void *ctx, const struct upstream_head *head);
    /* PAUSE takes nothing: the same bytes come again after upstream_resume. */
    enum upstream_take (*on_body)(void *ctx, const void *data, size_t len);
    /* Exactly once, from the loop, unless cancelled. err 0: complete, head in *head. Else
     * UNAVAILABLE (could not connect, name, TLS), TIMEOUT, CLOSED (cut off), DENIED (address
     * not allowed), PROTOCOL (also a head that is too long); `why` for clients, without names of
     * hosts. head->status is 0 when none came. */
    void (*on_done)(void *ctx, int err, const struct upstream_head *head, const char *why);
    void *ctx;
};

/* One a proxy: connections and resolved names are never shared between two of them. */
struct upstream *upstream_new(struct loop *loop);
/* Begins; callbacks come later, never from inside. */
struct upstream_request *upstream_start(struct upstream *u, const struct upstream_ask *ask);
/* No callback comes any more. Also from inside callbacks. */
void upstream_cancel(struct upstream_request *r);
/* After PAUSE. Not from inside callbacks of this request. */
void upstream_resume(struct upstream_request *r);

/* Name and features of the library, for the log. */
const char *upstream_library(void);

#endif
