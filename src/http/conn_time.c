/*
 * conn_time.c - what a connection may take its time for.
 *
 * Runs in workers. A head has a deadline, an idle connection another; a body in
 * either direction must keep a rate over a window. A crash here costs the
 * worker's connections.
 */
#include "base/container.h"
#include "http/conn.h"
#include "http/io.h"

void conn_deadline_in(struct http_conn *c, uint64_t delay_ms)
{
    struct loop *loop = c->server->setup.loop;

    c->deadline_ms = loop_now_ms(loop) + delay_ms;
    if (c->timer.slot == 0 || c->timer.at_ms > c->deadline_ms)
        loop_timer_set(loop, &c->timer, delay_ms);
}

void conn_deadline_none(struct http_conn *c)
{
    c->deadline_ms = UINT64_MAX;
}

/* Bytes that really moved: of a response, those that left the socket's queue,
 * which may hold megabytes for a client that takes nothing. */
static int64_t progress(const struct http_conn *c)
{
    return (int64_t)c->moved - (c->state == CONN_RESPOND ? (int64_t)io_unsent(&c->io) : 0);
}

void conn_rate_window(struct http_conn *c)
{
    c->window_mark = progress(c);
    conn_deadline_in(c, c->server->setup.limits.rate_window_ms);
}

static bool rate_kept(const struct http_conn *c)
{
    const struct http_limits *limits = &c->server->setup.limits;

    return progress(c) - c->window_mark >=
           (int64_t)(limits->min_rate * limits->rate_window_ms / 1000);
}

static void timed_out(struct http_conn *c)
{
    switch (c->state) {
    case CONN_HEAD:
        if (c->in || c->empty_lines > 0)
            conn_refuse(c, 408, "the request head did not come in time");
        else
            c->state = CONN_DONE;
        break;
    case CONN_HANDLE:
        if (!conn_body_due(c))
            conn_deadline_none(c);
        else if (rate_kept(c))
            conn_rate_window(c);
        else
            conn_body_broken(c, ERR_TIMEOUT);
        break;
    case CONN_RESPOND:
        if (c->reading_ahead || rate_kept(c)) /* our disk's delay is not the client's */
            conn_rate_window(c);
        else
            c->aborted = true;
        break;
    case CONN_DRAIN:
        if (rate_kept(c))
            conn_rate_window(c);
        else
            conn_linger(c);
        break;
    default:
        c->state = CONN_DONE;
    }
}

void conn_timer(struct loop_timer *timer)
{
    struct http_conn *c = CONTAINER_OF(timer, struct http_conn, timer);
    uint64_t now = loop_now_ms(c->server->setup.loop);

    if (c->deadline_ms == UINT64_MAX)
        return;
    if (now < c->deadline_ms) {
        loop_timer_set(c->server->setup.loop, timer, c->deadline_ms - now);
        return;
    }
    c->running = true; /* the handler's calls must not run into this */
    timed_out(c);
    c->running = false;
    conn_run(c);
}
