/*
 * request.c - looking things up in a parsed request.
 *
 * Runs in the workers, called by handlers and by http1.c. Owns nothing; what it
 * decodes goes into the request's arena, whose size the head's limit bounds.
 */
#include "http/http.h"

#include <string.h>

const char *http_header_get(const struct http_request *r, const char *name)
{
    size_t i;

    for (i = 0; i < r->header_count; i++)
        if (str_equal_nocase(r->headers[i].name, name))
            return r->headers[i].value;
    return NULL;
}

size_t http_header_count(const struct http_request *r, const char *name)
{
    size_t count = 0, i;

    for (i = 0; i < r->header_count; i++)
        if (str_equal_nocase(r->headers[i].name, name))
            count++;
    return count;
}

/* Does the still encoded `text` mean `name`? A broken escape means nothing. */
static bool name_matches(const char *text, size_t len, const char *name)
{
    char decoded[128];

    if (!memchr(text, '%', len) && !memchr(text, '+', len))
        return len == strlen(name) && memcmp(text, name, len) == 0;
    return str_percent_decode(text, len, true, decoded, sizeof(decoded)) == 0 &&
           strcmp(decoded, name) == 0;
}

int http_form_get(struct mem_arena *arena, const char *form, const char *name, size_t nth,
                  const char **value_r)
{
    const char *at = form;

    *value_r = NULL;
    while (at) {
        size_t len = strcspn(at, "&");
        const char *equals = memchr(at, '=', len);
        size_t name_len = equals ? (size_t)(equals - at) : len;

        if (name_matches(at, name_len, name) && nth-- == 0) {
            const char *value = equals ? equals + 1 : at + len;
            size_t value_len = (size_t)(at + len - value);
            char *out = mem_arena_alloc(arena, value_len + 1);
            int err = str_percent_decode(value, value_len, true, out, value_len + 1);

            if (err != 0)
                return err;
            *value_r = out;
            return 0;
        }
        at = at[len] == '&' ? at + len + 1 : NULL;
    }
    return 0;
}

int http_query_get(struct http_request *r, const char *name, size_t nth, const char **value_r)
{
    return http_form_get(r->arena, r->query, name, nth, value_r);
}
