/*
 * recent.c - when somebody last asked for a blob.
 *
 * An anonymous shared mapping made by the master before it forks. Each place is
 * one word, written whole; a process that dies leaves nothing to repair.
 */
#include "shm/recent.h"

#include "base/siphash.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define PLACES 65536
/* Marks of two processes may come in another order than their times. */
#define AHEAD_S 10

struct recent {
    _Atomic uint64_t since;
    _Atomic uint32_t at[PLACES]; /* seconds after `since`; 0: not since then */
};

int recent_new(struct recent **recent_r)
{
    struct recent *recent =
        mmap(NULL, sizeof(*recent), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (recent == MAP_FAILED)
        return err_from_errno(errno);
    recent->since = (uint64_t)time(NULL);
    *recent_r = recent;
    return 0;
}

static _Atomic uint32_t *place(struct recent *recent, const char *repo, const char *image,
                               const struct digest *digest)
{
    static const uint8_t seed[16];
    char names[1024];
    size_t repo_len = strnlen(repo, 256) + 1, image_len = strnlen(image, 512);
    uint64_t hash[2], word;

    memcpy(names, repo, repo_len - 1);
    names[repo_len - 1] = 0;
    memcpy(names + repo_len, image, image_len);
    siphash_128(seed, names, repo_len + image_len, hash);
    memcpy(&word, digest->bytes, sizeof(word));
    return &recent->at[(hash[0] ^ word) % PLACES];
}

void recent_mark(struct recent *recent, const char *repo, const char *image,
                 const struct digest *digest, uint64_t now_s)
{
    _Atomic uint32_t *at = place(recent, repo, image, digest);
    uint64_t since = atomic_load_explicit(&recent->since, memory_order_relaxed);
    uint32_t value = now_s > since ? (uint32_t)(now_s - since) : 0;
    uint32_t old = atomic_load_explicit(at, memory_order_relaxed);

    if (old < value || old - value > AHEAD_S) /* that one was made while the clock was wrong */
        atomic_store_explicit(at, value, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
}

uint64_t recent_at(struct recent *recent, const char *repo, const char *image,
                   const struct digest *digest)
{
    atomic_thread_fence(memory_order_seq_cst);
    return atomic_load_explicit(&recent->since, memory_order_relaxed) +
           atomic_load_explicit(place(recent, repo, image, digest), memory_order_relaxed);
}

void recent_shift(struct recent *recent, int64_t by_ms)
{
    /* A jump of three days is measured a millisecond short: cut off, it would make what was marked
     * before as new as what is asked for in the next second. */
    int64_t by_s = (by_ms + (by_ms < 0 ? -500 : 500)) / 1000;

    atomic_fetch_add_explicit(&recent->since, (uint64_t)by_s, memory_order_relaxed);
}
