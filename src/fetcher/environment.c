/*
 * environment.c - the configuration alone says how remotes are reached.
 *
 * The fetcher, at its start. libcurl, OpenSSL and the resolver listen to some thirty
 * variables (http_proxy, NO_PROXY, SSL_CERT_DIR, SSLKEYLOGFILE, HOSTALIASES ...), more
 * with every version; so what is known to be harmless is kept, not the others dropped.
 * OPENSSL_CONF was read before, when the master began: it is the system's policy for
 * TLS, and counts. A crash here leaves nothing.
 */
#include "fetcher/environment.h"

#include "base/mem.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

extern char **environ;

static bool harmless(const char *name)
{
    /* The time zone of the log; tests, sanitizers (which look for a symbolizer in PATH), coverage.
     */
    static const char *const kept[] = {"TZ=",   "TZDIR=", "PATH=", "ENTREPOT_",
                                       "ASAN_", "UBSAN_", "LSAN_", "GCOV_"};

    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
        if (strncmp(name, kept[i], strlen(kept[i])) == 0)
            return true;
    return false;
}

void environment_drop(void)
{
    size_t i = 0;

    while (environ && environ[i]) {
        size_t len = strcspn(environ[i], "=");
        char *name;

        if (harmless(environ[i])) {
            i++;
            continue;
        }
        name = mem_strndup(environ[i], len);
        if (len == 0 || unsetenv(name) != 0) /* not a variable at all */
            i++;
        free(name);
    }
}
