/*
 * http_fixture.h - a server with a loop in a thread of its own, a handler that
 * does what the path says, and a client of plain blocking sockets.
 *
 * What the handler counts is read by the test after fixture_stop(), or through
 * the atomics while it runs.
 */
#ifndef ENTREPOT_TESTS_HTTP_FIXTURE_H
#define ENTREPOT_TESTS_HTTP_FIXTURE_H

#include "base/container.h"
#include "base/log.h"
#include "http/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

#define FILE_BYTES (100u << 20)

struct fixture {
    struct loop *loop;
    struct http_server *server;
    struct http_counters counters;
    int listen_fd, control_fd, file_fd;
    int queued; /* descriptor of a memfd for /short */
    struct loop_fd control;
    pthread_t thread;
    struct sockaddr_in addr;
    atomic_int command; /* 1: stop, 2: drain */
    atomic_int requests, finished, logged, bad, drained, body_ends, last_status, body_err;
    atomic_ullong body_bytes, bytes_sent;
    struct http_request *held; /* of /hold */
    atomic_int release;        /* answer it when the client says so */
};

/* What the handler keeps about a request. */
struct job {
    struct fixture *f;
    struct http_request *r;
    struct loop_timer timer;
    uint64_t bytes;
    uint32_t sum;
    bool aborts;
};

static inline struct job *fixture_job(struct loop_timer *timer)
{
    return CONTAINER_OF(timer, struct job, timer);
}

static inline void fixture_answer_sum(struct job *j)
{
    char *text = mem_arena_printf(j->r->arena, "%llu %u", (unsigned long long)j->bytes, j->sum);

    http_answer_memory(j->r, 200, text, strlen(text));
}

static inline void fixture_finish(struct http_request *r)
{
    struct job *j = r->handler_data;

    j->f->finished++;
    loop_timer_cancel(j->f->loop, &j->timer);
    free(j);
}

static inline void fixture_later(struct loop_timer *timer)
{
    struct job *j = fixture_job(timer);
    struct http_request *r = j->r;

    if (j->aborts)
        http_abort(r);
    else
        http_answer_memory(r, 200, "later", 5);
    /* the request is still ours until we return to the loop */
    if (r->handler_data != j)
        abort();
}

static inline void fixture_resume(struct loop_timer *timer)
{
    http_body_resume(fixture_job(timer)->r);
}

static inline int fixture_body(struct http_request *r, const void *data, size_t len)
{
    struct job *j = r->handler_data;
    const uint8_t *bytes = data;

    j->bytes += len;
    j->f->body_bytes += len;
    for (size_t i = 0; i < len; i++)
        j->sum = j->sum * 31 + bytes[i];
    if (strcmp(r->path, "/pause") == 0) {
        http_body_pause(r);
        loop_timer_set(j->f->loop, &j->timer, 1);
    } else if (strcmp(r->path, "/refuse") == 0) {
        http_answer_memory(r, 413, "no", 2);
        return ERR_TOO_BIG;
    } else if (strcmp(r->path, "/abort-body") == 0) {
        http_abort(r);
    }
    return 0;
}

static inline void fixture_body_end(struct http_request *r, int err)
{
    struct job *j = r->handler_data;

    j->f->body_ends++;
    j->f->body_err = err;
    if (err == 0)
        fixture_answer_sum(j);
}

static inline void fixture_segments(struct http_request *r, struct fixture *f)
{
    static const struct http_segment parts[] = {
        {.data = "<", .len = 1}, {.fd = 0, .len = 0},     {.fd = 0, .offset = 1, .len = 3},
        {.data = ">", .len = 1}, {.data = "!", .len = 0},
    };
    struct http_segment *copy = mem_arena_alloc(r->arena, sizeof(parts));

    memcpy(copy, parts, sizeof(parts));
    copy[1].fd = copy[2].fd = f->queued;
    http_answer_segments(r, 206, copy, 5);
}

static inline void fixture_file(struct http_request *r, struct fixture *f, uint64_t len)
{
    struct http_segment *s = mem_arena_alloc(r->arena, sizeof(*s));

    *s = (struct http_segment){.fd = f->file_fd, .len = len};
    http_answer_segments(r, 200, s, 1);
}

/* How the request came, as far as we were told. */
static inline void fixture_who(struct http_request *r)
{
    char client[NET_ADDR_TEXT_MAX];
    char *text = mem_arena_printf(
        r->arena, "%s %s", r->https ? "https" : "http",
        net_addr_text((const struct sockaddr *)&r->client.ss, r->client.len, client));

    http_answer_memory(r, 200, text, strlen(text));
}

static inline void fixture_request(struct http_request *r, void *ctx)
{
    struct fixture *f = ctx;
    struct job *j = calloc(1, sizeof(*j));

    f->requests++;
    j->f = f;
    j->r = r;
    r->handler_data = j;
    r->on_finish = fixture_finish;
    r->on_body = fixture_body;
    r->on_body_end = fixture_body_end;
    j->timer.fire = fixture_later;
    if (strcmp(r->path, "/echo") == 0 || strcmp(r->path, "/refuse") == 0 ||
        strcmp(r->path, "/abort-body") == 0) {
        http_body_start(r);
    } else if (strcmp(r->path, "/pause") == 0) {
        j->timer.fire = fixture_resume;
        http_body_start(r);
    } else if (strcmp(r->path, "/file") == 0) {
        fixture_file(r, f, FILE_BYTES);
    } else if (strcmp(r->path, "/empty-file") == 0) {
        fixture_file(r, f, 0);
    } else if (strcmp(r->path, "/short") == 0) {
        fixture_file(r, f, FILE_BYTES + 1);
    } else if (strcmp(r->path, "/segments") == 0) {
        fixture_segments(r, f);
    } else if (strcmp(r->path, "/later") == 0 || strcmp(r->path, "/abort-later") == 0) {
        j->aborts = r->path[1] == 'a';
        loop_timer_set(f->loop, &j->timer, 20);
    } else if (strcmp(r->path, "/hold") == 0) {
        f->held = r;
    } else if (strcmp(r->path, "/abort") == 0) {
        http_abort(r);
    } else if (strcmp(r->path, "/who") == 0) {
        fixture_who(r);
    } else if (strcmp(r->path, "/204") == 0) {
        http_answer_empty(r, 204);
    } else if (strcmp(r->path, "/length") == 0) {
        http_answer_length(r, 200, 12345);
    } else if (strcmp(r->path, "/deny") == 0) {
        http_header_add(r, "WWW-Authenticate", "Bearer realm=\"%s\"", "x");
        http_answer_memory(r, 401, "denied", 6);
    } else {
        http_answer_memory(r, 200, "hello", 5);
    }
}

static inline void fixture_bad(struct http_request *r, int status, const char *reason, void *ctx)
{
    struct fixture *f = ctx;

    f->bad++;
    http_answer_memory(r, status, reason, strlen(reason));
}

static inline void fixture_log(const struct http_request *r, void *ctx)
{
    struct fixture *f = ctx;

    f->logged++;
    f->last_status = r->status;
    f->bytes_sent = r->bytes_sent;
}

static inline void fixture_drained(void *ctx)
{
    struct fixture *f = ctx;

    f->drained++;
}

static inline void fixture_control(struct loop_fd *watch, uint32_t events)
{
    struct fixture *f = CONTAINER_OF(watch, struct fixture, control);
    uint64_t count;

    (void)events;
    if (read(watch->fd, &count, sizeof(count)) != sizeof(count))
        abort();
    switch (atomic_load(&f->command)) {
    case 1:
        loop_stop(f->loop);
        break;
    case 2:
        http_server_drain(f->server);
        break;
    case 3:
        http_answer_memory(f->held, 200, "released", 8);
        break;
    }
}

static inline void *fixture_thread(void *arg)
{
    loop_run(((struct fixture *)arg)->loop);
    return NULL;
}

static inline void fixture_command(struct fixture *f, int command)
{
    uint64_t one = 1;

    f->command = command;
    if (write(f->control_fd, &one, sizeof(one)) != sizeof(one))
        abort();
}

/* Waits until a counter of the server's thread reaches `value`. */
static inline bool fixture_reaches(atomic_int *counter, int value)
{
    for (int i = 0; i < 5000 && *counter < value; i++)
        poll(NULL, 0, 1);
    return *counter == value;
}

static inline struct http_limits fixture_limits(void)
{
    return (struct http_limits){.head_timeout_ms = 10000,
                                .keepalive_timeout_ms = 10000,
                                .rate_window_ms = 10000,
                                .min_rate = 1000,
                                .max_connections = 100,
                                .drain_bytes = 256 << 10};
}

static inline struct fixture *fixture_start(struct http_limits limits)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct http_server_setup setup = {.limits = limits,
                                      .counters = &f->counters,
                                      .on_request = fixture_request,
                                      .on_bad_request = fixture_bad,
                                      .on_log = fixture_log,
                                      .on_drained = fixture_drained,
                                      .ctx = f};
    struct net_addr addr = {.len = sizeof(struct sockaddr_in)};
    socklen_t len = sizeof(f->addr);

    *(struct sockaddr_in *)&addr.ss = (struct sockaddr_in){
        .sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}}; /* any free port */
    log_threshold(LOG_LEVEL_ERROR);
    f->loop = setup.loop = loop_new();
    f->control_fd = eventfd(0, EFD_CLOEXEC);
    f->file_fd = memfd_create("file", MFD_CLOEXEC);
    f->queued = memfd_create("small", MFD_CLOEXEC);
    f->control.fd = f->control_fd;
    f->control.ready = fixture_control;
    if (ftruncate(f->file_fd, FILE_BYTES) != 0 || write(f->queued, "abcdef", 6) != 6 ||
        net_listen(&addr, 128, &f->listen_fd) != 0 ||
        getsockname(f->listen_fd, (struct sockaddr *)&f->addr, &len) != 0 ||
        loop_fd_add(f->loop, &f->control, EPOLLIN) != 0 ||
        http_server_new(&setup, &f->server) != 0 ||
        http_server_listen(f->server, f->listen_fd, 7, NULL) != 0 ||
        pthread_create(&f->thread, NULL, fixture_thread, f) != 0)
        abort();
    return f;
}

/* Ends the thread, so that all of `f` may be read, and then the server. */
static inline void fixture_stop(struct fixture *f)
{
    fixture_command(f, 1);
    pthread_join(f->thread, NULL);
    http_server_free(&f->server);
    loop_free(&f->loop);
}

static inline void fixture_free(struct fixture *f)
{
    close(f->control_fd);
    close(f->file_fd);
    close(f->queued);
    free(f);
}

/* Client */

struct reply {
    int status;
    char head[8192];
    char *body;
    size_t body_len;
    uint64_t length; /* announced */
    bool cut;        /* ended before the announced length */
};

static inline int client_connect(const struct fixture *f)
{
    struct timeval limit = {.tv_sec = 10};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || connect(fd, (const struct sockaddr *)&f->addr, sizeof(f->addr)) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) != 0)
        abort();
    return fd;
}

static inline bool client_send(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t put = send(fd, data, len, MSG_NOSIGNAL);

        if (put <= 0)
            return false;
        data += put;
        len -= (size_t)put;
    }
    return true;
}

static inline bool client_say(int fd, const char *text)
{
    return client_send(fd, text, strlen(text));
}

/* Reads one reply; `headless`: it has no body whatever it announces. Status 0
 * at the end of the connection, -1 at a reset or timeout. */
static inline void client_reply(int fd, bool headless, struct reply *reply)
{
    size_t len = 0;
    const char *p;

    memset(reply, 0, sizeof(*reply));
    while (len < 4 || memcmp(reply->head + len - 4, "\r\n\r\n", 4) != 0) {
        ssize_t got = recv(fd, reply->head + len, 1, 0);

        if (got <= 0 || len + 2 > sizeof(reply->head)) {
            reply->status = got == 0 && len == 0 ? 0 : -1;
            return;
        }
        len += (size_t)got;
    }
    reply->status = atoi(reply->head + 9);
    p = strcasestr(reply->head, "\r\nContent-Length: ");
    reply->length = p ? strtoull(p + 18, NULL, 10) : 0;
    if (headless || reply->length == 0)
        return;
    reply->body = malloc(reply->length + 1);
    while (reply->body_len < reply->length) {
        ssize_t got = recv(fd, reply->body + reply->body_len, reply->length - reply->body_len, 0);

        if (got <= 0) {
            reply->cut = true;
            break;
        }
        reply->body_len += (size_t)got;
    }
    reply->body[reply->body_len] = '\0';
}

/* True when the peer closed in order, without another byte. */
static inline bool client_at_end(int fd)
{
    char byte;

    return recv(fd, &byte, 1, 0) == 0;
}

/* True when the peer ended the connection, in order or not. */
static inline bool client_lost(int fd)
{
    char byte;
    ssize_t got = recv(fd, &byte, 1, 0);

    return got == 0 || (got < 0 && errno == ECONNRESET);
}

#endif
