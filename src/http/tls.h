/*
 * tls.h - certificates and session tickets of HTTPS connectors.
 *
 * The master reads the files at start and reload, when it may and can refuse
 * what does not fit. It never parses a key itself: OpenSSL leaves copies on the
 * heap, which every later child would inherit. A short-lived child checks them,
 * each worker takes them into use. TLS 1.2 and 1.3, ALPN http/1.1.
 */
#ifndef ENTREPOT_HTTP_TLS_H
#define ENTREPOT_HTTP_TLS_H

#include "base/err.h"
#include "base/str.h"

#include <stddef.h>

/* A connector's certificates: one is the default, each other is for a name. */
struct tls;

/* A file in PEM form; the certificate's may hold its chain. */
struct tls_file {
    const char *path; /* for messages */
    char *data;       /* NUL-terminated */
    size_t len;
};

struct tls_pair {
    const char *name; /* lower case; matched with SNI. NULL: the default, first */
    struct tls_file certificate, key;
};

/* Of a connector; count 0: it speaks plain HTTP. */
struct tls_pairs {
    struct tls_pair *pairs;
    size_t count;
    /* CAs of clients: then a client may show a certificate, and one that they did
     * not sign ends the handshake. data NULL: none is asked for. */
    struct tls_file client_ca;
};

/* Keys of session tickets (RFC 5077, RFC 8446 section 2.2), shared by every
 * worker: whichever takes a client's next connection can resume its session. */
struct tls_tickets;

/* A region that the master's children share, with a first key. NULL when there
 * is no memory. */
struct tls_tickets *tls_tickets_new(void);
/* Unmaps; for processes that speak no TLS. */
void tls_tickets_close(struct tls_tickets **tickets);
/* A new key for new tickets. The two before it are still taken, and what they
 * open is sealed anew. The master's, now and then. */
void tls_tickets_rotate(struct tls_tickets *tickets);

/* Parses and checks. INVALID with a line in *why (appended) for each file that
 * cannot be used. `tickets` must outlive the result. */
must_check int tls_new(const struct tls_pairs *pairs, struct tls_tickets *tickets,
                       struct tls **tls_r, struct str *why);
/* A line in *warnings for each certificate whose days have not come or are over: clients refuse
 * it, but the clock may be wrong as well. */
void tls_dates(const struct tls *tls, const struct tls_pairs *pairs, struct str *warnings);
void tls_free(struct tls **tls);

#endif
