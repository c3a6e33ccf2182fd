/*
 * no_ktls.c - a kernel that cannot encrypt. Preloaded into the daemon: setsockopt(2)
 * of TCP_ULP fails, so that OpenSSL keeps to copying where the kernel could do it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
    int (*next)(int, int, int, const void *, socklen_t) = dlsym(RTLD_NEXT, "setsockopt");

    if (level == IPPROTO_TCP && name == TCP_ULP) {
        errno = ENOENT;
        return -1;
    }
    return next(fd, level, name, value, len);
}
