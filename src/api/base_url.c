/*
 * base_url.c - absolute URLs of our own.
 *
 * Runs in workers; pure. The Host header was checked against its grammar when
 * the head was parsed, so nothing can be smuggled into a header through it; and
 * what it names comes back to whoever sent it, to nobody else.
 */
#include "api/base_url.h"

void api_base_url(struct api_call *call, struct str *out)
{
    const struct http_request *r = call->r;
    const struct conf_connector *c = &call->api->conf->connectors[r->listener];
    char local[NET_ADDR_TEXT_MAX];

    if (*c->external_url) {
        str_puts(out, c->external_url);
        return;
    }
    str_puts(out, r->https ? "https://" : "http://");
    if (*r->authority) /* HTTP/1.0 may be without */
        str_puts(out, r->authority);
    else
        str_puts(out, net_addr_text((const struct sockaddr *)&r->local.ss, r->local.len, local));
}
