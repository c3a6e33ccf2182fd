/*
 * descriptors.c - how many descriptors a process may have, and what for.
 *
 * The usual soft limit of 1,024 is there for programs that use select(2); whoever does not may
 * have what the hard limit allows (getrlimit(2)). Any process; a crash leaves nothing.
 */
#include "base/descriptors.h"

#include "base/must.h"

#include <sys/resource.h>

#define KEPT_MAX 256
/* Channels, logs, the index, the event loop, and what threads open for a moment. */
#define OWN 32
/* The socket, and the file that comes or goes through it. */
#define A_CONNECTION 2

uint64_t descriptors_limit(void)
{
    struct rlimit limit;

    MUST(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    return limit.rlim_cur;
}

uint64_t descriptors_raise(void)
{
    struct rlimit limit;

    MUST(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    if (limit.rlim_cur != limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit); /* nobody may refuse that; what holds is read back */
    }
    return descriptors_limit();
}

size_t descriptors_kept(uint64_t limit)
{
    return limit / 8 < KEPT_MAX ? (size_t)(limit / 8) : KEPT_MAX;
}

uint64_t descriptors_connections(uint64_t limit, size_t own)
{
    uint64_t taken = OWN + own + descriptors_kept(limit);

    return limit >= taken + A_CONNECTION ? (limit - taken) / A_CONNECTION : 1;
}
