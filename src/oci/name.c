/*
 * name.c - the grammars of names. Pure; any process.
 */
#include "oci/name.h"

#include <string.h>

static bool lower_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool alnum(char c)
{
    return lower_alnum(c) || (c >= 'A' && c <= 'Z');
}

/* Length of the separator at p: `.`, `_`, `__` or a run of `-`; 0: none. */
static size_t separator(const char *p, const char *end)
{
    const char *q = p;

    if (*p == '.')
        return 1;
    if (*p == '_')
        return p + 1 < end && p[1] == '_' ? 2 : 1;
    while (q < end && *q == '-')
        q++;
    return (size_t)(q - p);
}

bool name_image_ok(const char *name, size_t len)
{
    const char *p = name, *end = name + len;

    if (len == 0 || len > NAME_IMAGE_MAX)
        return false;
    for (;;) {
        const char *run = p;
        size_t gap;

        while (p < end && lower_alnum(*p))
            p++;
        if (p == run)
            return false; /* what begins here, or follows a separator, must be alphanumeric */
        if (p == end)
            return true;
        gap = *p == '/' ? 1 : separator(p, end);
        if (gap == 0)
            return false;
        p += gap;
    }
}

bool name_tag_ok(const char *tag, size_t len)
{
    if (len == 0 || len > NAME_TAG_MAX || !(alnum(tag[0]) || tag[0] == '_'))
        return false;
    for (size_t i = 1; i < len; i++)
        if (!alnum(tag[i]) && !strchr("_.-", tag[i]))
            return false;
    return memchr(tag, 0, len) == NULL;
}

/* RFC 6838 restricted-name: at most 127, first character alphanumeric. */
static bool restricted_name(const char *p, size_t len)
{
    if (len == 0 || len > 127 || !alnum(p[0]))
        return false;
    for (size_t i = 1; i < len; i++)
        if (!p[i] || (!alnum(p[i]) && !strchr("!#$&-^_.+", p[i])))
            return false;
    return true;
}

/* RFC 9110 section 5.6.2. */
static bool token_char(char c)
{
    return c && (alnum(c) || strchr("!#$%&'*+-.^_`|~", c));
}

static const char *skip_token(const char *p, const char *end)
{
    while (p < end && token_char(*p))
        p++;
    return p;
}

static const char *skip_spaces(const char *p, const char *end)
{
    while (p < end && *p == ' ')
        p++;
    return p;
}

/* Past a quoted-string (RFC 9110 section 5.6.4) of ASCII; NULL: it is none. */
static const char *skip_quoted(const char *p, const char *end)
{
    for (p++; p < end && *p != '"'; p++) {
        if (*p == '\\')
            p++;
        if (p == end || *p < ' ' || *p > '~')
            return NULL;
    }
    return p < end ? p + 1 : NULL;
}

/* *( OWS ";" OWS [ token "=" ( token / quoted-string ) ] ), OWS without tabs */
static bool parameters_ok(const char *p, const char *end)
{
    while (p < end) {
        const char *name, *value;

        p = skip_spaces(p, end);
        if (p == end || *p++ != ';')
            return false;
        name = skip_spaces(p, end);
        p = skip_token(name, end);
        if (p == name)
            continue; /* an empty one */
        if (p == end || *p++ != '=')
            return false;
        value = p;
        if (p < end && *p == '"')
            p = skip_quoted(p, end);
        else
            p = skip_token(p, end);
        if (!p || p == value)
            return false;
    }
    return true;
}

bool name_media_type_with_parameters_ok(const char *type, size_t len)
{
    size_t bare = 0;

    if (len > NAME_MEDIA_TYPE_MAX)
        return false;
    while (bare < len && !strchr("; ", type[bare]))
        bare++;
    return name_media_type_ok(type, bare) && parameters_ok(type + bare, type + len);
}

bool name_media_type_ok(const char *type, size_t len)
{
    const char *slash = memchr(type, '/', len);

    if (!slash || len > NAME_MEDIA_TYPE_MAX)
        return false;
    return restricted_name(type, (size_t)(slash - type)) &&
           restricted_name(slash + 1, len - (size_t)(slash - type) - 1);
}
