/*
 * hint.c - remembered challenges. The fetcher; a crash here costs a request each.
 */
#include "fetcher/hint.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#define HINTS_MAX 4096

struct hint {
    char *key, *realm, *service, *scope;
    bool inner;
    UT_hash_handle hh;
};

static struct hint *hint_find(struct proxy *p, size_t remote, const char *image, struct str *key)
{
    struct hint *h;

    str_printf(key, "%zu %s", remote, image);
    HASH_FIND_STR(p->hints, key->data, h);
    return h;
}

static void hint_free(struct proxy *p, struct hint *h)
{
    HASH_DEL(p->hints, h);
    free(h->key);
    free(h->realm);
    free(h->service);
    free(h->scope);
    free(h);
}

void hint_set(struct proxy *p, size_t remote, const char *image, const struct challenge *c)
{
    struct str key = {0};
    struct hint *h = hint_find(p, remote, image, &key);

    if (h)
        hint_free(p, h);
    else if (HASH_COUNT(p->hints) >= HINTS_MAX)
        hint_free(p, p->hints); /* the oldest */
    h = mem_alloc(sizeof(*h));
    h->key = key.data;
    h->realm = mem_strdup(c->realm);
    h->service = mem_strdup(c->service);
    h->scope = mem_strdup(c->scope);
    h->inner = c->inner;
    HASH_ADD_KEYPTR(hh, p->hints, h->key, strlen(h->key), h);
}

bool hint_get(struct proxy *p, size_t remote, const char *image, struct challenge *c_r)
{
    struct str key = {0};
    const struct hint *h = hint_find(p, remote, image, &key);

    str_free(&key);
    if (!h)
        return false;
    *c_r = (struct challenge){.bearer = true,
                              .inner = h->inner,
                              .realm = h->realm,
                              .service = h->service,
                              .scope = h->scope};
    return true;
}
