/*
 * proxy_protocol.h - the PROXY protocol, versions 1 and 2: the head by which a
 * TCP proxy tells where a connection comes from (HAProxy's proxy-protocol.txt).
 *
 * Strict and bounded. Pure functions of bytes: tested alone, fuzzed.
 */
#ifndef ENTREPOT_HTTP_PROXY_PROTOCOL_H
#define ENTREPOT_HTTP_PROXY_PROTOCOL_H

#include "base/err.h"
#include "base/net.h"

#include <stdbool.h>
#include <stddef.h>

/* Both versions have at least this many bytes. */
#define PROXY_PROTOCOL_MIN 15
/* Of version 2 with all its extensions; version 1 has at most 107. */
#define PROXY_PROTOCOL_MAX 4096

struct proxy_protocol {
    bool known;             /* false: the proxy speaks for itself (health checks) or cannot tell */
    struct net_addr client; /* when known */
    bool tls;               /* the client came to the proxy through TLS (version 2, PP2_TYPE_SSL) */
};

/* How many bytes must be read on top of the first `len` ones: never one behind
 * the head, which belongs to TLS or HTTP. 0: the head is complete. *line_r: the
 * number is a bound, the head ends with the next line feed. INVALID as soon as
 * it can be no head. */
must_check int proxy_protocol_missing(const char *data, size_t len, size_t *missing_r,
                                      bool *line_r);

/* Parses a complete head. INVALID for another version, command, family or
 * protocol than TCP's, lengths that do not fit, addresses or ports not written
 * canonically, anything between or behind. */
must_check int proxy_protocol_parse(const char *data, size_t len, struct proxy_protocol *p_r);

#endif
