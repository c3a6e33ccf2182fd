/*
 * credentials.h - what stands in an Authorization header: Basic (RFC 7617) and
 * Bearer (RFC 6750).
 */
#ifndef ENTREPOT_API_CREDENTIALS_H
#define ENTREPOT_API_CREDENTIALS_H

#include "base/mem.h"

enum credentials_kind {
    CREDENTIALS_NONE,   /* or Basic with empty user and password: the anonymous */
    CREDENTIALS_BASIC,  /* user and password */
    CREDENTIALS_BEARER, /* token */
    CREDENTIALS_BAD     /* nothing we could check: as a wrong password */
};

struct credentials {
    enum credentials_kind kind;
    const char *user, *password;
    const char *token;
};

/* `header` NULL: none was sent. Strings live in the arena or the header. */
void credentials_parse(const char *header, struct mem_arena *arena, struct credentials *c_r);

#endif
