/*
 * places.c - who gets a place among a worker's connections.
 *
 * Runs in workers. Places are few and connecting costs nothing: when none is left, or an address
 * has its share, whoever has been waiting for a request the longest goes, as in nginx. A
 * connection is idle from the end of its last answer, or from its beginning, until a request is
 * complete; single bytes make nobody younger. A crash here costs the worker's connections.
 */
#include "base/log.h"
#include "base/mem.h"
#include "base/siphash.h"
#include "http/conn.h"

#include <stdlib.h>

static uint64_t address_hash(const uint8_t seed[16], const void *key, size_t len)
{
    uint64_t out[2];

    siphash_128(seed, key, len, out);
    return out[0];
}

/* Keyed: clients choose their addresses. `server` is in sight wherever the table is used. */
#define HASH_FUNCTION(key, len, hashv)                                                             \
    ((hashv) = (unsigned)address_hash(server->address_seed, (key), (len)))
#include <uthash.h>

#define WARN_EVERY_MS 60000
/* Idle connections looked at for one new one: a request may have come on some by now. */
#define LOOKS_MAX 16

/* Connections of one address (struct net_prefix: of IPv6 a /64). */
struct http_address {
    uint8_t key[16];
    size_t count;
    TAILQ_HEAD(, http_conn) idle; /* the longest first */
    UT_hash_handle hh;
};

static struct http_address *address_find(struct http_server *server, const uint8_t key[16])
{
    struct http_address *a;

    HASH_FIND(hh, server->addresses, key, sizeof(a->key), a);
    return a;
}

static struct http_address *address_new(struct http_server *server, const uint8_t key[16])
{
    struct http_address *a = mem_alloc(sizeof(*a));

    memcpy(a->key, key, sizeof(a->key));
    TAILQ_INIT(&a->idle);
    HASH_ADD(hh, server->addresses, key, sizeof(a->key), a);
    return a;
}

/* `key`: of an address; NULL: among all. */
static bool room(struct http_server *server, const uint8_t *key)
{
    const struct http_limits *limits = &server->setup.limits;
    const struct http_address *a;

    if (!key)
        return server->conn_count < limits->max_connections;
    a = address_find(server, key);
    return limits->max_per_address == 0 || !a || a->count < limits->max_per_address;
}

static struct http_conn *longest_idle(struct http_server *server, const uint8_t *key)
{
    struct http_address *a;

    if (!key)
        return TAILQ_FIRST(&server->idle);
    a = address_find(server, key);
    return a ? TAILQ_FIRST(&a->idle) : NULL;
}

static bool room_make(struct http_server *server, const uint8_t *key)
{
    struct http_conn *c;

    for (int i = 0; i < LOOKS_MAX && !room(server, key); i++) {
        uint64_t requests = server->id_next;

        c = longest_idle(server, key);
        if (!c)
            return false;
        conn_run(c); /* a request may have arrived by now: then it stays */
        if (c->state != CONN_DONE && server->id_next == requests)
            conn_drop(c);
    }
    return room(server, key);
}

/* Is this line due again? */
static bool told(struct http_server *server, uint64_t *told_ms)
{
    uint64_t now = loop_now_ms(server->setup.loop);

    if (*told_ms != 0 && now - *told_ms < WARN_EVERY_MS)
        return true;
    *told_ms = now;
    return false;
}

bool places_room(struct http_server *server)
{
    if (room(server, NULL))
        return true;
    if (!told(server, &server->told_full_ms))
        log_warn("all connections are in use: those that have been idle the longest are closed "
                 "for new ones, which wait while there are none; raise max_connections or workers",
                 "connections=%zu", server->conn_count);
    return room_make(server, NULL);
}

bool places_give_way(struct http_server *server)
{
    size_t before = server->conn_count;
    struct http_conn *c = longest_idle(server, NULL);

    if (c)
        conn_drop(c);
    return server->conn_count < before;
}

bool places_take(struct http_conn *c, const struct net_addr *addr)
{
    struct http_server *server = c->server;
    char text[NET_PREFIX_TEXT_MAX];
    struct net_prefix holder;
    struct http_address *a;

    net_prefix_holder(addr, &holder);
    if (!room_make(server, holder.bytes)) {
        if (!told(server, &server->told_share_ms))
            log_warn("an address has its share of connections: more of it are closed unless others "
                     "of it are idle; if it is a proxy's, name it in trusted_proxies, or raise "
                     "max_connections_per_address",
                     "address=%s share=%llu", net_prefix_text(&holder, text),
                     (unsigned long long)server->setup.limits.max_per_address);
        return false;
    }
    a = address_find(server, holder.bytes);
    if (!a)
        a = address_new(server, holder.bytes);
    a->count++;
    c->address = a;
    if (c->idle)
        TAILQ_INSERT_TAIL(&a->idle, c, idle_of_address);
    return true;
}

void places_idle(struct http_conn *c)
{
    if (c->idle)
        return;
    c->idle = true;
    TAILQ_INSERT_TAIL(&c->server->idle, c, idle_entry);
    if (c->address)
        TAILQ_INSERT_TAIL(&c->address->idle, c, idle_of_address);
    server_conn_idle(c->server);
}

void places_busy(struct http_conn *c)
{
    if (!c->idle)
        return;
    c->idle = false;
    TAILQ_REMOVE(&c->server->idle, c, idle_entry);
    if (c->address)
        TAILQ_REMOVE(&c->address->idle, c, idle_of_address);
}

void places_leave(struct http_conn *c)
{
    struct http_server *server = c->server;
    struct http_address *a = c->address;

    places_busy(c);
    c->address = NULL;
    if (!a || --a->count > 0)
        return;
    HASH_DEL(server->addresses, a);
    free(a);
}
