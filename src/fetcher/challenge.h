/*
 * challenge.h - WWW-Authenticate taken apart (RFC 9110 section 11.6.1). Pure.
 */
#ifndef ENTREPOT_FETCHER_CHALLENGE_H
#define ENTREPOT_FETCHER_CHALLENGE_H

#include "base/err.h"
#include "base/mem.h"

#include <stdbool.h>
#include <stddef.h>

/* `inner`: it came from a remote at a private address, so that its realm may be at one. */
struct challenge {
    bool bearer; /* else Basic */
    bool inner;
    const char *realm, *service, *scope; /* "" when absent; in the arena */
};

/* The best challenge of all lines, each of which may hold several: Bearer with a realm, else
 * Basic. NOT_FOUND: neither; what is malformed ends its line. */
must_check int challenge_choose(struct mem_arena *arena, const char *const *lines, size_t count,
                                struct challenge *challenge_r);

#endif
