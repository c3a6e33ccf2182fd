/*
 * worker.c - the worker process.
 *
 * Accepts on the inherited listeners, answers from the shared index and the
 * blob stores, and asks the catalog for changes and lists. Owns its
 * connections, its map of the index and its tally page, nothing durable. A
 * crash here costs its connections.
 */
#include "worker/worker.h"

#include "api/api.h"
#include "base/container.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "http/forwarded.h"
#include "http/tls.h"
#include "worker/access.h"
#include "worker/admin.h"

#include <stdlib.h>
#include <sys/queue.h>
#include <unistd.h>

#define DRAIN_BYTES (1u << 20)
/* Requests wait this long for a new index; a start waits for a first one as long. */
#define INDEX_WAIT_MS 5000
/* For a first index less: who has none yet can only say so. */
#define FIRST_WAIT_MS 500

struct parked {
    struct http_request *r;
    uint64_t since_ms;
    STAILQ_ENTRY(parked) entry;
};

struct worker {
    const struct role_start *start;
    struct loop *loop;
    struct role *role;
    struct api *api;
    struct admin admin;
    struct http_server *server;
    struct tls **tls; /* by place of the connector; NULL: plain HTTP */
    struct ask hello;
    struct loop_timer index_timer, drain_timer;
    STAILQ_HEAD(, parked) parked; /* requests that wait for a new index */
    bool no_index;                /* the catalog has none: it cannot open its database */
    bool serving;
};

static void worker_serve(struct worker *w);

static bool index_fresh(const struct worker *w)
{
    uint32_t state;

    if (!w->api->index.header)
        return false;
    state = atomic_load_explicit(&w->api->index.header->state, memory_order_acquire);
    return state == INDEX_COMPLETE || state == INDEX_PARTIAL;
}

static void worker_dispatch(struct worker *w, struct http_request *r)
{
    if (index_fresh(w))
        api_handle(w->api, r);
    else
        api_bad_request(r, 503,
                        w->api->index.header ? "the index is being replaced, try again"
                                             : "the database is not open, try again later");
}

static void parked_release(struct worker *w, bool all)
{
    uint64_t now = loop_now_ms(w->loop);
    uint64_t wait = w->api->index.header ? INDEX_WAIT_MS : FIRST_WAIT_MS;
    struct parked *p;

    while ((p = STAILQ_FIRST(&w->parked)) != NULL) {
        if (!all && now - p->since_ms < wait)
            break;
        STAILQ_REMOVE_HEAD(&w->parked, entry);
        worker_dispatch(w, p->r); /* p lies in the request's arena: not touched again */
    }
}

static void index_timer(struct loop_timer *timer)
{
    struct worker *w = CONTAINER_OF(timer, struct worker, index_timer);

    parked_release(w, false);
    if (!STAILQ_EMPTY(&w->parked))
        loop_timer_set(w->loop, &w->index_timer, INDEX_WAIT_MS / 10);
    if (!w->serving)
        worker_serve(w); /* the catalog is dead: what the old map knows can be pulled */
}

static void index_take(struct worker *w, int fd)
{
    if (index_map_take(&w->api->index, fd) == 0)
        w->no_index = false;
    if (index_fresh(w))
        parked_release(w, true);
    if (!w->serving)
        worker_serve(w);
}

static void hello_done(struct ask *ask, int err, struct msg_reader *reply, int fd)
{
    struct worker *w = CONTAINER_OF(ask, struct worker, hello);

    if (err == 0 && reply_err_get(reply) == 0 && fd >= 0) {
        index_take(w, fd);
        return;
    }
    if (fd >= 0)
        close(fd);
    if (err != 0)
        return;
    /* The map from the master, if there is one, is as true as ever. */
    w->no_index = !w->api->index.header;
    parked_release(w, w->no_index);
    if (!w->serving)
        worker_serve(w);
}

/* Every new line to the catalog begins with taking its index: what it
 * published while we were away was not told to us. */
static void catalog_connected(struct link *link, void *ctx)
{
    struct worker *w = ctx;

    w->hello.done = hello_done;
    link_ask_begin(link, &w->hello, MSG_CATALOG_HELLO);
    link_ask_send_first(link, &w->hello);
}

static void catalog_message(struct link *link, struct msg_reader *message, int fd, void *ctx)
{
    (void)link;
    if (message->type == MSG_INDEX_NEW) {
        index_take(ctx, fd);
        return;
    }
    log_warn("unexpected message from the catalog", "type=%s", msg_name(message->type));
    if (fd >= 0)
        close(fd);
}

static void worker_request(struct http_request *r, void *ctx)
{
    struct worker *w = ctx;
    const struct conf_connector *connector = &w->start->conf->connectors[r->listener];
    struct parked *p;

    if (connector->admin) {
        admin_handle(&w->admin, r);
        return;
    }
    forwarded_apply(r, connector->trusted_proxies, connector->trusted_count);
    if (!index_fresh(w))
        link_poll(w->api->catalog); /* a successor lies in the socket before the end mark is set */
    if (index_fresh(w) || w->no_index) {
        worker_dispatch(w, r);
        return;
    }
    p = mem_arena_alloc(r->arena, sizeof(*p));
    p->r = r;
    p->since_ms = loop_now_ms(w->loop);
    STAILQ_INSERT_TAIL(&w->parked, p, entry);
    loop_timer_set(w->loop, &w->index_timer, FIRST_WAIT_MS / 2);
}

static void worker_bad_request(struct http_request *r, int status, const char *reason, void *ctx)
{
    (void)ctx;
    api_bad_request(r, status, reason);
}

static void worker_log(const struct http_request *r, void *ctx)
{
    (void)ctx;
    access_log(r);
}

static void worker_drained(void *ctx)
{
    struct worker *w = ctx;

    loop_stop(w->loop);
}

static void drain_timer(struct loop_timer *timer)
{
    struct worker *w = CONTAINER_OF(timer, struct worker, drain_timer);

    log_warn("connections did not end in time: closing them", "connections=%zu",
             http_server_connections(w->server));
    loop_stop(w->loop);
}

static void worker_stop(bool drain, void *ctx)
{
    struct worker *w = ctx;

    if (!drain || !w->serving) {
        loop_stop(w->loop);
        return;
    }
    loop_timer_set(w->loop, &w->drain_timer, w->start->conf->drain_timeout_ms);
    http_server_drain(w->server);
    /* From here on whoever connects, or reuses a connection, meets the new configuration. */
    log_notice("finishing: no new requests are taken", "connections=%zu",
               http_server_connections(w->server));
}

static void worker_reopen(void *ctx)
{
    (void)ctx;
    if (access_reopen() != 0)
        log_error("cannot reopen the access log; writing to the old file", NULL);
}

static void worker_serve(struct worker *w)
{
    const struct conf *conf = w->start->conf;
    struct http_server_setup setup = {
        .loop = w->loop,
        .limits = {.head_timeout_ms = conf->head_timeout_ms,
                   .keepalive_timeout_ms = conf->keepalive_timeout_ms,
                   .rate_window_ms = conf->rate_window_ms,
                   .min_rate = conf->min_rate,
                   .max_connections = conf->max_connections,
                   .max_per_address = conf->max_connections_per_address,
                   .drain_bytes = DRAIN_BYTES},
        .counters = &w->api->tally->http,
        .pool = w->api->reads,
        .on_request = worker_request,
        .on_bad_request = worker_bad_request,
        .on_log = worker_log,
        .on_drained = worker_drained,
        .ctx = w,
    };

    w->serving = true;
    MUST(http_server_new(&setup, &w->server) == 0);
    for (size_t i = 0; i < conf->connector_count; i++) {
        const struct conf_connector *c = &conf->connectors[i];

        MUST(http_server_listen(w->server, w->start->connector_fds[i], i, w->tls[i]) == 0);
        http_server_proxies(w->server, i, c->trusted_proxies, c->trusted_count, c->proxy_protocol);
    }
    role_ready(w->role);
}

/* The master has had them checked: what fails now is memory. */
static int worker_certificates(struct worker *w)
{
    const struct role_start *start = w->start;
    struct str why = {0};
    int err = 0;

    w->tls = mem_alloc_array(start->conf->connector_count + 1, sizeof(struct tls *));
    for (size_t i = 0; i < start->conf->connector_count && err == 0; i++)
        if (start->certificates[i].count > 0)
            err = tls_new(&start->certificates[i], start->tickets, &w->tls[i], &why);
    if (err != 0)
        log_lines(LOG_LEVEL_ERROR, "a certificate cannot be used", &why);
    str_free(&why);
    return err;
}

static int worker_open(struct worker *w)
{
    const struct api_setup setup = {.start = w->start,
                                    .loop = w->loop,
                                    .on_catalog = catalog_connected,
                                    .on_catalog_message = catalog_message,
                                    .ctx = w};

    if (access_open(w->start->conf->access_log) != 0)
        log_error("cannot open the access log: requests are not logged", "path=%s",
                  log_quote(w->start->conf->access_log));
    return api_new(&setup, &w->api);
}

int worker_main(const struct role_start *start)
{
    /* Left as it is at the end: requests may wait for threads and answers, and
     * the kernel cleans up faster. Static, so that leak checkers see what holds it. */
    static struct worker only;
    struct worker *w = &only;
    struct role_setup role = {
        .start = start, .on_stop = worker_stop, .on_reopen = worker_reopen, .ctx = w};

    role_confine(start);
    w->start = start;
    w->loop = loop_new();
    role.loop = w->loop;
    w->role = role_begin(&role);
    w->index_timer.fire = index_timer;
    w->drain_timer.fire = drain_timer;
    STAILQ_INIT(&w->parked);
    if (worker_certificates(w) != 0 || worker_open(w) != 0)
        return EXIT_FAILURE;
    w->admin = (struct admin){.api = w->api, .tally = start->tally};
    loop_timer_set(w->loop, &w->index_timer, FIRST_WAIT_MS);
    loop_run(w->loop);
    return EXIT_SUCCESS;
}
