/*
 * tls_session.c - TLS on one connection.
 *
 * Runs in workers. Owns an SSL object. OpenSSL wants the same bytes again after
 * it could not send them; callers keep to that (io.h). A crash here costs the
 * worker's connections.
 */
#include "http/tls_session.h"

#include "base/mem.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

struct tls_session {
    SSL *ssl;
    struct tls *tls;
    uint32_t wants;
    bool kernel; /* the kernel encrypts: files need not pass through us */
    bool kernel_asked;
    bool failed; /* nothing may be sent any more, not even a goodbye */
};

int tls_session_new(struct tls *tls, int fd, struct tls_session **session_r)
{
    struct tls_session *s;
    SSL *ssl = tls_accept(tls);

    if (!ssl || SSL_set_fd(ssl, fd) != 1) {
        SSL_free(ssl);
        return ERR_UNAVAILABLE;
    }
    SSL_set_accept_state(ssl);
    s = mem_alloc(sizeof(*s));
    s->ssl = ssl;
    s->tls = tls;
    *session_r = s;
    return 0;
}

void tls_session_free(struct tls_session **session_p, bool broken)
{
    struct tls_session *s = *session_p;

    *session_p = NULL;
    if (!broken)
        tls_session_goodbye(s);
    SSL_free(s->ssl);
    free(s);
}

void tls_session_goodbye(struct tls_session *s)
{
    if (s->failed || !SSL_is_init_finished(s->ssl))
        return;
    ERR_clear_error();
    (void)SSL_shutdown(s->ssl);
    ERR_clear_error();
}

void tls_session_client_name(struct tls_session *s, char *out)
{
    tls_client_name(s->ssl, out);
}

uint32_t tls_session_wants(const struct tls_session *s)
{
    return s->wants;
}

bool tls_session_pending(const struct tls_session *s)
{
    return SSL_has_pending(s->ssl) == 1;
}

/* What an SSL call that returned `result` means. `usual`: the event it waits
 * for as a rule. */
static int session_err(struct tls_session *s, int result, uint32_t usual)
{
    uint32_t wanted = 0;

    switch (SSL_get_error(s->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        wanted = EPOLLIN;
        break;
    case SSL_ERROR_WANT_WRITE:
        wanted = EPOLLOUT;
        break;
    case SSL_ERROR_ZERO_RETURN:
        return ERR_CLOSED;
    case SSL_ERROR_SSL:
        s->failed = true;
        if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_HTTP_REQUEST)
            return ERR_PROTOCOL;
        return ERR_CLOSED;
    default:
        s->failed = true;
        return ERR_CLOSED;
    }
    s->wants = wanted == usual ? 0 : wanted;
    return ERR_BUSY;
}

int tls_session_read(struct tls_session *s, void *data, size_t len, size_t *done_r)
{
    int result;

    s->wants = 0;
    ERR_clear_error();
    result = SSL_read_ex(s->ssl, data, len, done_r);
    if (result == 1)
        return 0;
    *done_r = 0;
    return session_err(s, result, EPOLLIN);
}

static int session_write(struct tls_session *s, const void *data, size_t len, size_t *done_r)
{
    int result;

    s->wants = 0;
    ERR_clear_error();
    result = SSL_write_ex(s->ssl, data, len, done_r);
    if (result == 1)
        return 0;
    *done_r = 0;
    return session_err(s, result, EPOLLOUT);
}

/* One record for head and small body, not one each. */
int tls_session_write(struct tls_session *s, const struct iovec *parts, size_t count,
                      size_t *done_r)
{
    char *buffer = tls_buffer(s->tls);
    size_t len = 0;

    if (count == 1)
        return session_write(s, parts[0].iov_base, parts[0].iov_len, done_r);
    for (size_t i = 0; i < count && len < TLS_BUFFER; i++) {
        size_t part = parts[i].iov_len;

        if (part > TLS_BUFFER - len)
            part = TLS_BUFFER - len;
        memcpy(buffer + len, parts[i].iov_base, part);
        len += part;
    }
    return session_write(s, buffer, len, done_r);
}

static int send_by_kernel(struct tls_session *s, int file_fd, uint64_t offset, size_t len,
                          size_t *done_r)
{
    ossl_ssize_t put;

    s->wants = 0;
    ERR_clear_error();
    put = SSL_sendfile(s->ssl, file_fd, (off_t)offset, len, 0);
    *done_r = put > 0 ? (size_t)put : 0;
    if (put > 0)
        return 0;
    if (put == 0)
        return ERR_DAMAGED;
    return session_err(s, -1, EPOLLOUT);
}

/* OpenSSL takes a record (16 KiB) at a time. */
static int write_all(struct tls_session *s, const char *data, size_t len, size_t *done_r)
{
    int err = 0;

    *done_r = 0;
    while (*done_r < len && err == 0) {
        size_t put = 0;

        err = session_write(s, data + *done_r, len - *done_r, &put);
        *done_r += put;
    }
    return err;
}

/* Records become packets together, not one each. */
static void cork(const struct tls_session *s, int on)
{
    setsockopt(SSL_get_fd(s->ssl), IPPROTO_TCP, TCP_CORK, &on, sizeof(on));
}

static int send_by_copy(struct tls_session *s, int file_fd, uint64_t offset, size_t len,
                        size_t *done_r)
{
    char *buffer = tls_buffer(s->tls);
    int err = 0;

    cork(s, 1);
    *done_r = 0;
    while (*done_r < len && err == 0) {
        size_t piece = len - *done_r > TLS_BUFFER ? TLS_BUFFER : len - *done_r, put;
        ssize_t got = pread(file_fd, buffer, piece, (off_t)(offset + *done_r));

        if (got <= 0)
            return *done_r > 0 ? 0 : got == 0 ? ERR_DAMAGED : ERR_IO;
        err = write_all(s, buffer, (size_t)got, &put);
        *done_r += put;
    }
    cork(s, 0);
    return err == ERR_BUSY && *done_r > 0 ? 0 : err;
}

int tls_session_send_file(struct tls_session *s, int file_fd, uint64_t offset, size_t len,
                          size_t *done_r)
{
    if (!s->kernel_asked) {
        s->kernel_asked = true;
        s->kernel = BIO_get_ktls_send(SSL_get_wbio(s->ssl));
    }
    return s->kernel ? send_by_kernel(s, file_fd, offset, len, done_r)
                     : send_by_copy(s, file_fd, offset, len, done_r);
}
