/*
 * address.h - which addresses an upstream may send us to (server-side request forgery).
 */
#ifndef ENTREPOT_FETCHER_ADDRESS_H
#define ENTREPOT_FETCHER_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

/* A public unicast address: not private, loopback, link-local, multicast, unspecified,
 * shared (RFC 6598), reserved, nor one of these behind IPv4-mapped, NAT64 or 6to4 forms. */
bool address_public(const struct sockaddr *sa);
/* The same of "192.0.2.1" or "2001:db8::1"; what is no address is not public. */
bool address_text_public(const char *text);

#endif
