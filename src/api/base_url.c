/*
 * base_url.c - absolute URLs of our own.
 *
 * Runs in workers; pure. The Host header was checked against its grammar when
 * the head was parsed, so nothing can be smuggled into a header through it; and
 * what it names comes back to whoever sent it, to nobody else.
 */
#include "api/base_url.h"

#include "base/mem.h"

static const struct conf_connector *connector_of(const struct api_call *call)
{
    return &call->api->conf->connectors[call->r->listener];
}

/* Is external_url what this client uses? */
static bool is_external(const struct api_call *call)
{
    const struct conf_connector *c = connector_of(call);

    return *c->external_url && !conf_host_by_name(c, call->r->host);
}

void api_base_url(struct api_call *call, struct str *out)
{
    const struct http_request *r = call->r;
    char local[NET_ADDR_TEXT_MAX];

    if (is_external(call)) {
        str_puts(out, connector_of(call)->external_url);
        return;
    }
    str_puts(out, r->https ? "https://" : "http://");
    if (*r->authority) /* HTTP/1.0 may be without */
        str_puts(out, r->authority);
    else
        str_puts(out, net_addr_text((const struct sockaddr *)&r->local.ss, r->local.len, local));
}

const char *api_location_base(struct api_call *call)
{
    enum conf_absolute absolute = connector_of(call)->absolute_location;
    struct str url = {0};
    const char *base;

    if (absolute == CONF_ABSOLUTE_NEVER || (absolute == CONF_ABSOLUTE_AUTO && !is_external(call)))
        return call->route.base;
    api_base_url(call, &url);
    base = mem_arena_printf(call->r->arena, "%s%s", url.data, call->route.base);
    str_free(&url);
    return base;
}
