/*
 * share.c - see share.h. The fetcher; owns the counts. A crash here forgets them with
 * everything that was counted.
 */
#include "fetcher/share.h"

#include "base/mem.h"
#include "base/must.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#define RETRY_S 5

/* Of one proxy; there while it holds something, so there are SHARES_MAX at most. */
struct share_client {
    char *name;
    unsigned held;
    UT_hash_handle hh;
};

static struct share_client *client_of(struct proxy *p, const char *name)
{
    struct share_client *c;

    HASH_FIND_STR(p->clients, name, c);
    return c;
}

int share_take(struct share *s, struct proxy *p, const char *client,
               const struct fetch_failure **why_r)
{
    static const struct fetch_failure one = {
        .retry_after_s = RETRY_S,
        .reason = "too many requests of this client wait for the remote registry"};
    static const struct fetch_failure all = {
        .retry_after_s = RETRY_S, .reason = "too many requests wait for the remote registry"};
    unsigned left = SHARES_MAX - p->f->shares, own;
    struct share_client *c = *client ? client_of(p, client) : NULL;

    MUST(!s->proxy);
    if (p->shares >= left) {
        *why_r = &all;
        return ERR_BUSY;
    }
    own = left - p->shares < SHARES_CLIENT_MAX ? left - p->shares : SHARES_CLIENT_MAX;
    if (c && c->held >= own) {
        *why_r = &one;
        return ERR_BUSY;
    }
    if (*client && !c) {
        c = mem_alloc(sizeof(*c));
        c->name = mem_strdup(client);
        HASH_ADD_KEYPTR(hh, p->clients, c->name, strlen(c->name), c);
    }
    if (c)
        c->held++;
    p->shares++;
    p->f->shares++;
    s->proxy = p;
    s->client = c;
    return 0;
}

void share_give(struct share *s)
{
    struct proxy *p = s->proxy;
    struct share_client *c = s->client;

    if (!p)
        return;
    MUST(p->shares > 0 && p->f->shares > 0);
    p->shares--;
    p->f->shares--;
    if (c && --c->held == 0) {
        HASH_DEL(p->clients, c);
        free(c->name);
        free(c);
    }
    *s = (struct share){0};
}
