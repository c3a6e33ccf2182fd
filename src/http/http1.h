/*
 * http1.h - parsing of HTTP/1.x request heads and chunked bodies (RFC 9112),
 * strict. Pure functions of bytes: tested alone, fuzzed against http-parser.
 */
#ifndef ENTREPOT_HTTP_HTTP1_H
#define ENTREPOT_HTTP_HTTP1_H

#include "http/http.h"

/* Where a head ends: the length including the empty line, 0 when `data` does
 * not hold it yet. */
size_t http1_head_length(const char *data, size_t len);

/* Parses a complete head of `len` bytes into the request's fields (copies into
 * r->arena). Returns 0 or the HTTP status to refuse with, and then a reason:
 * 400 for bare LF, obs-fold, space before colon, NUL or control bytes, both
 * Content-Length and Transfer-Encoding, differing or repeated Content-Length,
 * transfer codings other than chunked alone, Transfer-Encoding in HTTP/1.0,
 * missing or repeated Host in 1.1, bad request line; 431 for too many
 * headers; 505 for another version; 501 for an unknown transfer coding. An absolute-form
 * target is accepted and its authority replaces Host (RFC 9112 3.2.2). */
int http1_parse_head(struct http_request *r, const char *data, size_t len, const char **reason_r);

/* Is this host[:port] of a Host header (RFC 9110 section 7.2)? Letters, digits,
 * dots, dashes, underscores, or [IPv6]; also nothing at all. */
bool http1_host_ok(const char *text, size_t len, size_t *host_len_r);
/* Checks it and stores host and authority, in lower case. */
bool http1_take_host(struct http_request *r, const char *text, size_t len);

/* Incremental decoder of a chunked body. Zero-initialise. */
struct http1_chunked {
    int state;
    uint64_t left;
    size_t line; /* bytes of the present size or trailer line */
    size_t trailer;
};

/* Takes up to len bytes; *used_r tells how many were consumed. Yields one run
 * of payload (data_r, data_len_r: points into `data`) a call; data_len_r 0 when
 * none. *done_r once the last trailer line was read. INVALID on anything not to
 * the letter (chunk size over 16 digits, bare LF, extensions over 256 bytes, trailers
 * over 4 KiB). Call again with the rest. */
must_check int http1_chunked_decode(struct http1_chunked *c, const char *data, size_t len,
                                    size_t *used_r, const char **data_r, size_t *data_len_r,
                                    bool *done_r);

#endif
