/*
 * conn.c - a connection: head, handler, answer, and again.
 *
 * Runs in workers. conn_run is the one driver: it moves the connection on until
 * it must wait for the socket, for the handler or for nothing more. Handlers'
 * calls come in through it as well; when it is on the stack already they only
 * change state and the outer call goes on. A connection whose peer left while
 * the handler works stays until the handler has answered.
 */
#include "http/conn.h"

#include "base/log.h"
#include "base/must.h"
#include "http/io.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define TLS_HANDSHAKE   0x16
#define LINGER_MS       5000
#define STEPS_A_TURN    32
#define EMPTY_LINES_MAX 2

static void conn_ready(struct loop_fd *watch, uint32_t events);
static void conn_timer(struct loop_timer *timer);

static uint64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* The timer is only moved forward in time when it fires: most deadlines are
 * replaced long before. */
void conn_deadline(struct http_conn *c, uint64_t delay_ms)
{
    struct loop *loop = c->server->setup.loop;

    c->deadline_ms = loop_now_ms(loop) + delay_ms;
    if (c->timer.slot == 0 || c->timer.at_ms > c->deadline_ms)
        loop_timer_set(loop, &c->timer, delay_ms);
}

void conn_no_deadline(struct http_conn *c)
{
    c->deadline_ms = UINT64_MAX;
}

static void conn_await_head(struct http_conn *c)
{
    c->state = CONN_HEAD;
    conn_deadline(c, c->in ? c->server->setup.limits.head_timeout_ms
                           : c->server->setup.limits.keepalive_timeout_ms);
}

void conn_start(struct http_server *server, int fd, const struct http_listener *listener,
                const struct net_addr *peer)
{
    struct http_conn *c = mem_alloc(sizeof(*c));

    c->server = server;
    c->watch.fd = fd;
    c->watch.ready = conn_ready;
    c->timer.fire = conn_timer;
    c->listener = listener->place;
    c->peer = *peer;
    c->local.len = sizeof(c->local.ss);
    if (getsockname(fd, (struct sockaddr *)&c->local.ss, &c->local.len) != 0 ||
        loop_fd_add(server->setup.loop, &c->watch, EPOLLIN) != 0) {
        close(fd);
        free(c);
        return;
    }
    TAILQ_INSERT_TAIL(&server->conns, c, entry);
    server->conn_count++;
    atomic_store_explicit(&server->setup.counters->connections, server->conn_count,
                          memory_order_relaxed);
    atomic_fetch_add_explicit(&server->setup.counters->accepted, 1, memory_order_relaxed);
    conn_await_head(c);
    conn_run(c);
}

static void request_end(struct http_conn *c)
{
    struct http_request *r = &c->r;

    if (!c->active)
        return;
    if (r->status == 0)
        r->status = 499; /* the client left before there was an answer */
    c->server->setup.on_log(r, c->server->setup.ctx);
    if (r->on_finish)
        r->on_finish(r);
    c->active = false;
    str_free(&r->head);
    mem_arena_free(&r->arena);
}

static void conn_free(struct http_conn *c)
{
    struct http_server *server = c->server;

    request_end(c);
    loop_fd_remove(server->setup.loop, &c->watch);
    loop_timer_cancel(server->setup.loop, &c->timer);
    close(c->watch.fd);
    free(c->in);
    str_free(&c->out);
    TAILQ_REMOVE(&server->conns, c, entry);
    server->conn_count--;
    atomic_store_explicit(&server->setup.counters->connections, server->conn_count,
                          memory_order_relaxed);
    loop_free_later(server->setup.loop, c);
    server_conn_gone(server);
}

void conn_drop(struct http_conn *c)
{
    c->state = CONN_DONE;
    conn_run(c);
}

static void in_release(struct http_conn *c)
{
    if (c->in_at < c->in_len)
        return;
    free(c->in);
    c->in = NULL;
    c->in_at = c->in_len = 0;
}

static void request_begin(struct http_conn *c)
{
    struct http_server *server = c->server;
    struct http_request *r = &c->r;

    memset(r, 0, sizeof(*r));
    r->conn = c;
    r->arena = mem_arena_new();
    r->peer = c->peer;
    r->local = c->local;
    r->listener = c->listener;
    r->started_us = now_us();
    r->host = r->method_text = r->target = r->path = "-";
    memcpy(r->id, server->id_base, 16);
    {
        uint64_t number = ++server->id_next;
        uint8_t bytes[8];

        for (int i = 0; i < 8; i++)
            bytes[i] = (uint8_t)(number >> (56 - 8 * i));
        str_hex(bytes, sizeof(bytes), r->id + 16);
    }
    c->active = true;
    c->aborted = false;
    c->state = CONN_HANDLE;
    c->window_bytes = 0;
    atomic_fetch_add_explicit(&server->setup.counters->requests, 1, memory_order_relaxed);
}

void conn_refuse(struct http_conn *c, int status, const char *reason)
{
    if (!c->active) {
        request_begin(c);
        conn_body_begin(c);
    }
    c->r.close = true;
    c->server->setup.on_bad_request(&c->r, status, reason, c->server->setup.ctx);
}

static void head_complete(struct http_conn *c, size_t len)
{
    const char *reason;
    int status;

    request_begin(c);
    conn_no_deadline(c);
    status = http1_parse_head(&c->r, c->in + c->in_at, len, &reason);
    c->in_at += len;
    in_release(c);
    if (status != 0) {
        c->body_done = true;
        conn_refuse(c, status, reason);
        return;
    }
    conn_body_begin(c);
    c->server->setup.on_request(&c->r, c->server->setup.ctx);
}

/* Looks at what was read. False: a complete head is not there yet. */
static bool head_step(struct http_conn *c)
{
    size_t len;

    if (c->in_at < c->in_len && (uint8_t)c->in[c->in_at] == TLS_HANDSHAKE) {
        c->state = CONN_DONE; /* a client that speaks TLS to a plain port */
        return true;
    }
    for (int lines = 0; lines < EMPTY_LINES_MAX && c->in_len - c->in_at >= 2 &&
                        memcmp(c->in + c->in_at, "\r\n", 2) == 0;
         lines++)
        c->in_at += 2;
    len = c->in_at < c->in_len ? http1_head_length(c->in + c->in_at, c->in_len - c->in_at) : 0;
    if (len > 0) {
        head_complete(c, len);
        return true;
    }
    if (c->in_len - c->in_at == HTTP_HEAD_MAX) {
        bool one_line = !memchr(c->in + c->in_at, '\n', c->in_len - c->in_at);

        conn_refuse(c, one_line ? 414 : 431, "the request head is too long");
        return true;
    }
    return false;
}

static enum conn_step head_read(struct http_conn *c)
{
    size_t got;
    int err;

    if (head_step(c))
        return STEP_STATE;
    if (!c->in) {
        c->in = mem_alloc(HTTP_HEAD_MAX);
    } else if (c->in_at > 0) {
        memmove(c->in, c->in + c->in_at, c->in_len - c->in_at);
        c->in_len -= c->in_at;
        c->in_at = 0;
    }
    err = io_read(c->watch.fd, c->in + c->in_len, HTTP_HEAD_MAX - c->in_len, &got);
    if (err == ERR_BUSY) {
        in_release(c);
        return STEP_WAIT;
    }
    if (err != 0) {
        c->state = CONN_DONE;
        return STEP_STATE;
    }
    if (c->in_len == 0)
        conn_deadline(c, c->server->setup.limits.head_timeout_ms);
    c->in_len += got;
    atomic_fetch_add_explicit(&c->server->setup.counters->bytes_in, got, memory_order_relaxed);
    return STEP_AGAIN;
}

static void rate_window(struct http_conn *c)
{
    c->window_bytes = 0;
    conn_deadline(c, c->server->setup.limits.rate_window_ms);
}

static enum conn_step handle_step(struct http_conn *c)
{
    if (c->aborted) {
        c->state = CONN_DONE;
        return STEP_STATE;
    }
    if (c->r.answered) {
        response_build_head(c);
        c->state = CONN_RESPOND;
        rate_window(c);
        return STEP_STATE;
    }
    if (!c->body_wanted || c->body_done || c->body_refused || c->body_paused) {
        conn_no_deadline(c);
        return STEP_WAIT;
    }
    if (c->deadline_ms == UINT64_MAX)
        rate_window(c);
    return conn_body_step(c);
}

/* The answer is out: on to the rest of the body, the end, or the next request. */
static void responded(struct http_conn *c)
{
    bool close_now = c->r.close;

    if (c->aborted) {
        c->state = CONN_DONE;
        return;
    }
    request_end(c);
    if (!c->body_done && !close_now) {
        c->state = CONN_DRAIN;
        rate_window(c);
    } else if (close_now || c->server->draining) {
        io_shutdown(c->watch.fd);
        c->state = CONN_LINGER;
        c->swallowed = 0;
        conn_deadline(c, LINGER_MS);
    } else {
        in_release(c);
        conn_await_head(c);
    }
}

static enum conn_step drain_step(struct http_conn *c)
{
    enum conn_step step = STEP_STATE;

    if (!c->body_done)
        step = conn_body_step(c);
    if (c->aborted) {
        c->state = CONN_DONE;
    } else if (c->body_done) {
        in_release(c);
        conn_await_head(c);
    } else if (step == STEP_STATE) {
        io_shutdown(c->watch.fd); /* too much to swallow */
        c->state = CONN_LINGER;
        conn_deadline(c, LINGER_MS);
    }
    return c->state == CONN_DRAIN ? step : STEP_STATE;
}

/* Closing with unread bytes would reset the connection and take the answer from
 * a client that is still sending: read on for a while. */
static enum conn_step linger_step(struct http_conn *c)
{
    size_t got;
    int err = io_read(c->watch.fd, c->server->buffer, HTTP_BUFFER, &got);

    if (err == ERR_BUSY)
        return STEP_WAIT;
    if (err != 0)
        c->state = CONN_DONE;
    return err != 0 ? STEP_STATE : STEP_AGAIN;
}

static enum conn_step conn_step(struct http_conn *c)
{
    enum conn_step step;

    switch (c->state) {
    case CONN_HEAD:
        return head_read(c);
    case CONN_HANDLE:
        return handle_step(c);
    case CONN_RESPOND:
        step = response_step(c);
        if (step == STEP_STATE)
            responded(c);
        return step;
    case CONN_DRAIN:
        return drain_step(c);
    case CONN_LINGER:
        return linger_step(c);
    case CONN_DONE:
        break;
    }
    return STEP_STATE;
}

static uint32_t conn_interest(const struct http_conn *c)
{
    switch (c->state) {
    case CONN_HANDLE:
        return c->body_wanted && !c->body_done && !c->body_refused && !c->body_paused ? EPOLLIN : 0;
    case CONN_RESPOND:
        return EPOLLOUT;
    default:
        return EPOLLIN;
    }
}

void conn_run(struct http_conn *c)
{
    enum conn_step step = STEP_AGAIN;

    if (c->running)
        return;
    c->running = true;
    for (int steps = 0; steps < STEPS_A_TURN && step != STEP_WAIT && c->state != CONN_DONE;) {
        /* Only what the socket will report again may be left for the next turn. */
        steps += c->in_at == c->in_len;
        step = conn_step(c);
        if (step == STEP_STATE && c->state == CONN_HANDLE && !c->r.answered && !c->aborted &&
            conn_interest(c) == 0)
            break; /* the handler works; it will call */
    }
    c->running = false;
    if (c->state == CONN_DONE)
        conn_free(c);
    else
        loop_fd_events(c->server->setup.loop, &c->watch, conn_interest(c));
}

static void conn_ready(struct loop_fd *watch, uint32_t events)
{
    struct http_conn *c = (struct http_conn *)((char *)watch - offsetof(struct http_conn, watch));

    if ((events & (EPOLLHUP | EPOLLERR)) && c->state == CONN_HANDLE && conn_interest(c) == 0) {
        /* Nothing may be read now, so the end would be reported for ever. The
         * handler answers into the void. */
        loop_fd_remove(c->server->setup.loop, watch);
        return;
    }
    conn_run(c);
}

static void timed_out(struct http_conn *c)
{
    const struct http_limits *limits = &c->server->setup.limits;

    switch (c->state) {
    case CONN_HEAD:
        if (!c->in) {
            conn_drop(c);
            return;
        }
        c->in_at = c->in_len;
        conn_refuse(c, 408, "the request head did not come in time");
        conn_run(c);
        return;
    case CONN_HANDLE:
    case CONN_RESPOND:
    case CONN_DRAIN:
        if (c->window_bytes >= limits->min_rate * limits->rate_window_ms / 1000) {
            rate_window(c);
            return;
        }
        if (c->state != CONN_HANDLE) {
            conn_drop(c);
            return;
        }
        c->running = true; /* the handler's calls must not run into this */
        c->r.on_body_end(&c->r, ERR_TIMEOUT);
        c->body_refused = true;
        if (!c->r.answered)
            conn_refuse(c, 408, "the request body comes too slowly");
        c->running = false;
        conn_run(c);
        return;
    case CONN_LINGER:
    case CONN_DONE:
        conn_drop(c);
    }
}

static void conn_timer(struct loop_timer *timer)
{
    struct http_conn *c = (struct http_conn *)((char *)timer - offsetof(struct http_conn, timer));
    uint64_t now = loop_now_ms(c->server->setup.loop);

    if (c->deadline_ms == UINT64_MAX)
        return;
    if (now < c->deadline_ms)
        loop_timer_set(c->server->setup.loop, timer, c->deadline_ms - now);
    else
        timed_out(c);
}

void http_abort(struct http_request *r)
{
    r->conn->aborted = true;
    conn_run(r->conn);
}
