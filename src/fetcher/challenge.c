/*
 * challenge.c - challenges of upstreams: bytes of strangers, parsed strictly.
 * The fetcher; pure.
 */
#include "fetcher/challenge.h"

#include <string.h>
#include <strings.h>

struct cursor {
    const char *p;
    struct mem_arena *arena;
};

static bool token_char(char c)
{
    return c && (strchr("!#$%&'*+-.^_`|~", c) || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                 (c >= 'A' && c <= 'Z'));
}

static void skip(struct cursor *c, const char *set)
{
    c->p += strspn(c->p, set);
}

static const char *token(struct cursor *c)
{
    const char *start = c->p;

    while (token_char(*c->p))
        c->p++;
    return c->p > start ? mem_arena_strndup(c->arena, start, (size_t)(c->p - start)) : NULL;
}

static const char *quoted(struct cursor *c)
{
    char *out = mem_arena_alloc(c->arena, strlen(c->p) + 1);
    size_t len = 0;

    for (c->p++; *c->p && *c->p != '"'; c->p++) {
        if (*c->p == '\\' && c->p[1])
            c->p++;
        if ((unsigned char)*c->p < 0x20)
            return NULL;
        out[len++] = *c->p;
    }
    if (*c->p != '"')
        return NULL;
    c->p++;
    return out;
}

/* name=value; 0 when that is what stands there, and the cursor is behind it. */
static int parameter(struct cursor *c, const char **name_r, const char **value_r)
{
    const char *start = c->p;

    *name_r = token(c);
    skip(c, " \t");
    if (!*name_r || *c->p != '=') {
        c->p = start;
        return ERR_NOT_FOUND;
    }
    c->p++;
    skip(c, " \t");
    if (*c->p == '"') {
        *value_r = quoted(c);
    } else {
        const char *value = c->p;

        /* Some registries leave the quotes out around values that need them: such a value is taken
         * up to the next comma. */
        c->p += strcspn(c->p, ", \t\"");
        *value_r = mem_arena_strndup(c->arena, value, (size_t)(c->p - value));
    }
    return *value_r ? 0 : ERR_INVALID;
}

static int parameters(struct cursor *c, struct challenge *ch)
{
    const char *name, *value;
    int err;

    for (;;) {
        skip(c, ", \t");
        err = parameter(c, &name, &value);
        if (err != 0)
            return err == ERR_NOT_FOUND ? 0 : err;
        if (strcasecmp(name, "realm") == 0 && !ch->realm[0])
            ch->realm = value;
        else if (strcasecmp(name, "service") == 0 && !ch->service[0])
            ch->service = value;
        else if (strcasecmp(name, "scope") == 0 && !ch->scope[0])
            ch->scope = value;
    }
}

int challenge_choose(struct mem_arena *arena, const char *const *lines, size_t count,
                     struct challenge *challenge_r)
{
    bool found = false;

    for (size_t i = 0; i < count; i++) {
        struct cursor c = {.p = lines[i], .arena = arena};

        for (;;) {
            struct challenge ch = {.realm = "", .service = "", .scope = ""};
            const char *scheme;

            skip(&c, ", \t");
            scheme = token(&c);
            if (!scheme || parameters(&c, &ch) != 0)
                break;
            ch.bearer = strcasecmp(scheme, "bearer") == 0;
            if (ch.bearer && ch.realm[0]) {
                *challenge_r = ch;
                return 0;
            }
            if (strcasecmp(scheme, "basic") == 0 && !found) {
                *challenge_r = ch;
                found = true;
            }
        }
    }
    return found ? 0 : ERR_NOT_FOUND;
}
