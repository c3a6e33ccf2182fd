/*
 * client.h - an HTTP/1.1 client for measuring: blocking, keep-alive, no copies of bodies.
 *
 * For servers on loopback that are known to answer with Content-Length. A thread
 * owns a client. What goes wrong with a server that should serve ends the program.
 */
#ifndef ENTREPOT_BENCH_CLIENT_H
#define ENTREPOT_BENCH_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct client {
    int fd, port;
    char in[16384]; /* read and not used: in_at to in_len */
    size_t in_at, in_len;
};

struct client_reply {
    int status;
    uint64_t length;     /* of the body, which is left unread */
    char location[2048]; /* path and query; "" without one */
};

/* Seconds, CLOCK_MONOTONIC: comparable between processes. */
double client_now(void);
/* Ends the program with a message. */
__attribute__((noreturn, format(printf, 1, 2))) void client_die(const char *format, ...);

/* Each returns 0, or -1 when the connection is refused, cut or ends too early. */
int client_open(struct client *c, int port);
void client_close(struct client *c);
/* Head without the empty line; Host and Content-Length are added. `body` may be
 * NULL with a length: the caller sends it with client_send. */
int client_request(struct client *c, const char *head, const void *body, uint64_t len);
int client_send(struct client *c, const void *data, size_t len);
int client_reply(struct client *c, struct client_reply *reply_r);
/* Reads `len` bytes of body and throws them away. */
int client_skip(struct client *c, uint64_t len);
/* Request and reply with its body skipped; dies unless it is `status`. */
void client_must(struct client *c, const char *head, const void *body, size_t len, int status,
                 struct client_reply *reply_r);

#endif
