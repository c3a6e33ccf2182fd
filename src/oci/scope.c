/*
 * scope.c - scopes of tokens. Pure; workers. The name may hold host:port, so it
 * stands between the first colon and the last.
 */
#include "oci/scope.h"

#include <string.h>

static bool word_is(const char *text, size_t len, const char *word)
{
    return len == strlen(word) && memcmp(text, word, len) == 0;
}

int scope_parse(const char *text, size_t len, struct scope *scope_r)
{
    const char *end = text + len, *first = memchr(text, ':', len);
    const char *last = memrchr(text, ':', len), *bracket;
    size_t type_len, name_len;

    *scope_r = (struct scope){0};
    if (!first || first == last || memchr(text, 0, len))
        return ERR_INVALID;
    name_len = (size_t)(last - first) - 1;
    if (name_len == 0 || name_len > SCOPE_NAME_MAX)
        return ERR_INVALID;
    memcpy(scope_r->name, first + 1, name_len);
    type_len = (size_t)(first - text);
    bracket = memchr(text, '(', type_len);
    if (bracket && first[-1] == ')')
        type_len = (size_t)(bracket - text);
    scope_r->registry = word_is(text, type_len, "registry");
    if (!scope_r->registry && !word_is(text, type_len, "repository"))
        return ERR_UNSUPPORTED;
    for (const char *p = last + 1; p < end;) {
        const char *comma = memchr(p, ',', (size_t)(end - p));
        size_t word = comma ? (size_t)(comma - p) : (size_t)(end - p);

        scope_r->actions |= word_is(p, word, "*") ? RIGHT_ALL : right_by_word(p, word);
        p += word + 1;
    }
    return 0;
}
