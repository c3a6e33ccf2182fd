/*
 * io.h - bytes from and to a client's socket, plain or through TLS: the only
 * calls that touch it.
 */
#ifndef ENTREPOT_HTTP_IO_H
#define ENTREPOT_HTTP_IO_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct tls;
struct tls_session;

struct io {
    int fd;                  /* the owner's */
    struct tls_session *tls; /* NULL: plain */
};

/* Speaks TLS on a fresh socket from now on. UNAVAILABLE: OpenSSL has no memory. */
must_check int io_start_tls(struct io *io, struct tls *tls);
/* Frees what TLS holds and says goodbye unless the connection is `broken`; the
 * descriptor stays open. */
void io_end(struct io *io, bool broken);

/* Each does what is possible now and tells how much in *done_r. BUSY: nothing
 * is possible now. CLOSED: the peer is gone (reading: or has finished).
 * PROTOCOL (reading, TLS): the peer speaks plain HTTP; the connection is plain
 * from then on, and what it sent is lost. */
must_check int io_read(struct io *io, void *data, size_t len, size_t *done_r);
/* Reads at most `len` bytes and none behind the first line feed. Not through TLS. */
must_check int io_read_line(struct io *io, void *data, size_t len, size_t *done_r);
/* `more`: further bytes follow at once. After BUSY the same bytes must be
 * offered again. */
must_check int io_write(struct io *io, struct iovec *parts, size_t count, bool more,
                        size_t *done_r);
/* A range of a file. DAMAGED when the file ends before the range does, IO when
 * it cannot be read. */
must_check int io_send_file(struct io *io, int file_fd, uint64_t offset, size_t len,
                            size_t *done_r);
/* After BUSY: the event (EPOLLIN or EPOLLOUT) to wait for where it is not what
 * the call suggests; 0 otherwise. */
uint32_t io_wants(const struct io *io);
/* Bytes that were taken from the socket and were not read yet: no event will tell of them. */
bool io_pending(const struct io *io);
/* See tls_session_client_name; "" without TLS. out[IO_CLIENT_NAME_MAX + 1] */
#define IO_CLIENT_NAME_MAX 255
void io_client_name(const struct io *io, char *out);
/* Bytes handed over that the peer has not acknowledged yet. */
size_t io_unsent(const struct io *io);
/* Nothing more will be sent; reading goes on. */
void io_shutdown(struct io *io);
/* Makes the coming close() a reset, so that the peer cannot take what it got
 * for the whole. */
void io_break(const struct io *io);

/* Do these bytes of a file lie in memory, so that sending them waits for no
 * disk? True also when the kernel will not say. */
bool io_file_in_memory(int file_fd, uint64_t offset, size_t len);

#endif
