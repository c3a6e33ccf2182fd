/*
 * burden.c - memory of requests whose clients take, or send, their time.
 *
 * Runs in workers, on the loop; one a worker. A crash here costs requests.
 */
#include "api/burden.h"

#include "api/upstream.h"
#include "base/mem.h"
#include "ipc/msg_fetch.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

struct burden_client {
    size_t bytes;
    unsigned requests; /* that know it */
    UT_hash_handle hh;
    char name[FETCH_CLIENT_MAX + 1]; /* of upstream_client() */
};

struct burden {
    size_t bytes, bytes_max;
    struct burden_client *clients;
};

struct burden *burden_new(size_t bytes_max)
{
    struct burden *all = mem_alloc(sizeof(*all));

    all->bytes_max = bytes_max;
    return all;
}

static struct burden_client *client_of(struct api_call *call)
{
    struct burden *all = call->api->burden;
    char name[FETCH_CLIENT_MAX + 1];
    struct burden_client *c;

    upstream_client(call, name);
    HASH_FIND_STR(all->clients, name, c);
    if (!c) {
        c = mem_alloc(sizeof(*c));
        strcpy(c->name, name);
        HASH_ADD_STR(all->clients, name, c);
    }
    c->requests++;
    return c;
}

static void count(struct api_call *call, size_t bytes)
{
    struct burden *all = call->api->burden;

    all->bytes += bytes - call->burden;
    call->burden_of->bytes += bytes - call->burden;
    call->burden = bytes;
}

bool burden_fits(struct api_call *call, size_t more)
{
    const struct burden *all = call->api->burden;
    size_t bytes = call->body.cap + mem_arena_used(call->r->arena) + more;

    if (bytes <= BURDEN_FREE || bytes <= call->burden)
        return true;
    if (!call->burden_of)
        call->burden_of = client_of(call);
    if (call->burden_of->bytes + (bytes - call->burden) > all->bytes_max - all->bytes) {
        problem_answer(call->r, PROBLEM_TOO_MUCH_AT_ONCE, NULL);
        str_free(&call->body);
        return false;
    }
    count(call, bytes);
    return true;
}

void burden_release(struct api_call *call)
{
    struct burden_client *c = call->burden_of;

    if (!c)
        return;
    count(call, 0);
    call->burden_of = NULL;
    if (--c->requests > 0)
        return;
    HASH_DEL(call->api->burden->clients, c);
    free(c);
}
