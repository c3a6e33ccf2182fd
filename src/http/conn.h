/*
 * conn.h - private to the http room: a connection and its server.
 */
#ifndef ENTREPOT_HTTP_CONN_H
#define ENTREPOT_HTTP_CONN_H

#include "http/http.h"
#include "http/http1.h"
#include "http/io.h"

#include <sys/queue.h>

enum conn_state {
    CONN_PROXY,   /* the head of the PROXY protocol is to come first */
    CONN_HEAD,    /* waiting for or reading a request head */
    CONN_HANDLE,  /* the handler has the request; its body may be coming in */
    CONN_RESPOND, /* sending */
    CONN_DRAIN,   /* answered; the rest of the body is swallowed */
    CONN_LINGER,  /* everything is sent, the peer is given time to read it */
    CONN_DONE     /* to be freed */
};

enum conn_body { CONN_BODY_NONE, CONN_BODY_LENGTH, CONN_BODY_CHUNKED };

struct http_readahead;
struct http_address; /* of places.c */

struct http_conn {
    struct http_server *server;
    struct loop_fd watch;
    struct io io;
    struct loop_timer timer;
    uint64_t deadline_ms; /* UINT64_MAX: none; the timer may be set earlier */
    enum conn_state state;
    TAILQ_ENTRY(http_conn) entry;
    bool idle;                    /* no request is there: in both of these lists */
    struct http_address *address; /* whose share it counts for; NULL: nobody's */
    TAILQ_ENTRY(http_conn) idle_entry, idle_of_address;

    char *in; /* read but not used yet: in_at to in_len; NULL while there is
                 nothing. The server's buffer while a head is looked at that came whole. */
    size_t in_len, in_at;
    unsigned empty_lines; /* before this request line */

    enum conn_body body;
    uint64_t body_left; /* CONN_BODY_LENGTH */
    struct http1_chunked chunked;
    bool body_done;    /* all of it was read */
    bool body_wanted;  /* the handler takes it */
    bool body_paused;  /* not now */
    bool body_refused; /* on_body said no */
    bool body_ended;   /* on_body_end was called */
    bool body_flows;   /* the last read filled the buffer: more is waiting */
    bool stream_lost;  /* where the next request begins is not known any more */
    uint64_t swallowed;

    /* Response head. A handler's header lines come first, behind room for what stands before
     * them and is known last; it begins at out_at then. Kept for the next one. */
    struct str out;
    size_t out_at;
    size_t segment; /* the one being sent */
    uint64_t segment_at;
    uint64_t ready_until;                 /* of this segment: in memory when last looked, */
    uint64_t ready_ms;                    /* and when that was */
    bool starved;                         /* the file has not grown to here yet */
    struct http_readahead *reading_ahead; /* a thread reads the next piece; or NULL */

    uint64_t moved;      /* bytes of this body, or of this response, so far */
    int64_t window_mark; /* progress when the rate window began */
    bool active;         /* a request is being handled: r is valid */
    bool running;        /* conn_run is on the stack */
    bool kicked;         /* conn_run is due after the round */
    bool aborted;
    bool served;       /* had a request already */
    char *client_name; /* of its certificate; NULL: not looked for yet, or none */
    struct net_addr peer, local;
    struct net_addr client; /* peer, or what the PROXY protocol said */
    bool client_tls;        /* it said so too */
    const struct http_listener *listener;
    struct http_request r;
};

struct http_listener {
    struct http_server *server;
    struct loop_fd watch;
    size_t place;
    struct tls *tls; /* the caller's; NULL: plain HTTP */
    bool proxy_protocol;
    const struct net_prefix *proxies; /* who stands for many clients; the caller's */
    size_t proxy_count;
    SLIST_ENTRY(http_listener) entry;
};

struct http_server {
    struct http_server_setup setup;
    SLIST_HEAD(, http_listener) listeners;
    TAILQ_HEAD(, http_conn) conns;
    size_t conn_count;
    TAILQ_HEAD(, http_conn) idle;   /* the longest first */
    struct http_address *addresses; /* uthash, by address */
    uint8_t address_seed[16];
    uint64_t told_full_ms, told_share_ms;
    bool draining, paused; /* paused: not accepting for now */
    bool drained_due;      /* on_drained comes after the round */
    struct loop_timer accept_timer;
    uint64_t warned_ms;
    char id_base[17];
    uint64_t id_next;
    char date[40]; /* of the second date_s */
    uint64_t date_s;
    char *buffer;            /* HTTP_BUFFER bytes for bodies on their way to a handler */
    struct mem_arena *spare; /* of a request that ended, for the next one; or NULL */
};

#define HTTP_BUFFER 65536

/* conn.c */
void conn_start(struct http_server *server, int fd, const struct http_listener *listener,
                const struct net_addr *peer);
/* Goes on as far as it can without waiting; the caller is the loop. */
void conn_run(struct http_conn *c);
/* The handler changed something: conn_run follows, but never inside the
 * handler's call, which would pull the request from under its feet. */
void conn_kick(struct http_conn *c);
/* Begins an idle connection's end when the server drains. */
void conn_drain(struct http_conn *c);
/* Ends without a word. */
void conn_drop(struct http_conn *c);
/* An answer by the connection itself to what cannot be handled; closes after
 * it. */
void conn_refuse(struct http_conn *c, int status, const char *reason);

/* Waits for the first request head, or for the handshake before it. */
void conn_first_head(struct http_conn *c);
/* A request is there: its struct, memory and name. */
void conn_request_begin(struct http_conn *c);

/* Results of a step */
enum conn_step {
    STEP_AGAIN, /* more may be possible */
    STEP_WAIT,  /* for the socket, or for the handler */
    STEP_YIELD, /* more is possible, but others wait */
    STEP_STATE  /* the state changed or is to change */
};

/* conn_head.c: reads on until a head is complete, and hands it to the handler. */
enum conn_step conn_head_step(struct http_conn *c);

/* conn_body.c */
/* Keeps bytes that were read too far. */
void conn_keep(struct http_conn *c, const char *data, size_t len);
/* Frees the buffer of what is read off: an idle connection holds none. */
void conn_release(struct http_conn *c);
/* Moves body bytes to the handler, or away. */
enum conn_step conn_body_step(struct http_conn *c);
/* The body will not come to its end: CLOSED, TIMEOUT, INVALID. */
void conn_body_broken(struct http_conn *c, int err);
/* The handler waits for bytes of the body. */
bool conn_body_due(const struct http_conn *c);
void conn_body_begin(struct http_conn *c);

/* response.c */
/* Forgets the header lines of the handler, if there are any. */
void response_begin(struct http_conn *c);
void response_build_head(struct http_conn *c);
/* Sends what can be sent; STEP_STATE when all is out or the connection is lost.
 */
enum conn_step response_step(struct http_conn *c);

/* conn_proxy.c: reads the head of the PROXY protocol, then the first request's
 * turn comes. */
enum conn_step conn_proxy_step(struct http_conn *c);
/* Who has shown a certificate; "" nobody. */
const char *conn_client_name(struct http_conn *c);

/* places.c */
/* Is there a place for a new connection? When there is none, idle ones are closed, the longest
 * idle first. False: all are busy, or a request has just come on those that were looked at. */
bool places_room(struct http_server *server);
/* Ends an idle connection for its descriptor's sake; false: there is none. */
bool places_give_way(struct http_server *server);
/* Counts the connection to the share of an address. False: it is used up by others that are busy,
 * and the caller ends this one. */
bool places_take(struct http_conn *c, const struct net_addr *addr);
/* It waits for a request from now on; a request is there; it ends. */
void places_idle(struct http_conn *c);
void places_busy(struct http_conn *c);
void places_leave(struct http_conn *c);

/* readahead.c */
/* True when a piece of a file is not in memory and a thread has gone to read it:
 * the connection goes on when it is back. */
bool readahead_start(struct http_conn *c, int fd, uint64_t offset, size_t len);
/* The connection ends; the thread may finish without it. */
void readahead_abandon(struct http_conn *c);

/* conn_time.c */
/* The timer is only moved when it fires: most deadlines are replaced long
 * before. */
void conn_deadline_in(struct http_conn *c, uint64_t delay_ms);
void conn_deadline_none(struct http_conn *c);
/* A window begins in which bytes must move. */
void conn_rate_window(struct http_conn *c);
void conn_timer(struct loop_timer *timer);
/* conn.c */
void conn_linger(struct http_conn *c);

/* server.c */
void server_conn_gone(struct http_server *server);
/* A connection may be closed for a new one from now on. */
void server_conn_idle(struct http_server *server);

#endif
