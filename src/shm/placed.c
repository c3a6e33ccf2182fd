/*
 * placed.c - upload sessions whose file has got its blob's place: a ring of keyed hashes.
 *
 * An anonymous shared mapping made by the master before it forks. A place is one word, written
 * whole; a process that dies between taking a place and writing it leaves what was there.
 */
#include "shm/placed.h"

#include "base/file.h"
#include "base/must.h"
#include "base/siphash.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define SESSION_MAX 256

struct placed {
    uint8_t seed[16];
    _Atomic uint32_t next;
    _Atomic uint64_t at[PLACED_MAX]; /* 0: none */
};

int placed_new(struct placed **placed_r)
{
    struct placed *p =
        mmap(NULL, sizeof(*p), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED)
        return err_from_errno(errno);
    file_random(p->seed, sizeof(p->seed));
    *placed_r = p;
    return 0;
}

/* Keyed, so that nobody can look for a session that hashes like another one. */
static uint64_t hash_of(const struct placed *p, const char *session, const struct digest *digest)
{
    char name[SESSION_MAX + DIGEST_TEXT_MAX], text[DIGEST_TEXT_MAX];
    int len = snprintf(name, sizeof(name), "%s %s", session, digest_text(digest, text));
    uint64_t hash[2];

    MUST(len > 0 && (size_t)len < sizeof(name));
    siphash_128(p->seed, name, (size_t)len, hash);
    return hash[0] | 1;
}

void placed_note(struct placed *p, const char *session, const struct digest *digest)
{
    uint32_t place = atomic_fetch_add_explicit(&p->next, 1, memory_order_relaxed) % PLACED_MAX;

    atomic_store_explicit(&p->at[place], hash_of(p, session, digest), memory_order_release);
}

bool placed_known(const struct placed *p, const char *session, const struct digest *digest)
{
    uint64_t wanted = hash_of(p, session, digest);

    for (size_t i = 0; i < PLACED_MAX; i++)
        if (atomic_load_explicit(&p->at[i], memory_order_acquire) == wanted)
            return true;
    return false;
}
