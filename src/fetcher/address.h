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

#endif
