/*
 * bucket.c - bandwidth of a proxy. The fetcher; lives as long as the process.
 *
 * A crash leaves nothing.
 */
#include "fetcher/bucket.h"

#include "base/container.h"
#include "base/mem.h"

/* Bytes that may be saved up while nothing comes, beyond a quarter of a second's: a piece of the
 * size that curl hands over always fits. */
#define BURST_MIN 65536
#define WAIT_MS   10

struct bucket {
    struct loop *loop;
    uint64_t rate, tokens, last_ms;
    struct loop_timer timer;
    TAILQ_HEAD(, bucket_wait) waits;
};

static void bucket_fill(struct bucket *b)
{
    uint64_t now = loop_now_ms(b->loop), max = b->rate / 4 + BURST_MIN, idle = now - b->last_ms;
    uint64_t add = (idle > 1000 ? 1000 : idle) * b->rate / 1000;

    if (add == 0)
        return;
    b->tokens = b->tokens + add > max ? max : b->tokens + add;
    b->last_ms = now;
}

static void bucket_fire(struct loop_timer *timer)
{
    struct bucket *b = CONTAINER_OF(timer, struct bucket, timer);
    struct bucket_wait *wait;
    size_t count = 0;

    /* Those who wait now get their turn, once; who begins to wait meanwhile comes with the next
     * call. */
    TAILQ_FOREACH(wait, &b->waits, entry)
        count++;
    while (count-- > 0 && (wait = TAILQ_FIRST(&b->waits)) != NULL) {
        bucket_leave(wait);
        wait->go(wait);
    }
}

struct bucket *bucket_new(struct loop *loop, uint64_t bytes_per_s)
{
    struct bucket *b = mem_alloc(sizeof(*b));

    b->loop = loop;
    b->rate = bytes_per_s;
    b->last_ms = loop_now_ms(loop);
    b->timer.fire = bucket_fire;
    TAILQ_INIT(&b->waits);
    return b;
}

bool bucket_take(struct bucket *b, size_t len, struct bucket_wait *wait)
{
    bucket_fill(b);
    if (b->tokens >= len || (len > BURST_MIN && b->tokens >= BURST_MIN)) {
        b->tokens -= b->tokens < len ? b->tokens : len;
        return true;
    }
    wait->bucket = b;
    TAILQ_INSERT_TAIL(&b->waits, wait, entry);
    if (b->timer.slot == 0)
        loop_timer_set(b->loop, &b->timer, WAIT_MS);
    return false;
}

void bucket_leave(struct bucket_wait *wait)
{
    if (wait->bucket)
        TAILQ_REMOVE(&wait->bucket->waits, wait, entry);
    wait->bucket = NULL;
}

void bucket_return(struct bucket *b, size_t len)
{
    b->tokens += len;
}
