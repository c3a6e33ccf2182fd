/*
 * headers.h - the headers of a response that matter here, as they come. Pure.
 */
#ifndef ENTREPOT_FETCHER_HEADERS_H
#define ENTREPOT_FETCHER_HEADERS_H

#include "fetcher/upstream.h"

#define HEADERS_CHALLENGES_MAX 8

enum header {
    HEADER_CONTENT_TYPE,
    HEADER_CONTENT_ENCODING,
    HEADER_CONTENT_RANGE,
    HEADER_DIGEST,
    HEADER_ETAG,
    HEADER_LOCATION,
    HEADER_LINK,
    HEADER_RETRY_AFTER,
    HEADER_RATE_LIMIT,
    HEADER_RATE_REMAINING,
    HEADER_COUNT
};

/* Zero-initialise; headers_reset frees. */
struct headers {
    char *values[HEADER_COUNT];
    char *challenges[HEADERS_CHALLENGES_MAX];
    size_t challenge_count;
};

/* A line "Name: value" with its end; the first of a name counts. */
void headers_take(struct headers *h, const char *line, size_t len);
/* Also when a new head begins: what came was an interim one, or of an HTTP proxy's CONNECT. */
void headers_reset(struct headers *h);
/* Points the head's strings at what was taken. */
void headers_show(const struct headers *h, struct upstream_head *head);

#endif
