/*
 * credentials.c - the Authorization header taken apart. Runs in workers; pure.
 *
 * A stranger's bytes: bounded first, decoded strictly, and a user's name that
 * none can have (with control bytes, say) never gets further than here.
 */
#include "api/credentials.h"

#include "base/base64.h"
#include "conf/conf.h"
#include "ipc/msg_auth.h"

#include <string.h>
#include <strings.h>

#define BASIC_MAX 1024

static void parse_basic(const char *text, struct mem_arena *arena, struct credentials *c)
{
    char *pair = mem_arena_alloc(arena, BASIC_MAX + 1), *colon;
    size_t len;

    c->kind = CREDENTIALS_BAD;
    if (base64_decode(text, strlen(text), pair, BASIC_MAX, &len) != 0 || memchr(pair, 0, len))
        return;
    pair[len] = 0;
    colon = strchr(pair, ':');
    if (!colon)
        return;
    *colon = 0;
    c->user = pair;
    c->password = colon + 1;
    if (!*c->user && !*c->password)
        c->kind = CREDENTIALS_NONE;
    else if (conf_user_ok(c->user) && strlen(c->password) <= AUTH_PASSWORD_MAX)
        c->kind = CREDENTIALS_BASIC;
    else
        c->user = c->password = NULL;
}

static const char *after_scheme(const char *header, const char *scheme)
{
    size_t len = strlen(scheme);

    if (strncasecmp(header, scheme, len) != 0 || header[len] != ' ')
        return NULL;
    return header + len + strspn(header + len, " ");
}

void credentials_parse(const char *header, struct mem_arena *arena, struct credentials *c_r)
{
    const char *rest;

    *c_r = (struct credentials){.kind = header ? CREDENTIALS_BAD : CREDENTIALS_NONE};
    if (!header)
        return;
    rest = after_scheme(header, "Basic");
    if (rest) {
        parse_basic(rest, arena, c_r);
        return;
    }
    rest = after_scheme(header, "Bearer");
    if (rest && *rest && strlen(rest) <= TOKEN_TEXT_MAX) {
        c_r->kind = CREDENTIALS_BEARER;
        c_r->token = rest;
    }
}
