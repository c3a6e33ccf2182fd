/*
 * conn.h - private to the http room: a connection and its server.
 */
#ifndef ENTREPOT_HTTP_CONN_H
#define ENTREPOT_HTTP_CONN_H

#include "http/http.h"
#include "http/http1.h"

#include <sys/queue.h>

enum conn_state {
    CONN_HEAD,    /* waiting for or reading a request head */
    CONN_HANDLE,  /* the handler has the request; its body may be coming in */
    CONN_RESPOND, /* sending */
    CONN_DRAIN,   /* answered; the rest of the body is swallowed */
    CONN_LINGER,  /* everything is sent, the peer is given time to read it */
    CONN_DONE     /* to be freed */
};

enum conn_body { CONN_BODY_NONE, CONN_BODY_LENGTH, CONN_BODY_CHUNKED };

struct http_conn {
    struct http_server *server;
    struct loop_fd watch;
    struct loop_timer timer;
    uint64_t deadline_ms; /* UINT64_MAX: none; the timer may be set earlier */
    enum conn_state state;
    TAILQ_ENTRY(http_conn) entry;

    char *in; /* HTTP_HEAD_MAX bytes while something unread is there; else NULL */
    size_t in_len, in_at;

    enum conn_body body;
    uint64_t body_left; /* CONN_BODY_LENGTH */
    struct http1_chunked chunked;
    bool body_done;    /* all of it was read */
    bool body_wanted;  /* the handler takes it */
    bool body_paused;  /* not now */
    bool body_refused; /* on_body said no */
    uint64_t swallowed;

    struct str out; /* response head */
    size_t out_at;
    size_t segment; /* the one being sent */
    uint64_t segment_at;

    uint64_t window_bytes; /* moved since the rate window began */
    bool active;           /* a request is being handled: r is valid */
    bool peer_gone;        /* and the handler does not know yet */
    bool running;          /* conn_run is on the stack */
    bool aborted;
    bool keep_alive;
    struct net_addr peer, local;
    size_t listener;
    struct http_request r;
};

struct http_listener {
    struct http_server *server;
    struct loop_fd watch;
    size_t place;
    SLIST_ENTRY(http_listener) entry;
};

struct http_server {
    struct http_server_setup setup;
    SLIST_HEAD(, http_listener) listeners;
    TAILQ_HEAD(, http_conn) conns;
    size_t conn_count;
    bool draining, paused; /* paused: not accepting for now */
    struct loop_timer accept_timer;
    uint64_t warned_ms;
    char id_base[17];
    uint64_t id_next;
    char date[40]; /* of the second date_s */
    uint64_t date_s;
    char *buffer; /* HTTP_BUFFER bytes for bodies on their way to a handler */
};

#define HTTP_BUFFER 65536

/* conn.c */
void conn_start(struct http_server *server, int fd, const struct http_listener *listener,
                const struct net_addr *peer);
/* Goes on as far as it can without waiting. Safe to call from anywhere. */
void conn_run(struct http_conn *c);
void conn_deadline(struct http_conn *c, uint64_t delay_ms);
void conn_no_deadline(struct http_conn *c);
/* Ends without a word. */
void conn_drop(struct http_conn *c);
/* An answer by the connection itself to what cannot be handled; closes after it. */
void conn_refuse(struct http_conn *c, int status, const char *reason);

/* conn_body.c: results of a step */
enum conn_step { STEP_AGAIN, STEP_WAIT, STEP_STATE };
/* Moves body bytes to the handler, or away. */
enum conn_step conn_body_step(struct http_conn *c);
void conn_body_begin(struct http_conn *c);

/* response.c */
void response_build_head(struct http_conn *c);
/* Sends what can be sent; STEP_STATE when all is out or the connection is lost. */
enum conn_step response_step(struct http_conn *c);

/* server.c */
void server_conn_gone(struct http_server *server);

#endif
