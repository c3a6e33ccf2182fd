/*
 * remote.h - one logical request to a proxy's remotes: which remote, credentials,
 * redirects, health, limits. doc/protocol.md, "Asking a remote", "Remotes by name".
 */
#ifndef ENTREPOT_FETCHER_REMOTE_H
#define ENTREPOT_FETCHER_REMOTE_H

#include "base/states.h"
#include "fetcher/bearer.h"

#define REMOTE_REDIRECTS_MAX 5
#define REMOTE_EXTRA_MAX     3

/* What a request is doing; remote_move alone moves it. */
#define REMOTE_STATES(X)                                                                           \
    /* not begun, or over: remote_finish (before on_done), remote_cancel */                        \
    X(REMOTE_IDLE, TO(REMOTE_STARTED))                                                             \
    /* the loop's next round begins it: remote_start */                                            \
    X(REMOTE_STARTED, TO(REMOTE_LINE) | TO(REMOTE_TOKEN) | TO(REMOTE_SENT) | TO(REMOTE_IDLE))      \
    /* a remote that said 429 is being asked by another whether that is over: remote_try */        \
    X(REMOTE_LINE, TO(REMOTE_LINE) | TO(REMOTE_TOKEN) | TO(REMOTE_SENT) | TO(REMOTE_IDLE))         \
    /* a token that it needs is being asked for: remote_token */                                   \
    X(REMOTE_TOKEN, TO(REMOTE_LINE) | TO(REMOTE_TOKEN) | TO(REMOTE_SENT) | TO(REMOTE_IDLE))        \
    /* a remote, or where it redirects to, was asked. What comes may lead to the next hop, to      \
     * credentials, to the next remote: remote_send */                                             \
    X(REMOTE_SENT,                                                                                 \
      TO(REMOTE_LINE) | TO(REMOTE_SENT) | TO(REMOTE_TOKEN) | TO(REMOTE_ANSWER) | TO(REMOTE_IDLE))  \
    /* the asker was told the head of its answer; no other remote is asked: wire_head */           \
    X(REMOTE_ANSWER, TO(REMOTE_IDLE))
enum remote_state { REMOTE_STATES(STATES_ENUM) };
extern const struct states remote_states;

/* Embedded in its owner, which fills the upper part (the rest zero) and keeps it until on_done. */
struct remote_request {
    struct proxy *proxy;
    bool head;
    const char *image; /* as clients name it; NULL: not about one (catalog) */
    const char *path;  /* "manifests/latest" below the image, or "/v2/_catalog"; or a whole URL */
    const char *extra[REMOTE_EXTRA_MAX]; /* more headers */
    size_t first;                        /* which remote is asked first */
    bool resumes;                        /* what breaks off before its first byte has begun, too */
    bool one_hop_only;                   /* the path is a URL with no remote behind it (searches) */
    /* 200, 206 and 304 only. May be NULL. */
    enum upstream_take (*on_head)(struct remote_request *r, const struct upstream_head *head);
    enum upstream_take (*on_body)(struct remote_request *r, const void *data, size_t len);
    /* Once, from the loop, unless cancelled. err 0: complete; head as it came. NOT_FOUND: a
     * remote says that it does not exist. See msg_fetch.h for the others. */
    void (*on_done)(struct remote_request *r, int err, const struct upstream_head *head,
                    const struct fetch_failure *why);

    /* remote.c's own; `used` may be read: the remote that answered */
    enum remote_state state;
    size_t used, tried;
    struct upstream_request *wire; /* REMOTE_SENT, REMOTE_ANSWER */
    struct bearer_wait wait;       /* REMOTE_TOKEN */
    struct str url, authorization, first_url;
    char *token;
    unsigned redirects;
    /* Of the remote that is being asked, and where it led to: */
    bool challenged; /* a 401 was answered with what it wants: the next one is final */
    bool basic;      /* the password goes along with this exchange */
    bool foreign;    /* another host, which gets no credential */
    bool inner;      /* the remote answered from a private address: what it names may be at one */
    struct failed last; /* of the remotes that could not answer */
    struct limit_pass pass;
    struct loop_timer later;
};

void remote_start(struct remote_request *r);
/* No callback comes any more; harmless when it is over. */
void remote_cancel(struct remote_request *r);
/* After PAUSE; harmless without. */
void remote_resume(struct remote_request *r);

/* The name the remote knows: library/NAME on Docker Hub. Appends. */
void remote_image(const struct proxy *p, const char *image, struct str *out);
/* Accept with every kind of manifest, whatever the client asked for. */
extern const char remote_accept_manifests[];

#endif
