/*
 * link.c - the asking side of the role sockets.
 *
 * Runs in workers and the fetcher. The socket's name is bound by the master and outlives the
 * role, so connecting to a dead role succeeds and its successor finds the
 * question waiting. What was sent to a role that then died is sent again after
 * EOF, marked `repeated`. The link owns its socket and, while a question is
 * under way, the question's message; the asker owns the struct ask.
 * A crash here loses the questions, and with them nothing that was acknowledged.
 */
#include "ipc/link.h"

#include "base/container.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "base/net.h"
#include "ipc/role.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#define RECONNECT_MS 100

TAILQ_HEAD(ask_queue, ask);

struct link {
    struct link_setup setup;
    struct loop_fd watch; /* fd -1: not connected */
    struct loop_timer retry, deadline;
    struct ask_queue asks, refused;
    size_t waiting;
    uint64_t last_id;
    uint64_t connected_ms;
    struct str in;
    bool refusing; /* a round-end call is scheduled */
};

static void link_connect(struct link *link);
static void link_flush(struct link *link);

static void ask_finish(struct link *link, struct ask *ask, int err, struct msg_reader *reply,
                       int fd)
{
    TAILQ_REMOVE(&link->asks, ask, entry);
    link->waiting--;
    msg_writer_free(&ask->message);
    ask->done(ask, err, reply, fd);
}

static void link_disconnected(struct link *link)
{
    struct ask *ask, *next;
    uint64_t now = loop_now_ms(link->setup.loop);

    loop_fd_remove(link->setup.loop, &link->watch);
    close(link->watch.fd);
    link->watch.fd = -1;
    for (ask = TAILQ_FIRST(&link->asks); ask; ask = next) {
        next = TAILQ_NEXT(ask, entry);
        if (ask->greeting) {
            ask_finish(link, ask, ERR_CLOSED, NULL, -1);
            continue;
        }
        ask->repeated = ask->repeated || ask->sent;
        ask->sent = false;
    }
    /* A role that drops us as soon as we come must not be hammered. */
    loop_timer_set(link->setup.loop, &link->retry,
                   now - link->connected_ms < 1000 ? RECONNECT_MS : 1);
}

static struct ask *link_ask_by_id(struct link *link, uint64_t id)
{
    struct ask *ask;

    TAILQ_FOREACH(ask, &link->asks, entry)
        if (ask->id == id)
            return ask;
    return NULL;
}

static void link_dispatch(struct link *link, const struct str *in, int fd)
{
    struct msg_reader reader;
    struct ask *ask;

    if (msg_reader_init(&reader, in->data, in->len) != 0) {
        log_error("malformed message from a role", "socket=%s", role_socket(link->setup.role));
        if (fd >= 0)
            close(fd);
        return;
    }
    if (reader.type != MSG_REPLY) {
        link->setup.on_message(link, &reader, fd, link->setup.ctx);
        return;
    }
    ask = link_ask_by_id(link, reader.id);
    if (ask) {
        ask_finish(link, ask, 0, &reader, fd);
    } else if (fd >= 0) {
        close(fd); /* the asker gave up before the answer came */
    }
}

void link_poll(struct link *link)
{
    /* What a message causes may poll again while it is still being read: each
     * level has a buffer of its own. */
    struct str in = link->in;

    link->in = (struct str){0};
    while (link->watch.fd >= 0) {
        int fd = -1;
        int err = msg_receive(link->watch.fd, &in, &fd);

        if (err == ERR_BUSY)
            break;
        if (err != 0) {
            link_disconnected(link);
            break;
        }
        link_dispatch(link, &in, fd);
    }
    str_free(&link->in);
    link->in = in;
}

static void link_ready(struct loop_fd *watch, uint32_t events)
{
    struct link *link = CONTAINER_OF(watch, struct link, watch);

    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        link_poll(link);
    if (link->watch.fd >= 0 && (events & EPOLLOUT))
        link_flush(link);
}

static void link_flush(struct link *link)
{
    struct ask *ask;
    bool full = false;

    TAILQ_FOREACH(ask, &link->asks, entry) {
        int err;

        if (ask->sent)
            continue;
        err = msg_send(link->watch.fd, &ask->message, -1);
        if (err == ERR_BUSY) {
            full = true;
            break;
        }
        if (err != 0)
            break; /* EOF will be read and everything repeated */
        ask->sent = true;
    }
    loop_fd_events(link->setup.loop, &link->watch, full ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void link_retry(struct loop_timer *timer)
{
    link_connect(CONTAINER_OF(timer, struct link, retry));
}

static void link_connect(struct link *link)
{
    int err =
        net_seqpacket_connect(link->setup.dir_fd, role_socket(link->setup.role), &link->watch.fd);

    if (err == 0) {
        err = loop_fd_add(link->setup.loop, &link->watch, EPOLLIN);
        if (err != 0)
            close(link->watch.fd);
    }
    if (err != 0) {
        link->watch.fd = -1;
        loop_timer_set(link->setup.loop, &link->retry, RECONNECT_MS);
        return;
    }
    link->connected_ms = loop_now_ms(link->setup.loop);
    if (link->setup.on_connect)
        link->setup.on_connect(link, link->setup.ctx);
    link_flush(link);
}

/* The timer fires at the earliest deadline: a short question waits no longer behind a long one. */
static void link_deadline_by(struct link *link, uint64_t at_ms)
{
    if (link->deadline.slot == 0 || at_ms < link->deadline.at_ms)
        loop_timer_set(link->setup.loop, &link->deadline, at_ms - loop_now_ms(link->setup.loop));
}

static void link_deadline(struct loop_timer *timer)
{
    struct link *link = CONTAINER_OF(timer, struct link, deadline);
    uint64_t now = loop_now_ms(link->setup.loop);
    struct ask *ask, *next;
    uint64_t soonest = UINT64_MAX;

    for (ask = TAILQ_FIRST(&link->asks); ask; ask = next) {
        next = TAILQ_NEXT(ask, entry);
        if (ask->deadline_ms <= now)
            ask_finish(link, ask, ERR_TIMEOUT, NULL, -1);
        else if (ask->deadline_ms < soonest)
            soonest = ask->deadline_ms;
    }
    if (soonest != UINT64_MAX)
        link_deadline_by(link, soonest);
}

struct link *link_new(const struct link_setup *setup)
{
    struct link *link = mem_alloc(sizeof(*link));

    link->setup = *setup;
    link->watch.fd = -1;
    link->watch.ready = link_ready;
    link->retry.fire = link_retry;
    link->deadline.fire = link_deadline;
    TAILQ_INIT(&link->asks);
    TAILQ_INIT(&link->refused);
    link_connect(link);
    return link;
}

void link_free(struct link **link_p)
{
    struct link *link = *link_p;
    struct ask *ask;

    if (!link)
        return;
    *link_p = NULL;
    if (link->watch.fd >= 0) {
        loop_fd_remove(link->setup.loop, &link->watch);
        close(link->watch.fd);
    }
    loop_timer_cancel(link->setup.loop, &link->retry);
    loop_timer_cancel(link->setup.loop, &link->deadline);
    while ((ask = TAILQ_FIRST(&link->asks)) != NULL)
        ask_finish(link, ask, ERR_CLOSED, NULL, -1);
    str_free(&link->in);
    loop_free_later(link->setup.loop, link);
}

struct msg_writer *link_ask_begin(struct link *link, struct ask *ask, enum msg_type type)
{
    MUST(msg_role(type) == link->setup.role && msg_deadline_ms(type) > 0);
    ask->id = ++link->last_id;
    ask->sent = false;
    ask->repeated = false;
    ask->greeting = false;
    ask->deadline_ms = loop_now_ms(link->setup.loop) + msg_deadline_ms(type);
    msg_begin(&ask->message, type, ask->id);
    return &ask->message;
}

/* Refusals are told from the loop: an asker never sees its answer before
 * link_ask_send has returned. */
static void link_tell_refused(void *ctx)
{
    struct link *link = ctx;
    struct ask *ask;

    link->refusing = false;
    while ((ask = TAILQ_FIRST(&link->refused)) != NULL) {
        TAILQ_REMOVE(&link->refused, ask, entry);
        msg_writer_free(&ask->message);
        ask->done(ask, ERR_BUSY, NULL, -1);
    }
}

void link_ask_send(struct link *link, struct ask *ask)
{
    if (link->waiting >= link->setup.queue_max) {
        TAILQ_INSERT_TAIL(&link->refused, ask, entry);
        if (!link->refusing)
            loop_after_round(link->setup.loop, link_tell_refused, link);
        link->refusing = true;
        return;
    }
    TAILQ_INSERT_TAIL(&link->asks, ask, entry);
    link->waiting++;
    link_deadline_by(link, ask->deadline_ms);
    if (link->watch.fd >= 0)
        link_flush(link);
}

void link_ask_send_first(struct link *link, struct ask *ask)
{
    MUST(link->watch.fd >= 0);
    ask->greeting = true;
    TAILQ_INSERT_HEAD(&link->asks, ask, entry);
    link->waiting++;
    link_deadline_by(link, ask->deadline_ms);
}

bool link_connected(const struct link *link)
{
    return link->watch.fd >= 0;
}

size_t link_waiting(const struct link *link)
{
    return link->waiting;
}
