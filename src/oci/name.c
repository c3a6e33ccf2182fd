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

bool name_media_type_ok(const char *type, size_t len)
{
    const char *slash = memchr(type, '/', len);

    if (!slash || len > NAME_MEDIA_TYPE_MAX)
        return false;
    return restricted_name(type, (size_t)(slash - type)) &&
           restricted_name(slash + 1, len - (size_t)(slash - type) - 1);
}
