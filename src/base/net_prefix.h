/*
 * net_prefix.h - networks ("10.0.0.0/8") and addresses without a port.
 */
#ifndef ENTREPOT_BASE_NET_PREFIX_H
#define ENTREPOT_BASE_NET_PREFIX_H

#include "base/err.h"
#include "base/net.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The leading `bits` of an address count. IPv4 stands in its IPv6-mapped form
 * (RFC 4291 section 2.5.5.2), as a dual-stack socket reports it. */
struct net_prefix {
    uint8_t bytes[16];
    unsigned bits;
};

/* "10.0.0.0/8", "fd00::/8", or one address. INVALID also when bits behind the
 * prefix are set ("10.1.0.0/8"): somebody meant another network. */
must_check int net_prefix_parse(const char *text, struct net_prefix *prefix_r);
/* Does the address, its port aside, lie in one of the networks? */
bool net_prefix_any(const struct net_prefix *prefixes, size_t count, const struct net_addr *addr);

/* Whom an address stands for where shares are counted: itself, its port aside; of an IPv6 address
 * the /64, the least that a client has of it. */
void net_prefix_holder(const struct net_addr *addr, struct net_prefix *holder_r);
/* "10.0.0.0/8", "1.2.3.4", "2001:db8::/64"; returns out[NET_PREFIX_TEXT_MAX]. */
#define NET_PREFIX_TEXT_MAX 52
char *net_prefix_text(const struct net_prefix *prefix, char *out);

/* "1.2.3.4", "::1", "[::1]", also with a port: as proxies write them into
 * X-Forwarded-For. The port is 0 without one. INVALID otherwise. */
must_check int net_addr_parse_loose(const char *text, size_t len, struct net_addr *addr_r);

#endif
