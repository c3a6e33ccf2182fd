/*
 * client.c - see client.h. Runs in tests/bench/load.
 */
#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

double client_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

void client_die(const char *format, ...)
{
    va_list args;

    fputs("load: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

int client_open(struct client *c, int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int on = 1;

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->port = port;
    c->in_at = c->in_len = 0;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        client_die("socket: %s", strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (connect(c->fd, (struct sockaddr *)&to, sizeof(to)) == 0)
        return 0;
    client_close(c);
    return -1;
}

void client_close(struct client *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
}

int client_send(struct client *c, const void *data, size_t len)
{
    const char *p = data;

    while (len > 0) {
        ssize_t put = send(c->fd, p, len, MSG_NOSIGNAL);

        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return -1;
        p += put;
        len -= (size_t)put;
    }
    return 0;
}

int client_request(struct client *c, const char *head, const void *body, uint64_t len)
{
    char text[4096];
    int text_len =
        snprintf(text, sizeof(text), "%sHost: 127.0.0.1:%d\r\nContent-Length: %llu\r\n\r\n", head,
                 c->port, (unsigned long long)len);
    struct iovec parts[2] = {{text, (size_t)text_len}, {(void *)(uintptr_t)body, body ? len : 0}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = body ? 2 : 1};
    size_t all = parts[0].iov_len + parts[1].iov_len;
    ssize_t put;

    if (text_len < 0 || (size_t)text_len >= sizeof(text))
        client_die("a request head is too long");
    put = sendmsg(c->fd, &message, MSG_NOSIGNAL);
    if (put < 0)
        return -1;
    if ((size_t)put < parts[0].iov_len)
        client_die("a request head was sent in part");
    return client_send(c, (const char *)body + ((size_t)put - parts[0].iov_len), all - (size_t)put);
}

static int more(struct client *c)
{
    ssize_t got;

    if (c->in_at == c->in_len)
        c->in_at = c->in_len = 0;
    if (c->in_len == sizeof(c->in) - 1)
        client_die("an answer's head is too long");
    do {
        got = recv(c->fd, c->in + c->in_len, sizeof(c->in) - 1 - c->in_len, 0);
    } while (got < 0 && errno == EINTR);
    if (got <= 0)
        return -1;
    c->in_len += (size_t)got;
    return 0;
}

static void take_header(const char *line, struct client_reply *r)
{
    const char *value = strchr(line, ':');

    if (!value)
        return;
    value += 1 + strspn(value + 1, " ");
    if (strncasecmp(line, "content-length:", 15) == 0)
        r->length = strtoull(value, NULL, 10);
    if (strncasecmp(line, "transfer-encoding:", 18) == 0)
        client_die("an answer without Content-Length");
    if (strncasecmp(line, "location:", 9) == 0) {
        const char *path = strstr(value, "/v2/");

        snprintf(r->location, sizeof(r->location), "%s", path ? path : value);
    }
}

int client_reply(struct client *c, struct client_reply *r)
{
    char *end, *line, *next;

    memset(r, 0, sizeof(*r));
    for (;;) {
        c->in[c->in_len] = 0;
        end = strstr(c->in + c->in_at, "\r\n\r\n");
        if (end)
            break;
        if (more(c) != 0)
            return -1;
    }
    if (sscanf(c->in + c->in_at, "HTTP/1.%*d %d", &r->status) != 1)
        client_die("not an HTTP answer");
    *end = 0;
    for (line = strstr(c->in + c->in_at, "\r\n"); line; line = next) {
        line += 2;
        next = strstr(line, "\r\n");
        if (next)
            *next = 0;
        take_header(line, r);
    }
    c->in_at = (size_t)(end - c->in) + 4;
    return 0;
}

int client_skip(struct client *c, uint64_t len)
{
    while (len > 0) {
        size_t here = c->in_len - c->in_at;

        if (here > len)
            here = (size_t)len;
        c->in_at += here;
        len -= here;
        if (len > 0 && more(c) != 0)
            return -1;
    }
    return 0;
}

void client_must(struct client *c, const char *head, const void *body, size_t len, int status,
                 struct client_reply *r)
{
    if (client_request(c, head, body, len) != 0 || client_reply(c, r) != 0 ||
        client_skip(c, r->length) != 0)
        client_die("the connection was cut in: %.60s", head);
    if (r->status != status)
        client_die("status %d, not %d, of: %.200s", r->status, status, head);
}
