/*
 * throttle.c - failed logins lately.
 *
 * An anonymous shared mapping made by the master before it forks. A place is one
 * word, level and time together, written whole: a process that dies leaves
 * nothing to repair.
 */
#include "shm/throttle.h"

#include "base/file.h"
#include "base/siphash.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#define PLACES 16384

struct throttle {
    uint8_t seed[16];
    _Atomic uint64_t at[PLACES]; /* high half: seconds; low half: failures */
};

int throttle_new(struct throttle **throttle_r)
{
    struct throttle *t =
        mmap(NULL, sizeof(*t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (t == MAP_FAILED)
        return err_from_errno(errno);
    file_random(t->seed, sizeof(t->seed));
    *throttle_r = t;
    return 0;
}

void throttle_free(struct throttle **throttle)
{
    munmap(*throttle, sizeof(**throttle));
    *throttle = NULL;
}

static _Atomic uint64_t *place(struct throttle *t, enum throttle_kind kind, const char *key)
{
    char name[80];
    struct in6_addr v6;
    size_t len = strnlen(key, sizeof(name) - 1);
    uint64_t hash[2];

    name[0] = (char)kind;
    memcpy(name + 1, key, len);
    if (kind == THROTTLE_ADDRESS && inet_pton(AF_INET6, key, &v6) == 1 &&
        !IN6_IS_ADDR_V4MAPPED(&v6)) {
        memcpy(name + 1, &v6, 8);
        len = 8;
    }
    siphash_128(t->seed, name, len + 1, hash);
    return &t->at[hash[0] % PLACES];
}

static uint32_t level_at(uint64_t word, enum throttle_kind kind, uint64_t now_s)
{
    uint32_t level = (uint32_t)word, then = (uint32_t)(word >> 32);
    uint64_t gone = now_s > then ? (now_s - then) / (kind == THROTTLE_ADDRESS ? THROTTLE_ADDRESS_S
                                                                              : THROTTLE_USER_S)
                                 : 0;

    return gone >= level ? 0 : level - (uint32_t)gone;
}

static uint32_t level_max(enum throttle_kind kind)
{
    return kind == THROTTLE_ADDRESS ? THROTTLE_ADDRESS_MAX : THROTTLE_USER_MAX;
}

/* Kept at the limit at most: whoever stops failing is free again after one forgotten failure. */
void throttle_fail(struct throttle *t, enum throttle_kind kind, const char *key, uint64_t now_s)
{
    _Atomic uint64_t *at = place(t, kind, key);
    uint32_t level = level_at(atomic_load(at), kind, now_s);

    if (level < level_max(kind))
        level++;
    atomic_store(at, now_s << 32 | level);
}

bool throttle_slowed(struct throttle *t, enum throttle_kind kind, const char *key, uint64_t now_s)
{
    return level_at(atomic_load(place(t, kind, key)), kind, now_s) >= level_max(kind);
}

void throttle_forget(struct throttle *t, enum throttle_kind kind, const char *key)
{
    atomic_store(place(t, kind, key), 0);
}
