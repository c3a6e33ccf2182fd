/*
 * net.c - sockets: addresses, listeners, messages with descriptors. Any process.
 *
 * A crash leaves nothing but names of sockets, which the next start takes over.
 */
#include "base/net.h"

#include "base/must.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* Holds a few of the largest messages. */
#define SEQPACKET_BUFFER (512 << 10)

static int port_parse(const char *text, in_port_t *port_r)
{
    uint64_t value;

    if (str_parse_u64(text, strlen(text), &value) != 0 || value == 0 || value > 65535)
        return ERR_INVALID;
    *port_r = htons((uint16_t)value);
    return 0;
}

int net_addr_parse(const char *text, struct net_addr *addr_r)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)&addr_r->ss;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&addr_r->ss;
    const char *colon = strrchr(text, ':');
    char host[NET_ADDR_TEXT_MAX];
    in_port_t port;
    size_t len;

    memset(addr_r, 0, sizeof(*addr_r));
    if (!colon || port_parse(colon + 1, &port) != 0)
        return ERR_INVALID;
    len = (size_t)(colon - text);
    if (len == 0 || len >= sizeof(host))
        return ERR_INVALID;
    memcpy(host, text, len);
    host[len] = 0;
    if (strcmp(host, "*") == 0) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = port;
        v6->sin6_scope_id = UINT32_MAX; /* marks "both families" for net_listen */
        addr_r->len = sizeof(*v6);
        return 0;
    }
    if (host[0] == '[' && host[len - 1] == ']') {
        host[len - 1] = 0;
        v6->sin6_family = AF_INET6;
        v6->sin6_port = port;
        addr_r->len = sizeof(*v6);
        return inet_pton(AF_INET6, host + 1, &v6->sin6_addr) == 1 ? 0 : ERR_INVALID;
    }
    v4->sin_family = AF_INET;
    v4->sin_port = port;
    addr_r->len = sizeof(*v4);
    return inet_pton(AF_INET, host, &v4->sin_addr) == 1 ? 0 : ERR_INVALID;
}

char *net_addr_text(const struct sockaddr *sa, socklen_t len, char *out)
{
    char host[INET6_ADDRSTRLEN] = "?";

    (void)len;
    if (sa->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)sa;

        inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host));
        snprintf(out, NET_ADDR_TEXT_MAX, v4->sin_port ? "%s:%u" : "%s", host, ntohs(v4->sin_port));
    } else if (sa->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)sa;

        inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host));
        snprintf(out, NET_ADDR_TEXT_MAX, v6->sin6_port ? "[%s]:%u" : "[%s]", host,
                 ntohs(v6->sin6_port));
    } else {
        snprintf(out, NET_ADDR_TEXT_MAX, "-");
    }
    return out;
}

static int listen_on(const struct sockaddr *sa, socklen_t len, bool v6_only, int backlog, int *fd_r)
{
    const int on = 1;
    const int only = v6_only;
    int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int err, failed;

    if (fd < 0)
        return errno == EAFNOSUPPORT ? ERR_UNSUPPORTED : err_from_errno(errno);
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0 ||
        (sa->sa_family == AF_INET6 &&
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only)) != 0) ||
        bind(fd, sa, len) != 0 || listen(fd, backlog) != 0) {
        err = errno == EADDRINUSE ? ERR_EXISTS
              : errno == EACCES   ? ERR_DENIED
              : errno == EADDRNOTAVAIL && sa->sa_family == AF_INET6 && !v6_only
                  ? ERR_UNSUPPORTED
                  : err_from_errno(errno);
        failed = errno;
        close(fd);
        errno = failed;
        return err;
    }
    *fd_r = fd;
    return 0;
}

int net_listen(const struct net_addr *addr, int backlog, int *fd_r)
{
    struct sockaddr_in6 v6;
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    int err;

    if (addr->ss.ss_family != AF_INET6)
        return listen_on((const struct sockaddr *)&addr->ss, addr->len, false, backlog, fd_r);
    memcpy(&v6, &addr->ss, sizeof(v6));
    if (v6.sin6_scope_id != UINT32_MAX)
        return listen_on((const struct sockaddr *)&addr->ss, addr->len, true, backlog, fd_r);
    v6.sin6_scope_id = 0;
    err = listen_on((const struct sockaddr *)&v6, sizeof(v6), false, backlog, fd_r);
    if (err != ERR_UNSUPPORTED)
        return err;
    v4.sin_port = v6.sin6_port; /* a machine without IPv6 */
    return listen_on((const struct sockaddr *)&v4, sizeof(v4), false, backlog, fd_r);
}

/* Paths in sockaddr_un are short; through /proc/self/fd only the name counts. */
static int unix_address(int dir_fd, const char *name, struct sockaddr_un *un)
{
    int len;

    *un = (struct sockaddr_un){.sun_family = AF_UNIX};
    len = snprintf(un->sun_path, sizeof(un->sun_path), "/proc/self/fd/%d/%s", dir_fd, name);
    return len > 0 && (size_t)len < sizeof(un->sun_path) ? 0 : ERR_TOO_BIG;
}

static int seqpacket_socket(int *fd_r)
{
    const int size = SEQPACKET_BUFFER;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return err_from_errno(errno);
    /* Best effort: the default holds one message of the largest size. */
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    *fd_r = fd;
    return 0;
}

int net_seqpacket_listen(int dir_fd, const char *name, int *fd_r)
{
    struct sockaddr_un un;
    int fd = -1, err, failed;

    err = unix_address(dir_fd, name, &un);
    if (err == 0)
        err = seqpacket_socket(&fd);
    if (err != 0)
        return err;
    unlinkat(dir_fd, name, 0); /* whoever holds our lock owns the name */
    if (bind(fd, (struct sockaddr *)&un, sizeof(un)) != 0 || fchmodat(dir_fd, name, 0600, 0) != 0 ||
        listen(fd, 1024) != 0) {
        err = err_from_errno(errno);
        failed = errno;
        close(fd);
        errno = failed;
        return err;
    }
    *fd_r = fd;
    return 0;
}

int net_seqpacket_connect(int dir_fd, const char *name, int *fd_r)
{
    struct sockaddr_un un;
    int fd = -1, err;

    err = unix_address(dir_fd, name, &un);
    if (err == 0)
        err = seqpacket_socket(&fd);
    if (err != 0)
        return err;
    if (connect(fd, (struct sockaddr *)&un, sizeof(un)) != 0) {
        err = errno == EAGAIN         ? ERR_BUSY
              : errno == ECONNREFUSED ? ERR_CLOSED
                                      : err_from_errno(errno);
        close(fd);
        return err;
    }
    *fd_r = fd;
    return 0;
}

union control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
};

int net_send(int fd, const void *data, size_t len, int pass_fd)
{
    union control control;
    struct iovec part = {.iov_base = (void *)(uintptr_t)data, .iov_len = len};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    ssize_t sent;

    if (pass_fd >= 0) {
        struct cmsghdr *header;

        memset(&control, 0, sizeof(control));
        message.msg_control = &control;
        message.msg_controllen = sizeof(control.bytes);
        header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &pass_fd, sizeof(int));
    }
    do {
        sent = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (sent < 0 && errno == EINTR);
    if (sent >= 0)
        return 0;
    if (errno == EAGAIN || errno == ENOBUFS)
        return ERR_BUSY;
    if (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN)
        return ERR_CLOSED;
    return errno == EMSGSIZE ? ERR_TOO_BIG : err_from_errno(errno);
}

/* The one descriptor a message may carry; further ones are closed. */
static int take_descriptor(struct msghdr *message)
{
    int taken = -1;

    for (struct cmsghdr *h = CMSG_FIRSTHDR(message); h; h = CMSG_NXTHDR(message, h)) {
        size_t count;

        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
            continue;
        count = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(h) + i * sizeof(int), sizeof(int));
            if (taken < 0)
                taken = fd;
            else
                close(fd);
        }
    }
    return taken;
}

int net_receive(int fd, void *data, size_t cap, size_t *len_r, int *fd_r)
{
    union control control;
    struct iovec part = {.iov_base = data, .iov_len = cap};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control.bytes)};
    ssize_t got;

    *fd_r = -1;
    *len_r = 0;
    do {
        got = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        if (errno == EAGAIN)
            return ERR_BUSY;
        return errno == ECONNRESET ? ERR_CLOSED : err_from_errno(errno);
    }
    *fd_r = take_descriptor(&message);
    if (got == 0 && *fd_r < 0)
        return ERR_CLOSED;
    if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
        if (*fd_r >= 0)
            close(*fd_r);
        *fd_r = -1;
        return ERR_PROTOCOL;
    }
    *len_r = (size_t)got;
    return 0;
}
