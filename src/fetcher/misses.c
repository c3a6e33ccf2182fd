/*
 * misses.c - remembered failures. The fetcher; a crash here forgets them.
 */
#include "fetcher/misses.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#define MISSES_MAX 2048

struct miss {
    char *key;
    uint64_t until_ms;
    struct failed failed;
    UT_hash_handle hh;
};

struct misses {
    struct loop *loop;
    struct miss *all;
};

struct misses *misses_new(struct loop *loop)
{
    struct misses *m = mem_alloc(sizeof(*m));

    m->loop = loop;
    return m;
}

static void miss_free(struct misses *m, struct miss *one)
{
    HASH_DEL(m->all, one);
    free(one->key);
    free(one);
}

static void forget(struct misses *m, const char *key)
{
    struct miss *one;

    HASH_FIND_STR(m->all, key, one);
    if (one)
        miss_free(m, one);
}

const struct failed *misses_find(struct misses *m, const char *key)
{
    struct miss *one;

    HASH_FIND_STR(m->all, key, one);
    if (one && one->until_ms <= loop_now_ms(m->loop)) {
        miss_free(m, one);
        one = NULL;
    }
    return one ? &one->failed : NULL;
}

void misses_add(struct misses *m, const char *key, const struct failed *failed, uint64_t for_ms)
{
    struct miss *one;

    forget(m, key);
    if (HASH_COUNT(m->all) >= MISSES_MAX)
        miss_free(m, m->all); /* the oldest */
    one = mem_alloc(sizeof(*one));
    one->key = mem_strdup(key);
    one->failed = *failed;
    one->until_ms = loop_now_ms(m->loop) + for_ms;
    HASH_ADD_KEYPTR(hh, m->all, one->key, strlen(one->key), one);
}

uint64_t misses_ms(const struct proxy *p, int err)
{
    return err == ERR_NOT_FOUND ? p->conf->missing_ttl_ms : err == ERR_NO_SPACE ? 5000 : 1000;
}
