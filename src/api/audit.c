/*
 * audit.c - who did what. Runs in workers; owns nothing.
 */
#include "api/audit.h"

#include "api/login.h"
#include "base/log.h"

void audit_login_failed(struct api_call *call, const char *user, const char *reason)
{
    char peer[NET_ADDR_TEXT_MAX];

    log_notice("audit", "event=login-failed user=%s reason=%s client=%s req=%s", log_quote(user),
               reason, login_peer(call, peer), call->r->id);
}

static const char *event_of(const struct api_call *call)
{
    const struct http_request *r = call->r;

    if (call->route.kind == ROUTE_MANIFEST && r->method == HTTP_PUT && r->status == 201)
        return "push";
    if ((call->route.kind == ROUTE_MANIFEST || call->route.kind == ROUTE_BLOB) &&
        r->method == HTTP_DELETE && r->status == 202)
        return "delete";
    return NULL;
}

void audit_request(struct api_call *call)
{
    const char *event = event_of(call);
    const char *user = call->user && call->user->known ? call->user->name : "-";
    char peer[NET_ADDR_TEXT_MAX];

    if (event)
        log_notice("audit", "event=%s user=%s repo=%s image=%s ref=%s client=%s req=%s", event,
                   user, call->route.repo->name, call->route.image, log_quote(call->route.ref),
                   login_peer(call, peer), call->r->id);
}
