/*
 * serve.h - the answering side: a role's socket, its peers and their questions.
 * Bytes from peers are hostile: a malformed message ends that peer.
 */
#ifndef ENTREPOT_IPC_SERVE_H
#define ENTREPOT_IPC_SERVE_H

#include "base/loop.h"
#include "ipc/msg.h"

#include <sys/types.h>

struct serve;

/* Where an answer goes; may be kept and used after the peer left (then dropped). */
struct serve_return {
    uint64_t peer, id;
};

struct serve_setup {
    struct loop *loop;
    int listen_fd;      /* inherited from the master; never closed here */
    enum msg_role role; /* whose questions are taken; others end the peer */
    /* What msg_privileged() names is answered DENIED to peers of any other account. */
    uid_t operator_uid;
    size_t peers_max;
    /* A question. Returns 0, or an error that ends the peer (logged). */
    int (*on_message)(struct serve *serve, struct serve_return to, struct msg_reader *message,
                      void *ctx);
    /* A peer left; its id is never used again. May be NULL. */
    void (*on_gone)(uint64_t peer, void *ctx);
    void *ctx;
};

must_check int serve_new(const struct serve_setup *setup, struct serve **serve_r);
void serve_free(struct serve **serve);
/* Starts the answer to a question. */
void serve_reply_begin(struct msg_writer *w, struct serve_return to);
/* Sends and frees the writer. pass_fd stays the caller's. */
void serve_reply(struct serve *serve, struct serve_return to, struct msg_writer *w, int pass_fd);
/* One message to every peer (INDEX_NEW). A peer that cannot take it now is dropped: it will
 * reconnect. */
void serve_broadcast(struct serve *serve, struct msg_writer *w, int pass_fd);

#endif
