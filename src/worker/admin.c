/*
 * admin.c - the admin listener: health and metrics.
 *
 * Runs in workers, behind listeners of their own: whoever reaches them is
 * trusted with numbers, not with content. A worker tells what all processes have
 * counted in shared memory and asks the catalog for the rest; one that does not
 * answer within its deadline leaves its numbers out. Changes nothing.
 */
#include "worker/admin.h"

#include "api/problem.h"
#include "base/container.h"
#include "ipc/msg_stats.h"
#include "worker/metrics.h"

#include <string.h>
#include <unistd.h>

enum health_kind { HEALTH_ALL, HEALTH_READY, HEALTH_LIVE };

struct admin_call {
    const struct admin *admin;
    struct http_request *r;
    struct ask ask;
    struct str body;
    enum health_kind kind;
};

/* A superseded map counts: requests wait a moment for its successor. */
static bool index_here(const struct api *api)
{
    return api->index.header && atomic_load(&api->index.header->state) != INDEX_BUILDING;
}

static void finish(struct http_request *r)
{
    struct admin_call *call = r->handler_data;

    str_free(&call->body);
}

static void metrics_send(struct admin_call *call)
{
    http_header_add(call->r, "Content-Type", "text/plain; version=0.0.4; charset=utf-8");
    http_answer_memory(call->r, 200, call->body.data, call->body.len);
}

static void proxies_answer(struct ask *ask, int err, struct msg_reader *reply, int fd)
{
    struct admin_call *call = CONTAINER_OF(ask, struct admin_call, ask);

    if (fd >= 0)
        close(fd);
    metrics_proxies(call->admin, err == 0 && reply_err_get(reply) == 0 ? reply : NULL, &call->body);
    metrics_send(call);
}

static void metrics_of_fetcher(struct admin_call *call)
{
    struct link *fetcher = call->admin->api->fetcher;

    if (!fetcher) {
        metrics_send(call);
        return;
    }
    call->ask.done = proxies_answer;
    link_ask_begin(fetcher, &call->ask, MSG_PROXY_STATUS);
    link_ask_send(fetcher, &call->ask);
}

static void metrics_answer(struct ask *ask, int err, struct msg_reader *reply, int fd)
{
    struct admin_call *call = CONTAINER_OF(ask, struct admin_call, ask);

    if (fd >= 0)
        close(fd);
    metrics_text(call->admin, err == 0 && reply_err_get(reply) == 0 ? reply : NULL, &call->body);
    metrics_of_fetcher(call);
}

static void metrics(struct admin_call *call)
{
    struct link *catalog = call->admin->api->catalog;

    call->ask.done = metrics_answer;
    if (!link_connected(catalog)) {
        metrics_answer(&call->ask, ERR_UNAVAILABLE, NULL, -1);
        return;
    }
    link_ask_begin(catalog, &call->ask, MSG_CATALOG_STATS);
    link_ask_send(catalog, &call->ask);
}

/* Of a MSG_CATALOG_STATS: can each blob store be opened? *lost_r: a database that lacks something
 * is closed. */
static bool stores_open(struct msg_reader *r, bool *lost_r)
{
    bool all = true;

    *lost_r = false;

    for (uint32_t left = reply_count_get(r); left > 0 && !r->bad; left--)
        stats_repo_get(r, &(struct stats_repo){0});
    for (uint32_t left = reply_count_get(r); left > 0 && !r->bad; left--) {
        struct stats_store store;

        stats_store_get(r, &store);
        all = all && store.open;
        *lost_r = *lost_r || store.lost;
    }
    return all && !r->bad;
}

/* `catalog`: it answers, with an open database; `stores`: all of them are open, too. Whoever
 * balances load asks for /health/ready: pulls go on without the catalog, and of other stores
 * without one, so neither counts there. */
static void health_answer(struct admin_call *call, bool catalog, bool stores)
{
    bool index = index_here(call->admin->api);
    bool good =
        call->kind == HEALTH_LIVE || (index && ((catalog && stores) || call->kind == HEALTH_READY));

    str_printf(&call->body, "{\"status\":\"%s\"", good ? "ok" : "unavailable");
    if (call->kind != HEALTH_LIVE)
        str_printf(&call->body, ",\"pulls\":\"%s\"", index ? "ok" : "unavailable");
    if (call->kind == HEALTH_ALL)
        str_printf(&call->body, ",\"pushes\":\"%s\"", index && catalog ? "ok" : "unavailable");
    if (call->kind == HEALTH_ALL && catalog)
        str_printf(&call->body, ",\"blobstores\":\"%s\"", stores ? "ok" : "unavailable");
    str_puts(&call->body, "}\n");
    http_header_add(call->r, "Content-Type", "application/json");
    http_header_add(call->r, "Cache-Control", "no-store");
    http_answer_memory(call->r, good ? 200 : 503, call->body.data, call->body.len);
}

static void health_told(struct ask *ask, int err, struct msg_reader *reply, int fd)
{
    struct admin_call *call = CONTAINER_OF(ask, struct admin_call, ask);
    bool catalog, stores, lost = false;

    if (fd >= 0)
        close(fd);
    catalog = err == 0 && reply_err_get(reply) == 0;
    stores = catalog && stores_open(reply, &lost);
    health_answer(call, catalog && !lost, stores);
}

static void health(struct admin_call *call, enum health_kind kind)
{
    struct link *catalog = call->admin->api->catalog;

    call->kind = kind;
    if (kind != HEALTH_ALL || !link_connected(catalog)) {
        health_answer(call, false, false);
        return;
    }
    call->ask.done = health_told;
    link_ask_begin(catalog, &call->ask, MSG_CATALOG_STATS);
    link_ask_send(catalog, &call->ask);
}

void admin_handle(const struct admin *admin, struct http_request *r)
{
    struct admin_call *call = mem_arena_alloc(r->arena, sizeof(*call));

    call->admin = admin;
    call->r = r;
    r->handler_data = call;
    r->on_finish = finish;
    if (r->method != HTTP_GET && r->method != HTTP_HEAD)
        problem_method(r, "GET, HEAD");
    else if (strcmp(r->path, "/metrics") == 0)
        metrics(call);
    else if (strcmp(r->path, "/health") == 0)
        health(call, HEALTH_ALL);
    else if (strcmp(r->path, "/health/ready") == 0)
        health(call, HEALTH_READY);
    else if (strcmp(r->path, "/health/live") == 0)
        health(call, HEALTH_LIVE);
    else
        problem_answer_status(r, 404,
                              "there are /health, /health/live, /health/ready and /metrics");
}
