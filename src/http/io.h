/*
 * io.h - bytes from and to a client's socket: the only calls that touch it, so
 * that TLS has one place to go.
 */
#ifndef ENTREPOT_HTTP_IO_H
#define ENTREPOT_HTTP_IO_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* Each does what is possible now and tells how much in *done_r. BUSY: nothing
 * is possible now. CLOSED: the peer is gone (reading: or has finished). */
must_check int io_read(int fd, void *data, size_t len, size_t *done_r);
/* `more`: further bytes follow at once. */
must_check int io_write(int fd, struct iovec *parts, size_t count, bool more, size_t *done_r);
/* A range of a file. DAMAGED when the file ends before the range does, IO when
 * it cannot be read. */
must_check int io_send_file(int fd, int file_fd, uint64_t offset, size_t len, size_t *done_r);
/* Bytes handed over that the peer has not acknowledged yet. */
size_t io_unsent(int fd);
/* Nothing more will be sent; reading goes on. */
void io_shutdown(int fd);
/* Makes the coming close() a reset, so that the peer cannot take what it got
 * for the whole. */
void io_break(int fd);

#endif
