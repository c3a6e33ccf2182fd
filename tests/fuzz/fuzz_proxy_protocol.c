/* PROXY protocol heads, read the way conn.c does: never a byte behind the head. */
#include "base/must.h"
#include "http/proxy_protocol.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *bytes = (const char *)data;
    struct proxy_protocol p, again;
    size_t have = 0, missing = 0;
    bool line;

    for (;;) {
        const char *end;

        if (proxy_protocol_missing(bytes, have, &missing, &line) != 0)
            return 0;
        if (missing == 0)
            break;
        if (missing > size - have)
            missing = size - have;
        if (missing == 0)
            return 0; /* the peer left */
        end = line ? memchr(bytes + have, '\n', missing) : NULL;
        have = end ? (size_t)(end - bytes) + 1 : have + missing;
        MUST(have <= PROXY_PROTOCOL_MAX);
    }
    if (proxy_protocol_parse(bytes, have, &p) != 0)
        return 0;
    MUST(!p.known || p.client.ss.ss_family == AF_INET || p.client.ss.ss_family == AF_INET6);
    /* What is behind it makes it no head; what was cut off neither. */
    if (have < size)
        MUST(proxy_protocol_parse(bytes, have + 1, &again) != 0);
    MUST(proxy_protocol_parse(bytes, have - 1, &again) != 0);
    return 0;
}
