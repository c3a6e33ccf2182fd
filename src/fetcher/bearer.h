/*
 * bearer.h - tokens of upstreams: asked for, cached, renewed early; and passwords.
 */
#ifndef ENTREPOT_FETCHER_BEARER_H
#define ENTREPOT_FETCHER_BEARER_H

#include "fetcher/challenge.h"
#include "fetcher/fetch.h"

/* Somebody who waits for a token; embedded in its owner. */
struct bearer_wait {
    /* Once, never from inside bearer_get. err 0: a token; else why there is none. Of BUSY,
     * retry_after_s is limit_retry_after()'s. */
    void (*done)(struct bearer_wait *wait, int err, const char *token, uint32_t retry_after_s,
                 const char *why);
    struct bearer *bearer; /* bearer.c's own */
    TAILQ_ENTRY(bearer_wait) entry;
};

/* Text of a token that is still good; NULL: there is none. */
const char *bearer_peek(struct proxy *p, const struct challenge *c, bool credentials);
/* `remote_url`: of the remote that gave the challenge: a relative realm is resolved against it.
 * `credentials`: may the proxy's be used? They go only to where they belong. */
void bearer_get(struct proxy *p, const char *remote_url, const struct challenge *c,
                bool credentials, struct bearer_wait *wait);
void bearer_leave(struct bearer_wait *wait);
/* The upstream did not accept it. */
void bearer_drop(struct proxy *p, const char *token);
size_t bearer_count(const struct proxy *p);

/* The password from its file, read again when that changed; NULL without or when it cannot be
 * read (logged). */
const char *bearer_password(struct proxy *p);

#endif
