/*
 * conn_proxy.c - who is at the other end: what the PROXY protocol's head tells before
 * anything else, and a client's certificate.
 *
 * Runs in workers. Reads never behind the head: what follows belongs to TLS or to
 * HTTP, which begin as if nothing had been before. A crash here costs the worker's
 * connections.
 */
#include "http/proxy_protocol.h"

#include "base/mem.h"
#include "http/conn.h"
#include "http/io.h"

/* The head of the PROXY protocol is complete. */
static void proxy_done(struct http_conn *c, const struct proxy_protocol *p)
{
    c->in_at = c->in_len;
    if (p->known)
        c->client = p->client;
    c->client_tls = p->tls;
    if (p->known && !places_take(c, &c->client))
        c->state = CONN_DONE;
    else if (c->listener->tls && io_start_tls(&c->io, c->listener->tls) != 0)
        c->state = CONN_DONE;
    else
        conn_first_head(c);
}

enum conn_step conn_proxy_step(struct http_conn *c)
{
    struct proxy_protocol p;
    size_t missing, got;
    bool line;
    int err;

    if (!net_prefix_any(c->listener->proxies, c->listener->proxy_count, &c->peer)) {
        conn_refuse(c, 403, "this port is for proxies alone, and your address is not one of them");
        return STEP_STATE;
    }
    err = proxy_protocol_missing(c->in, c->in_len, &missing, &line);
    if (err == 0 && missing > 0) {
        err = line ? io_read_line(&c->io, c->server->buffer, missing, &got)
                   : io_read(&c->io, c->server->buffer, missing, &got);
        if (err == ERR_BUSY)
            return STEP_WAIT;
        if (err != 0)
            c->state = CONN_DONE;
        else
            conn_keep(c, c->server->buffer, got);
        return err != 0 ? STEP_STATE : STEP_AGAIN;
    }
    if (err == 0)
        err = proxy_protocol_parse(c->in, c->in_len, &p);
    if (err == 0)
        proxy_done(c, &p);
    else
        conn_refuse(c, 400, "this port expects the PROXY protocol from the proxy in front of it");
    return STEP_STATE;
}

/* Looked for at the first request: the handshake is over then. */
const char *conn_client_name(struct http_conn *c)
{
    char name[IO_CLIENT_NAME_MAX + 1];

    if (!c->served && c->listener->tls) {
        io_client_name(&c->io, name);
        if (*name)
            c->client_name = mem_strdup(name);
    }
    return c->client_name ? c->client_name : "";
}
