/*
 * tls_session.h - private to the http room: TLS on one connection. Errors and
 * meanings as in io.h.
 */
#ifndef ENTREPOT_HTTP_TLS_SESSION_H
#define ENTREPOT_HTTP_TLS_SESSION_H

#include "http/io.h"
#include "http/tls.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct ssl_st;
struct tls_session;

/* Of tls.c: a new OpenSSL session for an accepted connection, NULL without
 * memory; and the buffer in which all sessions of a process gather what they
 * encrypt. */
#define TLS_BUFFER (64u << 10)
struct ssl_st *tls_accept(struct tls *tls);
char *tls_buffer(struct tls *tls);
/* Of tls_client.c */
void tls_client_name(struct ssl_st *ssl, char *out);

must_check int tls_session_new(struct tls *tls, int fd, struct tls_session **session_r);
void tls_session_free(struct tls_session **session, bool broken);
/* The handshake happens within the first reads. */
must_check int tls_session_read(struct tls_session *session, void *data, size_t len,
                                size_t *done_r);
must_check int tls_session_write(struct tls_session *session, const struct iovec *parts,
                                 size_t count, size_t *done_r);
/* By the kernel (kTLS, SSL_sendfile(3)) when kernel and OpenSSL can, else by
 * reading and encrypting. */
must_check int tls_session_send_file(struct tls_session *session, int file_fd, uint64_t offset,
                                     size_t len, size_t *done_r);
/* Decrypted, or taken from the socket, and not read yet. */
bool tls_session_pending(const struct tls_session *session);
uint32_t tls_session_wants(const struct tls_session *session);
/* What a verified client certificate calls its owner: the one common name of its
 * subject, else the first DNS name or mail address among its alternative names;
 * in out[IO_CLIENT_NAME_MAX + 1], "" without a certificate or name. Only after
 * the handshake. */
void tls_session_client_name(struct tls_session *session, char *out);
/* close_notify, if it can leave now. */
void tls_session_goodbye(struct tls_session *session);

#endif
