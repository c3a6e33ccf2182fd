/*
 * http.h - an HTTP/1.1 server on the loop: connections, requests, responses.
 *
 * One request a connection at a time (pipelined ones wait). A handler gets the
 * request when its head is complete and answers now or later; it may take the
 * body in pieces. RFC 9110, RFC 9112. Whatever is ambiguous is refused with
 * 400 and the connection closed, never repaired.
 */
#ifndef ENTREPOT_HTTP_HTTP_H
#define ENTREPOT_HTTP_HTTP_H

#include "base/err.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/net.h"
#include "base/net_prefix.h"
#include "base/pool.h"
#include "base/str.h"
#include "http/counters.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_HEAD_MAX    16384
#define HTTP_HEADERS_MAX 64

enum http_method {
    HTTP_GET,
    HTTP_HEAD,
    HTTP_POST,
    HTTP_PUT,
    HTTP_PATCH,
    HTTP_DELETE,
    HTTP_OPTIONS,
    HTTP_OTHER
};

struct http_header {
    const char *name;  /* as sent */
    const char *value; /* without surrounding white space; no control bytes but HTAB */
};

struct http_conn;

/* A segment of a response body. */
struct http_segment {
    const void *data; /* memory, or NULL: a range of fd */
    int fd;
    uint64_t offset, len;
};

/* A request and the response being built. Lives in the connection; strings
 * live in `arena` until the response is finished and logged. */
struct http_request {
    struct http_conn *conn;
    struct mem_arena *arena;
    char id[33]; /* request id, hex: X-Request-Id of the reply and of the logs */

    enum http_method method;
    const char *method_text;
    const char *target; /* as sent */
    const char *path;   /* target up to '?', still percent-encoded */
    const char *query;  /* after '?', still encoded; NULL without one */
    const char *host;   /* Host header without port, lower case; "" when absent (HTTP/1.0) */
    /* Host header with its port as sent, lower case: what the client calls us. */
    const char *authority;
    struct http_header headers[HTTP_HEADERS_MAX];
    size_t header_count;
    bool http10;
    bool expect_continue;
    bool has_length;             /* Content-Length was sent */
    bool chunked;                /* Transfer-Encoding: chunked */
    uint64_t length;             /* of the body when has_length, else 0 */
    struct net_addr peer, local; /* of the connection */
    /* Where the request comes from and how it left there: peer and TLS of the
     * connection, unless something in front that is trusted said otherwise. */
    struct net_addr client;
    bool https;
    /* In the verified certificate the client showed (tls_client_ca); "" without. */
    const char *client_name;
    size_t listener; /* place of the connector in the configuration */

    /* The handler's: set before returning from on_request or later. */
    void *handler_data;
    /* Bytes of the body as they come, never more than announced. A non-zero
     * return stops reading: the handler has answered or will. `len` > 0. */
    int (*on_body)(struct http_request *r, const void *data, size_t len);
    /* Optional: where the next bytes of the body may be put, at most *len_r of them;
     * on_body then gets that very address. Else they come in a buffer of the server. */
    void *(*on_body_room)(struct http_request *r, size_t *len_r);
    /* Body complete (err 0), or broken off (CLOSED, TIMEOUT) or malformed
     * (INVALID): then the connection is ending and a response, if one can
     * still be sent, has been made by the connection itself; the handler only
     * releases what it holds and must not answer. */
    void (*on_body_end)(struct http_request *r, int err);
    /* Called once when request and response are over, however they ended,
     * after the response's segments were released. Frees handler_data. */
    void (*on_finish)(struct http_request *r);

    /* Response */
    int status;
    bool close; /* close the connection after this response */
    struct http_segment *segments;
    size_t segment_count;
    uint64_t file_end; /* files of the response are growing: they hold bytes up to this offset */
    uint64_t response_length; /* announced Content-Length */
    uint64_t bytes_sent;      /* of the body */
    bool answered;
    const char *log_fields; /* logfmt for the access log, e.g. `repo=x image=y`; arena; or NULL */
    uint64_t started_us;
};

struct http_limits {
    uint64_t head_timeout_ms, keepalive_timeout_ms, rate_window_ms;
    uint64_t min_rate; /* bytes/s over a window, both directions */
    uint64_t max_connections;
    uint64_t max_per_address; /* of them; IPv6: of a /64; 0: as many as there are */
    uint64_t drain_bytes;     /* unread body swallowed after an early answer before closing */
};

struct http_server;
struct tls;

struct http_server_setup {
    struct loop *loop;
    struct http_limits limits;
    struct http_counters *counters;
    struct pool *pool; /* reads cold files; NULL: they are sent as they are */
    /* Head complete. Answer with http_answer_*, or set on_body/on_body_end to
     * take the body, or keep the request and answer later. */
    void (*on_request)(struct http_request *r, void *ctx);
    /* A malformed head or other protocol error: fill in the body for `status`
     * (400, 403, 408, 413, 414, 431, 501, 505, 503) through http_answer_*; close is set already. */
    void (*on_bad_request)(struct http_request *r, int status, const char *reason, void *ctx);
    /* The access log line's time. */
    void (*on_log)(const struct http_request *r, void *ctx);
    /* The last connection went after http_server_drain. */
    void (*on_drained)(void *ctx);
    void *ctx;
};

must_check int http_server_new(const struct http_server_setup *setup,
                               struct http_server **server_r);
/* Ends all connections at once. */
void http_server_free(struct http_server **server);
/* Accepts on an inherited listening socket (EPOLLEXCLUSIVE). Closed by
 * http_server_drain, not by http_server_free. `tls` (NULL: plain) stays the caller's. */
must_check int http_server_listen(struct http_server *server, int listen_fd, size_t listener,
                                  struct tls *tls);
/* Whoever is in `proxies` (the caller's, kept) stands for many clients: its address has no share
 * (max_per_address) on that listener. `protocol`: connections begin with the PROXY protocol,
 * and only such proxies may connect: others get 403 and malformed heads 400, in plain HTTP. The
 * client that the protocol names counts. */
void http_server_proxies(struct http_server *server, size_t listener,
                         const struct net_prefix *proxies, size_t count, bool protocol);
/* No new connections, no keep-alive; running requests go on. */
void http_server_drain(struct http_server *server);
size_t http_server_connections(const struct http_server *server);

/* First header of that name (case-insensitive), NULL when absent. */
const char *http_header_get(const struct http_request *r, const char *name);
/* How often it was sent. */
size_t http_header_count(const struct http_request *r, const char *name);
/* Parameter number `nth` (0: first) of that name out of "NAME=VALUE&...", as a query or a posted
 * form (application/x-www-form-urlencoded) has it; NULL as form: none. Decoded in *value_r (arena),
 * NULL when absent. INVALID when its coding is broken. */
must_check int http_form_get(struct mem_arena *arena, const char *form, const char *name,
                             size_t nth, const char **value_r);
/* The same of the request's query. */
must_check int http_query_get(struct http_request *r, const char *name, size_t nth,
                              const char **value_r);

/* Adds a response header. The value must not hold CR, LF or NUL: MUST. */
__attribute__((format(printf, 3, 4))) void http_header_add(struct http_request *r, const char *name,
                                                           const char *format, ...);

/* The same with a value that needs no formatting: what every pull does. */
void http_header_put(struct http_request *r, const char *name, const char *value);

/* Asks for the body now (sends 100 Continue if the client waits for it) — on_body and on_body_end
 * must be set. Call from on_request or any later callback; http_conn reads nothing before. */
void http_body_start(struct http_request *r);
/* Stops and resumes reading the body (back-pressure while a job runs). */
void http_body_pause(struct http_request *r);
void http_body_resume(struct http_request *r);

/* Answers. Exactly one a request. The status line, Date, Content-Length,
 * Connection, X-Request-Id come from here; all else from http_header_add.
 * HEAD requests get the same head and no body. 204 and 304 get no
 * Content-Length and no body. An unread body is swallowed up to drain_bytes, then the connection
 * closes so that the client still reads the answer. */
void http_answer_empty(struct http_request *r, int status);
/* `data` must live as long as the request (its arena, or static). */
void http_answer_memory(struct http_request *r, int status, const void *data, size_t len);
/* Segments in the arena; descriptors in them are owned by the caller until on_finish. */
void http_answer_segments(struct http_request *r, int status, struct http_segment *segments,
                          size_t count);
/* For HEAD: announces a length without having the bytes. */
void http_answer_length(struct http_request *r, int status, uint64_t length);
/* A file that is being sent has grown: bytes up to `end` are there. Before the answer it tells
 * that the file grows at all; UINT64_MAX (as it is without a call): it is complete. While there is
 * nothing to send, the client is not held to any rate. */
void http_file_grown(struct http_request *r, uint64_t end);
/* Drops the connection without a clean end. */
void http_abort(struct http_request *r);

/* "OK" for 200 and so on. */
const char *http_status_text(int status);

#endif
