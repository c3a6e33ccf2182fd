/*
 * serve.c - the answering side of the role sockets.
 *
 * Runs in the catalog, AUTH, the fetcher and, for entrepotctl, the master. Owns the peers and
 * what is queued towards them. A peer that talks nonsense or does not take its
 * answers is dropped: honest ones reconnect and repeat. A crash here leaves the
 * peers with EOF.
 */
#include "ipc/serve.h"

#include "base/container.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/net.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uthash.h>

/* Answers a peer may leave untaken. */
#define OUT_MAX 4096
/* Questions, or bytes of them, that one peer may ask before others are heard. */
#define IN_MAX       64
#define IN_BYTES_MAX (1u << 20)

struct serve_out {
    struct msg_writer message;
    int fd;
    STAILQ_ENTRY(serve_out) entry;
};

struct serve_peer {
    struct serve *serve;
    struct loop_fd watch;
    uint64_t id;
    uid_t uid; /* as the kernel saw it connect */
    pid_t pid;
    STAILQ_HEAD(, serve_out) out;
    size_t out_count;
    bool gone;
    UT_hash_handle hh;
};

struct serve {
    struct serve_setup setup;
    struct loop_fd watch;
    struct serve_peer *peers; /* by id */
    uint64_t last_peer;
    struct str in;
};

static void out_free(struct serve_out *out)
{
    msg_writer_free(&out->message);
    if (out->fd >= 0)
        close(out->fd);
    free(out);
}

static void peer_drop(struct serve_peer *peer)
{
    struct serve *serve = peer->serve;
    struct serve_out *out;

    if (peer->gone)
        return;
    peer->gone = true;
    HASH_DEL(serve->peers, peer);
    loop_fd_remove(serve->setup.loop, &peer->watch);
    close(peer->watch.fd);
    while ((out = STAILQ_FIRST(&peer->out)) != NULL) {
        STAILQ_REMOVE_HEAD(&peer->out, entry);
        out_free(out);
    }
    if (serve->setup.on_gone)
        serve->setup.on_gone(peer->id, serve->setup.ctx);
    loop_free_later(serve->setup.loop, peer);
}

static void peer_flush(struct serve_peer *peer)
{
    struct serve_out *out;

    while ((out = STAILQ_FIRST(&peer->out)) != NULL) {
        int err = msg_send(peer->watch.fd, &out->message, out->fd);

        if (err == ERR_BUSY)
            break;
        if (err != 0) {
            peer_drop(peer);
            return;
        }
        STAILQ_REMOVE_HEAD(&peer->out, entry);
        peer->out_count--;
        out_free(out);
    }
    loop_fd_events(peer->serve->setup.loop, &peer->watch,
                   STAILQ_EMPTY(&peer->out) ? EPOLLIN : EPOLLIN | EPOLLOUT);
}

/* A role that asks this was taken over, or somebody with its account plays the operator. */
static void peer_refuse(struct serve_peer *peer, struct serve_return to, unsigned type)
{
    struct msg_writer answer = {0};

    log_warn("a privileged question of another account than the operator's: refused",
             "type=%s uid=%d pid=%d", msg_name(type), (int)peer->uid, (int)peer->pid);
    serve_reply_begin(&answer, to);
    reply_err_put(&answer, ERR_DENIED);
    serve_reply(peer->serve, to, &answer, -1);
}

/* False: it is not known. */
static bool peer_who(struct serve_peer *peer)
{
    struct ucred who;
    socklen_t len = sizeof(who);

    if (getsockopt(peer->watch.fd, SOL_SOCKET, SO_PEERCRED, &who, &len) != 0)
        return false;
    peer->uid = who.uid;
    peer->pid = who.pid;
    return true;
}

static void peer_receive(struct serve_peer *peer)
{
    struct serve *serve = peer->serve;
    size_t count = 0, bytes = 0;

    while (!peer->gone && count < IN_MAX && bytes < IN_BYTES_MAX) {
        struct msg_reader reader;
        int fd = -1;
        int err = msg_receive(peer->watch.fd, &serve->in, &fd);

        if (err == ERR_BUSY)
            return;
        if (fd >= 0)
            close(fd); /* no question carries a descriptor of its own */
        if (err == 0)
            err = msg_reader_init(&reader, serve->in.data, serve->in.len);
        if (err == 0) {
            struct serve_return to = {.peer = peer->id, .id = reader.id};

            log_debug("asked", "type=%s id=%llu by=%d", msg_name(reader.type),
                      (unsigned long long)reader.id, (int)peer->pid);
            if (msg_role(reader.type) != serve->setup.role)
                err = ERR_PROTOCOL;
            else if (msg_privileged(reader.type) && peer->uid != serve->setup.operator_uid)
                peer_refuse(peer, to, reader.type);
            else
                err = serve->setup.on_message(serve, to, &reader, serve->setup.ctx);
            if (err != 0)
                log_error("malformed question: dropping the peer", "type=%s",
                          msg_name(reader.type));
        }
        if (err != 0)
            peer_drop(peer);
        count++;
        bytes += serve->in.len;
    }
}

static void peer_ready(struct loop_fd *watch, uint32_t events)
{
    struct serve_peer *peer = CONTAINER_OF(watch, struct serve_peer, watch);

    if (events & EPOLLOUT)
        peer_flush(peer);
    if (!peer->gone && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        peer_receive(peer);
}

static void serve_accept(struct loop_fd *watch, uint32_t events)
{
    struct serve *serve = CONTAINER_OF(watch, struct serve, watch);

    (void)events;
    for (;;) {
        struct serve_peer *peer;
        int fd = accept4(watch->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0)
            return;
        if (HASH_COUNT(serve->peers) >= serve->setup.peers_max) {
            log_warn("too many peers on the role socket", NULL);
            close(fd);
            continue;
        }
        peer = mem_alloc(sizeof(*peer));
        peer->serve = serve;
        peer->id = ++serve->last_peer;
        peer->watch.fd = fd;
        peer->watch.ready = peer_ready;
        STAILQ_INIT(&peer->out);
        if (!peer_who(peer) || loop_fd_add(serve->setup.loop, &peer->watch, EPOLLIN) != 0) {
            close(fd);
            free(peer);
            continue;
        }
        HASH_ADD(hh, serve->peers, id, sizeof(peer->id), peer);
    }
}

int serve_new(const struct serve_setup *setup, struct serve **serve_r)
{
    struct serve *serve = mem_alloc(sizeof(*serve));
    int err;

    serve->setup = *setup;
    serve->watch.fd = setup->listen_fd;
    serve->watch.ready = serve_accept;
    err = loop_fd_add(setup->loop, &serve->watch, EPOLLIN);
    if (err != 0) {
        free(serve);
        return err;
    }
    *serve_r = serve;
    return 0;
}

void serve_free(struct serve **serve_p)
{
    struct serve *serve = *serve_p;
    struct serve_peer *peer, *next;

    if (!serve)
        return;
    *serve_p = NULL;
    HASH_ITER(hh, serve->peers, peer, next)
        peer_drop(peer);
    loop_fd_remove(serve->setup.loop, &serve->watch);
    str_free(&serve->in);
    loop_free_later(serve->setup.loop, serve);
}

void serve_reply_begin(struct msg_writer *w, struct serve_return to)
{
    msg_begin(w, MSG_REPLY, to.id);
}

static void peer_send(struct serve_peer *peer, const struct msg_writer *w, int pass_fd)
{
    struct serve_out *out;
    int err = ERR_BUSY;

    if (STAILQ_EMPTY(&peer->out))
        err = msg_send(peer->watch.fd, w, pass_fd);
    if (err == 0)
        return;
    if (err != ERR_BUSY || peer->out_count >= OUT_MAX) {
        peer_drop(peer);
        return;
    }
    out = mem_alloc(sizeof(*out));
    str_append(&out->message.buf, w->buf.data, w->buf.len);
    out->fd = pass_fd >= 0 ? fcntl(pass_fd, F_DUPFD_CLOEXEC, 3) : -1;
    STAILQ_INSERT_TAIL(&peer->out, out, entry);
    peer->out_count++;
    loop_fd_events(peer->serve->setup.loop, &peer->watch, EPOLLIN | EPOLLOUT);
}

void serve_reply(struct serve *serve, struct serve_return to, struct msg_writer *w, int pass_fd)
{
    struct serve_peer *peer;

    HASH_FIND(hh, serve->peers, &to.peer, sizeof(to.peer), peer);
    if (peer)
        peer_send(peer, w, pass_fd);
    msg_writer_free(w);
}

void serve_broadcast(struct serve *serve, struct msg_writer *w, int pass_fd)
{
    struct serve_peer *peer, *next;

    HASH_ITER(hh, serve->peers, peer, next) {
        /* Out of turn or not at all: whoever reads the old index's end mark must
         * find the new one already in its socket. */
        if (!STAILQ_EMPTY(&peer->out) || msg_send(peer->watch.fd, w, pass_fd) != 0)
            peer_drop(peer);
    }
    msg_writer_free(w);
}
