/*
 * site.c - see site.h. The fetcher; owns the list, which libpsl reads once: the system's
 * where it is newer than the library's own. The only user of libpsl.
 *
 * A crash leaves nothing.
 */
#include "fetcher/site.h"

#include <libpsl.h>
#include <string.h>
#include <strings.h>

/* Registries that give a host to each customer and are not on the list. */
static const char *const rented[] = {"azurecr.io",    "azurecr.cn",       "azurecr.us",
                                     "amazonaws.com", "amazonaws.com.cn", "jfrog.io"};

static bool is_address(const char *host)
{
    return host[0] == '[' || strspn(host, "0123456789.") == strlen(host);
}

static bool below(const char *host, const char *domain)
{
    size_t len = strlen(host), tail = strlen(domain);

    return len >= tail && strcasecmp(host + len - tail, domain) == 0 &&
           (len == tail || host[len - tail - 1] == '.');
}

static const psl_ctx_t *list(void)
{
    static const psl_ctx_t *known;

    if (!known)
        known = psl_latest(NULL);
    if (!known)
        known = psl_builtin();
    return known;
}

bool site_same(const char *home, const char *host)
{
    const char *a, *b;

    if (strcasecmp(home, host) == 0)
        return true;
    if (is_address(home) || is_address(host) || !list())
        return false;
    for (size_t i = 0; i < sizeof(rented) / sizeof(rented[0]); i++)
        if (below(home, rented[i]))
            return false;
    a = psl_registrable_domain(list(), home);
    b = psl_registrable_domain(list(), host);
    return a && b && strcasecmp(a, b) == 0;
}
