/*
 * link.h - the asking side: a worker's, or the fetcher's, line to a role. Connects by name, again
 * after EOF, and repeats what was not answered; so questions must be idempotent.
 */
#ifndef ENTREPOT_IPC_LINK_H
#define ENTREPOT_IPC_LINK_H

#include "base/loop.h"
#include "ipc/msg.h"

#include <sys/queue.h>

/* A question under way. Embedded in or owned by the asker. */
struct ask {
    /* Called exactly once. err: 0 with a reader and perhaps a descriptor (the
     * callee's to close, -1: none); TIMEOUT past the deadline; BUSY when the link's queue is
     * full (called from the loop, never from inside link_ask_send()). */
    void (*done)(struct ask *ask, int err, struct msg_reader *reply, int fd);
    bool repeated; /* it was sent more than once: the first may have been carried out */
    /* link.c's own */
    uint64_t id, deadline_ms;
    struct msg_writer message;
    bool sent, greeting;
    TAILQ_ENTRY(ask) entry;
};

struct link;

struct link_setup {
    struct loop *loop;
    int dir_fd;         /* of the role sockets; kept by the caller */
    enum msg_role role; /* who is asked */
    size_t queue_max;   /* questions under way */
    /* The line is up, or up again. A greeting that must arrive before the questions that are
     * repeated is sent from here, with link_ask_send_first(). */
    void (*on_connect)(struct link *link, void *ctx);
    /* Unasked messages. fd is the callee's. */
    void (*on_message)(struct link *link, struct msg_reader *message, int fd, void *ctx);
    void *ctx;
};

struct link *link_new(const struct link_setup *setup);
void link_free(struct link **link);
/* Begins a question that the link's role answers: returns a writer positioned behind the header;
 * put the fields, then link_ask_send. */
struct msg_writer *link_ask_begin(struct link *link, struct ask *ask, enum msg_type type);
void link_ask_send(struct link *link, struct ask *ask);
/* The same, ahead of all others; for on_connect. Not repeated after EOF: `done` gets CLOSED. */
void link_ask_send_first(struct link *link, struct ask *ask);
/* Reads what is there right now without waiting (to take a new index at once). */
void link_poll(struct link *link);
bool link_connected(const struct link *link);
size_t link_waiting(const struct link *link);

#endif
