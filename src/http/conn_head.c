/*
 * conn_head.c - request heads: read, found to be complete, handed to the parser.
 *
 * Runs in workers. A head that comes whole, as nearly all do, is parsed where it was read, in the
 * server's one buffer; only what comes in pieces is kept in the connection. A crash here costs the
 * worker's connections and nothing stored.
 */
#include "http/conn.h"
#include "http/io.h"

#include <string.h>

#define TLS_HANDSHAKE   0x16
#define EMPTY_LINES_MAX 2

static void head_complete(struct http_conn *c, size_t len)
{
    const char *reason;
    int status;

    conn_request_begin(c);
    status = http1_parse_head(&c->r, c->in + c->in_at, len, &reason);
    c->in_at += len;
    conn_release(c);
    conn_body_begin(c);
    if (status != 0)
        conn_refuse(c, status, reason);
    else
        c->server->setup.on_request(&c->r, c->server->setup.ctx);
}

/* Looks at what was read. False: a complete head is not there yet. */
static bool head_there(struct http_conn *c)
{
    const char *at;
    size_t left, len;

    while (c->empty_lines < EMPTY_LINES_MAX && c->in_len - c->in_at >= 2 &&
           memcmp(c->in + c->in_at, "\r\n", 2) == 0) {
        c->in_at += 2;
        c->empty_lines++;
    }
    if (c->in_at == c->in_len)
        return false;
    at = c->in + c->in_at;
    left = c->in_len - c->in_at;
    if ((uint8_t)*at == TLS_HANDSHAKE) {
        /* Go's clients know plain HTTP in answer to their handshake, and some
         * (docker manifest --insecure) fall back to HTTP on nothing else. */
        c->in_at = c->in_len;
        conn_refuse(c, 400, "this port speaks plain HTTP, not TLS");
        return true;
    }
    if (left > HTTP_HEAD_MAX)
        left = HTTP_HEAD_MAX;
    len = http1_head_length(at, left);
    if (len > 0) {
        head_complete(c, len);
        return true;
    }
    if (left == HTTP_HEAD_MAX) {
        conn_refuse(c, memchr(at, '\n', left) ? 431 : 414, "the request head is too long");
        return true;
    }
    return false;
}

/* The same of what has just come into the server's buffer, which is only lent: what is left of it
 * moves into one of the connection's own. */
static bool head_lent(struct http_conn *c, size_t got)
{
    bool there;

    c->in = c->server->buffer;
    c->in_at = 0;
    c->in_len = got;
    there = head_there(c);
    if (c->in) {
        size_t at = c->in_at;

        c->in = NULL;
        c->in_at = c->in_len = 0;
        conn_keep(c, c->server->buffer + at, got - at);
    }
    return there;
}

enum conn_step conn_head_step(struct http_conn *c)
{
    size_t got;
    int err;

    if (head_there(c))
        return STEP_STATE;
    err = io_read(&c->io, c->server->buffer, HTTP_HEAD_MAX, &got);
    if (err == ERR_BUSY)
        return STEP_WAIT;
    if (err == ERR_PROTOCOL) {
        conn_refuse(c, 400, "this port speaks HTTPS, not plain HTTP: use https://");
        return STEP_STATE;
    }
    if (err != 0) {
        c->state = CONN_DONE;
        return STEP_STATE;
    }
    if (!c->in && c->empty_lines == 0)
        conn_deadline_in(c, c->server->setup.limits.head_timeout_ms);
    atomic_fetch_add_explicit(&c->server->setup.counters->bytes_in, got, memory_order_relaxed);
    if (!c->in) /* as a rule the whole head is there, and nothing behind it */
        return head_lent(c, got) ? STEP_STATE : STEP_AGAIN;
    conn_keep(c, c->server->buffer, got);
    return STEP_AGAIN;
}
