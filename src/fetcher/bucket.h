/*
 * bucket.h - a token bucket: bytes a second that all downloads of a proxy share.
 */
#ifndef ENTREPOT_FETCHER_BUCKET_H
#define ENTREPOT_FETCHER_BUCKET_H

#include "base/loop.h"

#include <sys/queue.h>

struct bucket;

/* Who waits for its turn; embedded in its owner. */
struct bucket_wait {
    void (*go)(struct bucket_wait *wait); /* from the loop: try again */
    struct bucket *bucket;                /* bucket.c's own; not NULL: it waits */
    TAILQ_ENTRY(bucket_wait) entry;
};

struct bucket *bucket_new(struct loop *loop, uint64_t bytes_per_s);
/* True: `len` bytes may be taken now. Else wait->go is called later. */
bool bucket_take(struct bucket *b, size_t len, struct bucket_wait *wait);
/* They were not taken after all. */
void bucket_return(struct bucket *b, size_t len);
void bucket_leave(struct bucket_wait *wait);

#endif
