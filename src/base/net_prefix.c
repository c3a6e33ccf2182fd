/*
 * net_prefix.c - networks, and addresses as other programs write them. Pure.
 */
#include "base/net_prefix.h"

#include "base/str.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define V4_BITS     96 /* of the mapped form stand before an IPv4 address */
#define HOLDER_BITS 64

static const uint8_t v4_lead[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

/* 16 bytes for either family; false for any other. */
static bool to_bytes(const struct net_addr *addr, uint8_t out[16])
{
    if (addr->ss.ss_family == AF_INET6) {
        memcpy(out, &((const struct sockaddr_in6 *)&addr->ss)->sin6_addr, 16);
        return true;
    }
    memcpy(out, v4_lead, sizeof(v4_lead));
    memcpy(out + sizeof(v4_lead), &((const struct sockaddr_in *)&addr->ss)->sin_addr, 4);
    return addr->ss.ss_family == AF_INET;
}

static bool bit(const uint8_t *bytes, unsigned at)
{
    return bytes[at / 8] >> (7 - at % 8) & 1;
}

int net_prefix_parse(const char *text, struct net_prefix *prefix_r)
{
    const char *slash = strchr(text, '/');
    size_t len = slash ? (size_t)(slash - text) : strlen(text);
    char host[INET6_ADDRSTRLEN];
    uint64_t bits;
    bool v4;

    if (len >= sizeof(host))
        return ERR_INVALID;
    memcpy(host, text, len);
    host[len] = 0;
    memcpy(prefix_r->bytes, v4_lead, sizeof(v4_lead));
    v4 = inet_pton(AF_INET, host, prefix_r->bytes + sizeof(v4_lead)) == 1;
    if (!v4 && inet_pton(AF_INET6, host, prefix_r->bytes) != 1)
        return ERR_INVALID;
    bits = v4 ? 32 : 128;
    if (slash &&
        (str_parse_u64(slash + 1, strlen(slash + 1), &bits) != 0 || bits > (v4 ? 32 : 128)))
        return ERR_INVALID;
    prefix_r->bits = (unsigned)bits + (v4 ? V4_BITS : 0);
    for (unsigned i = prefix_r->bits; i < 128; i++)
        if (bit(prefix_r->bytes, i))
            return ERR_INVALID;
    return 0;
}

static bool has(const struct net_prefix *prefix, const uint8_t bytes[16])
{
    unsigned whole = prefix->bits / 8;

    if (memcmp(prefix->bytes, bytes, whole) != 0)
        return false;
    for (unsigned i = whole * 8; i < prefix->bits; i++)
        if (bit(prefix->bytes, i) != bit(bytes, i))
            return false;
    return true;
}

bool net_prefix_any(const struct net_prefix *prefixes, size_t count, const struct net_addr *addr)
{
    uint8_t bytes[16];

    if (!to_bytes(addr, bytes))
        return false;
    for (size_t i = 0; i < count; i++)
        if (has(&prefixes[i], bytes))
            return true;
    return false;
}

void net_prefix_holder(const struct net_addr *addr, struct net_prefix *holder_r)
{
    *holder_r = (struct net_prefix){.bits = 128};
    if (!to_bytes(addr, holder_r->bytes))
        memset(holder_r->bytes, 0, sizeof(holder_r->bytes));
    else if (memcmp(holder_r->bytes, v4_lead, sizeof(v4_lead)) != 0) {
        holder_r->bits = HOLDER_BITS;
        memset(holder_r->bytes + HOLDER_BITS / 8, 0, sizeof(holder_r->bytes) - HOLDER_BITS / 8);
    }
}

char *net_prefix_text(const struct net_prefix *prefix, char *out)
{
    bool v4 = prefix->bits >= V4_BITS && memcmp(prefix->bytes, v4_lead, sizeof(v4_lead)) == 0;
    char host[INET6_ADDRSTRLEN];

    inet_ntop(v4 ? AF_INET : AF_INET6, prefix->bytes + (v4 ? sizeof(v4_lead) : 0), host,
              sizeof(host));
    if (prefix->bits == 128)
        snprintf(out, NET_PREFIX_TEXT_MAX, "%s", host);
    else
        snprintf(out, NET_PREFIX_TEXT_MAX, "%s/%u", host, prefix->bits - (v4 ? V4_BITS : 0));
    return out;
}

static int parse_bare(const char *host, struct net_addr *addr_r)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)&addr_r->ss;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&addr_r->ss;

    memset(addr_r, 0, sizeof(*addr_r));
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        addr_r->len = sizeof(*v4);
        return 0;
    }
    if (inet_pton(AF_INET6, host, &v6->sin6_addr) != 1)
        return ERR_INVALID;
    v6->sin6_family = AF_INET6;
    addr_r->len = sizeof(*v6);
    return 0;
}

int net_addr_parse_loose(const char *text, size_t len, struct net_addr *addr_r)
{
    char copy[NET_ADDR_TEXT_MAX];

    if (len >= sizeof(copy) || memchr(text, 0, len))
        return ERR_INVALID;
    memcpy(copy, text, len);
    copy[len] = 0;
    if (parse_bare(copy, addr_r) == 0)
        return 0;
    if (copy[0] == '[' && copy[len - 1] == ']') {
        copy[len - 1] = 0;
        return strchr(copy, ':') ? parse_bare(copy + 1, addr_r) : ERR_INVALID;
    }
    return copy[0] == '*' ? ERR_INVALID : net_addr_parse(copy, addr_r);
}
