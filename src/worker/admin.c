/*
 * admin.c - the admin listener: health and metrics.
 *
 * Runs in workers, behind listeners of their own: whoever reaches them is
 * trusted with numbers, not with content. A worker tells what all processes have
 * counted in shared memory and asks the catalog for the rest; one that does not
 * answer within its deadline leaves its numbers out.
 */
#include "worker/admin.h"

#include "api/problem.h"
#include "worker/metrics.h"

#include <string.h>
#include <unistd.h>

struct admin_call {
    const struct admin *admin;
    struct http_request *r;
    struct ask ask;
    struct str body;
};

static void finish(struct http_request *r)
{
    struct admin_call *call = r->handler_data;

    str_free(&call->body);
}

static void metrics_answer(struct ask *ask, int err, struct msg_reader *reply, int fd)
{
    struct admin_call *call = (struct admin_call *)((char *)ask - offsetof(struct admin_call, ask));

    if (fd >= 0)
        close(fd);
    metrics_text(call->admin, err == 0 && msg_get_i32(reply) == 0 ? reply : NULL, &call->body);
    http_header_add(call->r, "Content-Type", "text/plain; version=0.0.4; charset=utf-8");
    http_answer_memory(call->r, 200, call->body.data, call->body.len);
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

static void health(struct admin_call *call, bool only_live)
{
    const struct api *api = call->admin->api;
    bool index = api->index.header && atomic_load(&api->index.header->state) == INDEX_COMPLETE;
    bool catalog = link_connected(api->catalog);
    bool good = only_live || (index && catalog);

    str_printf(&call->body, "{\"status\":\"%s\"", good ? "ok" : "unavailable");
    if (!only_live)
        str_printf(&call->body, ",\"pulls\":\"%s\",\"pushes\":\"%s\"", index ? "ok" : "unavailable",
                   index && catalog ? "ok" : "unavailable");
    str_puts(&call->body, "}\n");
    http_header_add(call->r, "Content-Type", "application/json");
    http_header_add(call->r, "Cache-Control", "no-store");
    http_answer_memory(call->r, good ? 200 : 503, call->body.data, call->body.len);
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
    else if (strcmp(r->path, "/health") == 0 || strcmp(r->path, "/health/ready") == 0)
        health(call, false);
    else if (strcmp(r->path, "/health/live") == 0)
        health(call, true);
    else
        problem_answer_status(r, 404,
                              "there are /health, /health/live, /health/ready and /metrics");
}
