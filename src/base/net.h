/*
 * net.h - sockets.
 */
#ifndef ENTREPOT_BASE_NET_H
#define ENTREPOT_BASE_NET_H

#include "base/err.h"

#include <netinet/in.h>
#include <stddef.h>
#include <sys/socket.h>

/* "1.2.3.4:80", "[::1]:80", "[::]:80" or "*:80" (any IPv4 and IPv6: one dual-stack socket). */
#define NET_ADDR_TEXT_MAX 64

struct net_addr {
    struct sockaddr_storage ss;
    socklen_t len;
};

/* Numeric addresses only. INVALID when it is none of the forms above. */
must_check int net_addr_parse(const char *text, struct net_addr *addr_r);
/* "1.2.3.4:80" or "[::1]:80", a port 0 left out; returns out[NET_ADDR_TEXT_MAX]. */
char *net_addr_text(const struct sockaddr *sa, socklen_t len, char *out);

/* Listening TCP socket: non-blocking, close-on-exec, SO_REUSEADDR, TCP_NODELAY
 * inherited by what it accepts, V6ONLY except for "*". EXISTS when the address
 * is taken, DENIED without the right to a low port; errno tells what failed. */
must_check int net_listen(const struct net_addr *addr, int backlog, int *fd_r);

/* UNIX SEQPACKET sockets in a directory given by descriptor (paths of any
 * length through /proc/self/fd). Listening: mode 0600 on the socket file. */
must_check int net_seqpacket_listen(int dir_fd, const char *name, int *fd_r);
/* Non-blocking socket, connected (connects to such sockets do not wait). NOT_FOUND, CLOSED when
 * nobody listens, BUSY when the backlog is full. */
must_check int net_seqpacket_connect(int dir_fd, const char *name, int *fd_r);

/* One message with at most one descriptor (fd = -1: none). BUSY when the buffer
 * is full, CLOSED when the peer left. */
must_check int net_send(int fd, const void *data, size_t len, int pass_fd);
/* Fills len_r and fd_r (-1: none). BUSY when there is nothing; CLOSED at EOF;
 * PROTOCOL when the message was cut. Received descriptors are close-on-exec. */
must_check int net_receive(int fd, void *data, size_t cap, size_t *len_r, int *fd_r);

#endif
