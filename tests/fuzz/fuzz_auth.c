/* Logins: the Authorization header, scopes, tokens, the users' file. First byte: which. */
#include "api/credentials.h"
#include "auth/htpasswd.h"
#include "base/must.h"
#include "base/sign.h"
#include "conf/conf.h"
#include "ipc/msg_auth.h"
#include "oci/scope.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_header(const char *text, struct mem_arena *arena)
{
    struct credentials c;

    credentials_parse(text, arena, &c);
    MUST(c.kind != CREDENTIALS_BASIC ||
         (conf_user_ok(c.user) && strlen(c.password) <= AUTH_PASSWORD_MAX));
    MUST(c.kind != CREDENTIALS_BEARER || *c.token);
}

static void fuzz_scope(const char *text, size_t size)
{
    struct scope s;

    if (scope_parse(text, size, &s) == 0)
        MUST(*s.name && strlen(s.name) <= SCOPE_NAME_MAX);
}

/* No bytes of a stranger's are a token; what we sign is read back. */
static void fuzz_token(const char *text, struct mem_arena *arena)
{
    static const uint8_t secret[SIGN_PRIVATE_BYTES] = {7};
    struct sign_key *key = sign_key_private(secret);
    struct token t = {.user = text, .expires_s = 10}, got;
    struct str out = {0};
    int err;

    MUST(token_read(arena, text, key, 1, &got) != 0);
    token_write(&t, key, &out);
    err = token_read(arena, out.data, key, 1, &got);
    MUST(err == 0 || out.len > TOKEN_TEXT_MAX);
    str_free(&out);
    sign_key_free(&key);
}

static void fuzz_users(const char *text, size_t size)
{
    struct str mistakes = {0};
    struct htpasswd *h;

    if (htpasswd_parse("f", text, size, &h, &mistakes) == 0)
        for (size_t i = 0; i < h->count; i++)
            MUST(htpasswd_find(h, h->users[i].name) == &h->users[i]);
    else
        MUST(mistakes.len > 0);
    htpasswd_free(&h);
    str_free(&mistakes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mem_arena *arena;
    char *text;

    if (size == 0)
        return 0;
    arena = mem_arena_new();
    text = mem_strndup((const char *)data + 1, size - 1);
    if (data[0] % 4 == 0)
        fuzz_header(text, arena);
    else if (data[0] % 4 == 1)
        fuzz_scope((const char *)data + 1, size - 1);
    else if (data[0] % 4 == 2)
        fuzz_token(text, arena);
    else
        fuzz_users((const char *)data + 1, size - 1);
    free(text);
    mem_arena_free(&arena);
    return 0;
}
