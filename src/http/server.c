/*
 * server.c - listening, accepting, limits, draining.
 *
 * Runs in workers, which share each listening socket: EPOLLEXCLUSIVE wakes one
 * of them, and a connection that nobody took yet is lost with none of them. A crash here costs the
 * worker's connections.
 */
#include "base/container.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "http/conn.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

/* One, so that a burst of connections is shared: while this worker is busy with the first,
 * the next wakes another. A worker that takes all it can ends up with nearly all. */
#define ACCEPTS_A_ROUND 1
#define ACCEPT_PAUSE_MS 100
#define WARN_EVERY_MS   60000

static void listeners_watch(struct http_server *server, bool on)
{
    struct http_listener *listener;

    SLIST_FOREACH(listener, &server->listeners, entry) {
        if (!on)
            loop_fd_remove(server->setup.loop, &listener->watch);
        else if (!listener->watch.added &&
                 loop_fd_add(server->setup.loop, &listener->watch, EPOLLIN | EPOLLEXCLUSIVE) != 0)
            log_error("cannot watch a listening socket", NULL);
    }
}

static void accept_pause(struct http_server *server)
{
    if (server->paused)
        return;
    server->paused = true;
    listeners_watch(server, false);
}

static void accept_resume(struct http_server *server)
{
    if (!server->paused || server->draining ||
        (server->conn_count >= server->setup.limits.max_connections && TAILQ_EMPTY(&server->idle)))
        return;
    server->paused = false;
    listeners_watch(server, true);
}

static void accept_timer(struct loop_timer *timer)
{
    accept_resume(CONTAINER_OF(timer, struct http_server, accept_timer));
}

static void accept_failed(struct http_server *server)
{
    uint64_t now = loop_now_ms(server->setup.loop);
    bool out = errno == EMFILE;

    if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM)
        return;
    if (server->warned_ms == 0 || now - server->warned_ms > WARN_EVERY_MS) {
        log_warn("cannot accept for want of descriptors or memory; trying again",
                 "errno=%s connections=%zu", log_quote(strerror(errno)), server->conn_count);
        server->warned_ms = now;
    }
    if (out && places_give_way(server))
        return; /* the listener is ready still: again in the next round */
    accept_pause(server);
    loop_timer_set(server->setup.loop, &server->accept_timer, ACCEPT_PAUSE_MS);
}

static void listener_ready(struct loop_fd *watch, uint32_t events)
{
    struct http_listener *listener = CONTAINER_OF(watch, struct http_listener, watch);
    struct http_server *server = listener->server;

    (void)events;
    for (int i = 0; i < ACCEPTS_A_ROUND; i++) {
        struct net_addr peer = {.len = sizeof(peer.ss)};
        int fd;

        if (!places_room(server)) {
            if (TAILQ_EMPTY(&server->idle))
                accept_pause(server);
            return;
        }
        errno = FAIL_POINT(worker_accept);
        if (errno != 0) {
            accept_failed(server);
            return;
        }
        fd = accept4(watch->fd, (struct sockaddr *)&peer.ss, &peer.len,
                     SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            accept_failed(server);
            return;
        }
        conn_start(server, fd, listener, &peer);
    }
}

/* Told after the round: who is told may free the server. */
static void drained(struct http_server *server)
{
    if (!server->draining || server->conn_count > 0 || server->drained_due)
        return;
    server->drained_due = true;
    loop_after_round(server->setup.loop, server->setup.on_drained, server->setup.ctx);
}

void server_conn_gone(struct http_server *server)
{
    drained(server);
    if (server->paused && server->accept_timer.slot == 0)
        accept_resume(server);
}

void server_conn_idle(struct http_server *server)
{
    if (server->paused && server->accept_timer.slot == 0)
        accept_resume(server);
}

int http_server_new(const struct http_server_setup *setup, struct http_server **server_r)
{
    struct http_server *server = mem_alloc(sizeof(*server));

    signal(SIGPIPE, SIG_IGN); /* sendfile(2) has no flag against it */
    server->setup = *setup;
    server->accept_timer.fire = accept_timer;
    server->buffer = mem_alloc(HTTP_BUFFER);
    TAILQ_INIT(&server->conns);
    TAILQ_INIT(&server->idle);
    file_random(server->address_seed, sizeof(server->address_seed));
    SLIST_INIT(&server->listeners);
    file_random_hex(8, server->id_base);
    *server_r = server;
    return 0;
}

void http_server_free(struct http_server **server_p)
{
    struct http_server *server = *server_p;
    struct http_listener *listener;
    struct http_conn *c;

    if (!server)
        return;
    *server_p = NULL;
    listeners_watch(server, false);
    server->draining = server->paused = false; /* nobody is to be told, nor to be let in */
    while ((c = TAILQ_FIRST(&server->conns)) != NULL) {
        MUST(!c->running); /* freeing the server from a request's callback */
        conn_drop(c);
    }
    while ((listener = SLIST_FIRST(&server->listeners)) != NULL) {
        SLIST_REMOVE_HEAD(&server->listeners, entry);
        loop_free_later(server->setup.loop, listener);
    }
    loop_timer_cancel(server->setup.loop, &server->accept_timer);
    free(server->buffer);
    mem_arena_free(&server->spare);
    loop_free_later(server->setup.loop, server);
}

int http_server_listen(struct http_server *server, int listen_fd, size_t listener, struct tls *tls)
{
    struct http_listener *l = mem_alloc(sizeof(*l));
    int err;

    l->server = server;
    l->place = listener;
    l->tls = tls;
    l->watch.fd = listen_fd;
    l->watch.ready = listener_ready;
    err = loop_fd_add(server->setup.loop, &l->watch, EPOLLIN | EPOLLEXCLUSIVE);
    if (err != 0)
        free(l);
    else
        SLIST_INSERT_HEAD(&server->listeners, l, entry);
    return err;
}

void http_server_proxies(struct http_server *server, size_t place, const struct net_prefix *proxies,
                         size_t count, bool protocol)
{
    struct http_listener *listener;

    SLIST_FOREACH(listener, &server->listeners, entry) {
        if (listener->place != place)
            continue;
        listener->proxy_protocol = protocol;
        listener->proxies = proxies;
        listener->proxy_count = count;
    }
}

void http_server_drain(struct http_server *server)
{
    struct http_listener *listener;
    struct http_conn *c, *next;

    if (server->draining)
        return;
    server->draining = true;
    listeners_watch(server, false);
    SLIST_FOREACH(listener, &server->listeners, entry)
        close(listener->watch.fd); /* the address is free for others while we finish */
    for (c = TAILQ_FIRST(&server->conns); c; c = next) {
        next = TAILQ_NEXT(c, entry);
        conn_drain(c);
    }
    drained(server);
}

size_t http_server_connections(const struct http_server *server)
{
    return server->conn_count;
}
