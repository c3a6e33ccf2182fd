/*
 * conn_body.c - request bodies on their way to a handler, or away.
 *
 * Runs in workers. Bytes go through one buffer of the server; what was read too
 * far waits in the connection and is used first. Nothing is read while the
 * handler has paused, or before it asked. A crash here costs the worker's connections.
 */
#include "base/must.h"
#include "http/conn.h"
#include "http/io.h"

#include <stdlib.h>
#include <string.h>

static const char continue_line[] = "HTTP/1.1 100 Continue\r\n\r\n";

void conn_release(struct http_conn *c)
{
    if (c->in_at < c->in_len)
        return;
    if (c->in != c->server->buffer)
        free(c->in);
    c->in = NULL;
    c->in_at = c->in_len = 0;
}

void conn_keep(struct http_conn *c, const char *data, size_t len)
{
    size_t left = c->in_len - c->in_at;

    if (len == 0)
        return;
    if (left > 0 && c->in_at > 0)
        memmove(c->in, c->in + c->in_at, left);
    c->in = mem_grow(c->in, left + len);
    memcpy(c->in + left, data, len);
    c->in_at = 0;
    c->in_len = left + len;
}

void conn_body_begin(struct http_conn *c)
{
    c->body = c->r.chunked      ? CONN_BODY_CHUNKED
              : c->r.length > 0 ? CONN_BODY_LENGTH
                                : CONN_BODY_NONE;
    c->body_left = c->r.length;
    c->chunked = (struct http1_chunked){0};
    c->body_done = c->body == CONN_BODY_NONE;
    c->body_wanted = c->body_paused = c->body_refused = c->body_ended = false;
    c->body_flows = false;
    c->swallowed = 0;
}

void http_body_start(struct http_request *r)
{
    struct http_conn *c = r->conn;
    struct iovec part = {(char *)(uintptr_t)continue_line, sizeof(continue_line) - 1};
    size_t done;

    MUST(r->on_body && r->on_body_end && !c->body_wanted && !r->answered);
    c->body_wanted = true;
    /* So few bytes find room behind an empty send queue, or the peer is gone. */
    if (r->expect_continue && !c->body_done && c->in_at == c->in_len &&
        (io_write(&c->io, &part, 1, false, &done) != 0 || done != part.iov_len))
        c->aborted = true;
    conn_kick(c);
}

void http_body_pause(struct http_request *r)
{
    r->conn->body_paused = true;
}

void http_body_resume(struct http_request *r)
{
    r->conn->body_paused = false;
    conn_kick(r->conn);
}

bool conn_body_due(const struct http_conn *c)
{
    return c->body_wanted && !c->body_ended && !c->body_refused && !c->body_paused &&
           !c->r.answered;
}

/* Cuts the next run of payload out of raw bytes. */
static int decode(struct http_conn *c, const char *raw, size_t len, size_t *used_r,
                  const char **data_r, size_t *data_len_r)
{
    if (c->body == CONN_BODY_CHUNKED)
        return http1_chunked_decode(&c->chunked, raw, len, used_r, data_r, data_len_r,
                                    &c->body_done);
    *data_len_r = len < c->body_left ? len : (size_t)c->body_left;
    *data_r = raw;
    *used_r = *data_len_r;
    c->body_left -= *data_len_r;
    c->body_done = c->body_left == 0;
    return 0;
}

static bool gives_up(const struct http_conn *c)
{
    if (c->aborted || c->body_done)
        return true;
    if (c->state == CONN_HANDLE)
        return !conn_body_due(c);
    return c->swallowed > c->server->setup.limits.drain_bytes;
}

/* Raw bytes through the decoder; how many were used in *used_r. */
static int feed(struct http_conn *c, const char *raw, size_t len, size_t *used_r)
{
    size_t at = 0;
    int err = 0;

    while (at < len && err == 0 && !gives_up(c)) {
        const char *data = NULL;
        size_t used = 0, data_len = 0;

        err = decode(c, raw + at, len - at, &used, &data, &data_len);
        at += used;
        c->moved += data_len;
        if (c->state != CONN_HANDLE)
            c->swallowed += used; /* framing too: one-byte chunks are no way around the limit */
        else if (data_len > 0 && c->r.on_body(&c->r, data, data_len) != 0)
            c->body_refused = true;
    }
    *used_r = at;
    return err;
}

void conn_body_broken(struct http_conn *c, int err)
{
    c->stream_lost = true;
    if (c->state != CONN_HANDLE)
        return;
    if (err == ERR_CLOSED)
        c->aborted = true;
    if (err == ERR_TIMEOUT)
        conn_refuse(c, 408, "the request body comes too slowly");
    else if (err == ERR_INVALID)
        conn_refuse(c, 400, "the chunked body is malformed");
    c->body_ended = true;
    c->r.on_body_end(&c->r, err);
}

/* A body whose bytes are nothing but payload is read to where the handler wants it; not
 * while we wait for its client, for whom the handler would hold memory. */
static int read_some(struct http_conn *c, char **data_r, size_t *len_r)
{
    size_t cap = HTTP_BUFFER;
    int err;

    *data_r = c->server->buffer;
    if (c->body_flows && c->body == CONN_BODY_LENGTH && c->state == CONN_HANDLE &&
        c->r.on_body_room)
        *data_r = c->r.on_body_room(&c->r, &cap);
    if (c->body == CONN_BODY_LENGTH && c->body_left < cap)
        cap = (size_t)c->body_left;
    err = io_read(&c->io, *data_r, cap, len_r);
    c->body_flows = err == 0 && *len_r == cap;
    return err;
}

enum conn_step conn_body_step(struct http_conn *c)
{
    size_t len, used = 0;
    char *data;
    int err;

    if (c->body_done) {
        c->body_ended = true;
        c->r.on_body_end(&c->r, 0);
        return STEP_STATE;
    }
    if (c->in_at < c->in_len) {
        err = feed(c, c->in + c->in_at, c->in_len - c->in_at, &used);
        c->in_at += used;
    } else {
        err = read_some(c, &data, &len);
        if (err == ERR_BUSY)
            return STEP_WAIT;
        if (err == 0) {
            atomic_fetch_add_explicit(&c->server->setup.counters->bytes_in, len,
                                      memory_order_relaxed);
            err = feed(c, data, len, &used);
            conn_keep(c, data + used, len - used);
        }
    }
    if (err != 0) {
        conn_body_broken(c, err == ERR_CLOSED ? ERR_CLOSED : ERR_INVALID);
        return STEP_STATE;
    }
    return gives_up(c) ? STEP_STATE : STEP_AGAIN;
}
