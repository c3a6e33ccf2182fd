/*
 * range.c - byte ranges and entity tags. Pure; runs in workers.
 */
#include "http/range.h"

#include "base/str.h"

#include <string.h>

static const char *skip_space(const char *p)
{
    while (*p == ' ' || *p == '\t')
        p++;
    return p;
}

/* Digits at *p; too large a number is the largest one. False without digits. */
static bool take_number(const char **p, uint64_t *value_r)
{
    size_t len = strspn(*p, "0123456789");

    if (len == 0)
        return false;
    if (str_parse_u64(*p, len, value_r) != 0)
        *value_r = UINT64_MAX;
    *p += len;
    return true;
}

enum spec { SPEC_BAD, SPEC_OUTSIDE, SPEC_INSIDE };

/* One "a-b", "a-" or "-n". */
static enum spec take_spec(const char **p, uint64_t size, struct range *range_r)
{
    uint64_t first, last = UINT64_MAX;

    if (**p == '-') {
        (*p)++;
        if (!take_number(p, &last))
            return SPEC_BAD;
        if (last == 0 || size == 0)
            return SPEC_OUTSIDE;
        range_r->first = last >= size ? 0 : size - last;
        range_r->last = size - 1;
        return SPEC_INSIDE;
    }
    if (!take_number(p, &first) || **p != '-')
        return SPEC_BAD;
    (*p)++;
    take_number(p, &last); /* absent: to the end */
    if (first >= size || first > last)
        return SPEC_OUTSIDE;
    range_r->first = first;
    range_r->last = last >= size ? size - 1 : last;
    return SPEC_INSIDE;
}

static bool overlaps(const struct range *ranges, size_t count, const struct range *range)
{
    for (size_t i = 0; i < count; i++)
        if (range->first <= ranges[i].last && ranges[i].first <= range->last)
            return true;
    return false;
}

enum range_result range_parse(const char *header, uint64_t size, struct range ranges[RANGE_MAX],
                              size_t *count_r)
{
    size_t count = 0, specs = 0;
    const char *p = header;
    char unit[7];

    *count_r = 0;
    if (!header || strlen(header) < 6)
        return RANGE_NONE;
    memcpy(unit, header, 6);
    unit[6] = 0;
    if (!str_equal_nocase(unit, "bytes="))
        return RANGE_NONE;
    p += 6;
    for (;;) {
        struct range range;
        enum spec spec;

        p = skip_space(p);
        if (*p == ',') { /* empty list elements are legal, RFC 9110 section 5.6.1 */
            p++;
            continue;
        }
        if (!*p)
            break;
        spec = take_spec(&p, size, &range);
        p = skip_space(p);
        if (spec == SPEC_BAD || (*p && *p != ',') || ++specs > RANGE_MAX)
            return RANGE_NONE;
        if (spec == SPEC_OUTSIDE)
            continue;
        if (overlaps(ranges, count, &range))
            return RANGE_NONE;
        ranges[count++] = range;
    }
    *count_r = count;
    if (specs == 0)
        return RANGE_NONE;
    return count > 0 ? RANGE_SATISFIABLE : RANGE_UNSATISFIABLE;
}

bool range_etag_matches(const char *header, const char *etag)
{
    size_t len = strlen(etag);
    const char *p = header;

    while (*(p = skip_space(p))) {
        const char *start;
        bool quoted;
        size_t token;

        if (*p == ',') {
            p++;
            continue;
        }
        if (p[0] == 'W' && p[1] == '/')
            p += 2;
        quoted = *p == '"';
        if (quoted) {
            start = ++p;
            token = strcspn(p, "\"");
            p += token + (p[token] ? 1 : 0);
        } else {
            start = p;
            token = strcspn(p, ", \t");
            p += token;
        }
        if (token == len && memcmp(start, etag, len) == 0)
            return true;
        if (!quoted && token == 1 && *start == '*') /* "*" in quotes is a tag like others */
            return true;
        if (token == 0 && *p && *p != ',')
            p++;
    }
    return false;
}
