/*
 * conn.c - a connection: head, handler, answer, and again.
 *
 * Runs in workers. conn_run is the one driver: it moves the connection on until
 * it must wait. What handlers call only changes state; the driver follows when
 * they have returned, so a request never ends inside a handler's call. When the
 * peer leaves while the handler works, the request stays until it is answered.
 * A crash here costs the worker's connections and nothing stored.
 */
#include "http/conn.h"

#include "base/container.h"
#include "http/io.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define LINGER_MS      2000
#define DRAIN_FIRST_MS 1000
#define STEPS_A_TURN   32

static void conn_ready(struct loop_fd *watch, uint32_t events);

static uint64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void conn_await_head(struct http_conn *c)
{
    const struct http_limits *limits = &c->server->setup.limits;

    conn_release(c);
    c->state = CONN_HEAD;
    places_idle(c);
    c->empty_lines = 0;
    conn_deadline_in(c, c->in ? limits->head_timeout_ms : limits->keepalive_timeout_ms);
}

void conn_first_head(struct http_conn *c)
{
    conn_await_head(c);
    if (c->io.tls) /* a handshake is no idle connection */
        conn_deadline_in(c, c->server->setup.limits.head_timeout_ms);
}

void conn_start(struct http_server *server, int fd, const struct http_listener *listener,
                const struct net_addr *peer)
{
    struct http_conn *c = mem_alloc(sizeof(*c));

    c->server = server;
    c->watch.fd = c->io.fd = fd;
    c->watch.ready = conn_ready;
    c->timer.fire = conn_timer;
    c->listener = listener;
    c->peer = c->client = *peer;
    c->local.len = sizeof(c->local.ss);
    if (getsockname(fd, (struct sockaddr *)&c->local.ss, &c->local.len) != 0 ||
        (listener->tls && !listener->proxy_protocol && io_start_tls(&c->io, listener->tls) != 0) ||
        loop_fd_add(server->setup.loop, &c->watch, EPOLLIN) != 0) {
        io_end(&c->io, true);
        close(fd);
        free(c);
        return;
    }
    TAILQ_INSERT_TAIL(&server->conns, c, entry);
    server->conn_count++;
    atomic_store_explicit(&server->setup.counters->connections, server->conn_count,
                          memory_order_relaxed);
    atomic_fetch_add_explicit(&server->setup.counters->accepted, 1, memory_order_relaxed);
    if (!net_prefix_any(listener->proxies, listener->proxy_count, peer) && !places_take(c, peer)) {
        conn_drop(c);
        return;
    }
    if (listener->proxy_protocol) {
        c->state = CONN_PROXY;
        places_idle(c);
        conn_deadline_in(c, server->setup.limits.head_timeout_ms);
    } else {
        conn_first_head(c);
    }
}

const uint64_t http_took_bounds_us[HTTP_TOOK_BOUNDS] = {1000,   5000,    25000,    100000,
                                                        500000, 2500000, 10000000, UINT64_MAX};

static void count_request(const struct http_conn *c)
{
    struct http_counters *counters = c->server->setup.counters;
    uint64_t took = now_us() - c->r.started_us;
    size_t bound = 0;

    while (took > http_took_bounds_us[bound])
        bound++;
    atomic_fetch_add_explicit(&counters->took[bound], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&counters->took_us, took, memory_order_relaxed);
    atomic_fetch_add_explicit(&counters->answers[c->r.status / 100 % 6], 1, memory_order_relaxed);
}

/* One arena is kept: a request that is answered at once takes the memory of the last. */
static struct mem_arena *arena_take(struct http_server *server)
{
    struct mem_arena *arena = server->spare;

    server->spare = NULL;
    return arena ? arena : mem_arena_new();
}

static void arena_give_back(struct http_server *server, struct mem_arena *arena)
{
    if (server->spare) {
        mem_arena_free(&arena);
        return;
    }
    mem_arena_reset(arena);
    server->spare = arena;
}

static void request_end(struct http_conn *c)
{
    struct http_request *r = &c->r;

    if (!c->active)
        return;
    if (r->status == 0)
        r->status = 499; /* the client left before there was an answer */
    count_request(c);
    c->server->setup.on_log(r, c->server->setup.ctx);
    if (r->on_finish)
        r->on_finish(r);
    c->active = false;
    arena_give_back(c->server, r->arena);
}

static void conn_free(struct http_conn *c)
{
    struct http_server *server = c->server;

    readahead_abandon(c);
    request_end(c);
    places_leave(c);
    loop_fd_remove(server->setup.loop, &c->watch);
    loop_timer_cancel(server->setup.loop, &c->timer);
    io_end(&c->io, c->aborted);
    if (c->aborted)
        io_break(&c->io);
    close(c->watch.fd);
    free(c->in);
    free(c->client_name);
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

static void request_name(struct http_server *server, char id[33])
{
    uint64_t number = htobe64(++server->id_next);

    memcpy(id, server->id_base, 16);
    str_hex(&number, sizeof(number), id + 16);
}

void conn_request_begin(struct http_conn *c)
{
    struct http_server *server = c->server;
    struct http_request *r = &c->r;

    memset(r, 0, sizeof(*r));
    r->conn = c;
    r->arena = arena_take(server);
    r->peer = c->peer;
    r->client = c->client;
    r->local = c->local;
    r->listener = c->listener->place;
    r->file_end = UINT64_MAX;
    r->started_us = now_us();
    r->https = c->io.tls || c->client_tls;
    r->authority = "";
    r->host = r->method_text = r->target = r->path = "-";
    request_name(server, r->id);
    response_begin(c);
    r->client_name = conn_client_name(c);
    c->active = true;
    c->served = true;
    c->stream_lost = c->starved = false;
    c->state = CONN_HANDLE;
    places_busy(c);
    c->moved = 0;
    conn_deadline_none(c);
    atomic_fetch_add_explicit(&server->setup.counters->requests, 1, memory_order_relaxed);
}

void conn_refuse(struct http_conn *c, int status, const char *reason)
{
    struct http_request *r = &c->r;

    if (!c->active) {
        conn_request_begin(c);
        conn_body_begin(c);
    }
    r->close = true;
    c->stream_lost = true;
    response_begin(c); /* instead of what a handler had begun to say */
    c->server->setup.on_bad_request(r, status, reason, c->server->setup.ctx);
    if (!r->answered)
        http_answer_empty(r, status);
}

static enum conn_step handle_step(struct http_conn *c)
{
    if (c->r.answered) {
        response_build_head(c);
        c->state = CONN_RESPOND;
        c->moved = 0;
        conn_deadline_none(c); /* a window begins when it must wait: most answers never do */
        return STEP_STATE;
    }
    if (!conn_body_due(c)) {
        conn_deadline_none(c);
        return STEP_WAIT;
    }
    if (c->deadline_ms == UINT64_MAX)
        conn_rate_window(c);
    return conn_body_step(c);
}

void conn_linger(struct http_conn *c)
{
    io_shutdown(&c->io);
    c->in_at = c->in_len;
    conn_release(c);
    c->state = CONN_LINGER;
    conn_deadline_in(c, LINGER_MS);
}

/* The answer is out: on to the rest of the body. */
static void responded(struct http_conn *c)
{
    request_end(c);
    c->state = CONN_DRAIN;
    c->moved = 0;
    conn_rate_window(c);
}

static enum conn_step drain_step(struct http_conn *c)
{
    if (!c->body_done && !c->stream_lost && c->swallowed <= c->server->setup.limits.drain_bytes) {
        enum conn_step step = conn_body_step(c);

        if (step != STEP_STATE)
            return step;
    }
    if (!c->body_done || c->stream_lost || c->r.close || c->server->draining) {
        conn_linger(c);
        return STEP_STATE;
    }
    conn_await_head(c);
    /* The next request is not there yet as a rule: the loop tells when it is, for less than
     * a read that finds nothing. */
    return c->in || io_pending(&c->io) ? STEP_STATE : STEP_WAIT;
}

/* Closing with unread bytes would reset the connection and take the answer from
 * a client that is still sending: read on for a while. */
static enum conn_step linger_step(struct http_conn *c)
{
    size_t got;
    int err = io_read(&c->io, c->server->buffer, HTTP_BUFFER, &got);

    if (err == ERR_BUSY)
        return STEP_WAIT;
    if (err != 0)
        c->state = CONN_DONE;
    return err != 0 ? STEP_STATE : STEP_AGAIN;
}

static enum conn_step conn_step(struct http_conn *c)
{
    enum conn_step step;

    if (c->aborted)
        c->state = CONN_DONE;
    switch (c->state) {
    case CONN_PROXY:
        return conn_proxy_step(c);
    case CONN_HEAD:
        return conn_head_step(c);
    case CONN_HANDLE:
        return handle_step(c);
    case CONN_RESPOND:
        step = response_step(c);
        if (step == STEP_STATE && !c->aborted)
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
    uint32_t wants = io_wants(&c->io);

    if ((c->state == CONN_HANDLE && !conn_body_due(c)) || c->reading_ahead || c->starved)
        return 0;
    if (wants != 0)
        return wants;
    return c->state == CONN_RESPOND ? EPOLLOUT : EPOLLIN;
}

static void conn_watch(struct http_conn *c, uint32_t events)
{
    struct loop *loop = c->server->setup.loop;

    if (c->watch.added || events == 0)
        loop_fd_events(loop, &c->watch, events);
    else if (loop_fd_add(loop, &c->watch, events) != 0)
        conn_drop(c);
}

void conn_run(struct http_conn *c)
{
    enum conn_step step = STEP_AGAIN;

    if (c->running)
        return;
    c->running = true;
    for (int i = 0; i < STEPS_A_TURN && c->state != CONN_DONE; i++) {
        step = conn_step(c);
        if (step == STEP_WAIT || step == STEP_YIELD)
            break;
    }
    c->running = false;
    if (c->starved)
        conn_deadline_none(c); /* not the client's fault */
    else if (c->state == CONN_RESPOND && c->deadline_ms == UINT64_MAX)
        conn_rate_window(c);
    if (c->state == CONN_DONE)
        conn_free(c);
    else if (step == STEP_WAIT)
        conn_watch(c, conn_interest(c));
    else /* there is more to do, but others wait: a writable socket calls again at
            once */
        conn_watch(c, conn_interest(c) | EPOLLOUT);
}

static void conn_kicked(void *ctx)
{
    struct http_conn *c = ctx;

    c->kicked = false;
    if (c->state != CONN_DONE) /* else it was freed in this round; the memory is still ours */
        conn_run(c);
}

void conn_kick(struct http_conn *c)
{
    if (c->running || c->kicked)
        return;
    c->kicked = true;
    loop_after_round(c->server->setup.loop, conn_kicked, c);
}

void conn_drain(struct http_conn *c)
{
    if (c->state != CONN_HEAD || c->in)
        return;
    conn_run(c); /* a request may have arrived by now */
    if (c->state != CONN_HEAD || c->in)
        return;
    if (c->served)
        conn_drop(c);
    else /* it was promised an answer by being accepted */
        conn_deadline_in(c, DRAIN_FIRST_MS);
}

static void conn_ready(struct loop_fd *watch, uint32_t events)
{
    struct http_conn *c = CONTAINER_OF(watch, struct http_conn, watch);

    if ((events & (EPOLLHUP | EPOLLERR)) && watch->events == 0) {
        /* Nothing may be read now, so the end would be reported for ever. The
         * handler answers into the void. */
        loop_fd_remove(c->server->setup.loop, watch);
        return;
    }
    conn_run(c);
}

void http_abort(struct http_request *r)
{
    r->conn->aborted = true;
    conn_kick(r->conn);
}
