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
    const struct conf_connector *c = &call->api->conf->connectors[call->r->listener];
    const char *host = http_header_get(call->r, "Host");
    char local[NET_ADDR_TEXT_MAX];

    str_puts(out, *c->certificate.file ? "https://" : "http://");
    if (host && *host) /* HTTP/1.0 may be without */
        str_puts(out, host);
    else
        str_puts(out, net_addr_text((const struct sockaddr *)&call->r->local.ss, call->r->local.len,
                                    local));
}
