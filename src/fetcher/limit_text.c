/*
 * limit_text.c - what remotes write of their limits: bytes of strangers. The fetcher; pure.
 */
#include "fetcher/limit.h"

#include "base/str.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DIGITS "0123456789"

/* Is that where a number ends: at a separator, or the text's end? */
static bool ends(char c)
{
    return strchr(";, \t", c) != NULL;
}

/* What stands behind the next ";" outside of quotes; NULL: there is none. */
static const char *parameter_next(const char *p)
{
    bool quoted = false;

    for (; *p; p++) {
        if (quoted && *p == '\\' && p[1])
            p++;
        else if (*p == '"')
            quoted = !quoted;
        else if (*p == ';' && !quoted)
            return p + 1 + strspn(p + 1, " \t");
    }
    return NULL;
}

/* The first parameter "w", if there is one. */
static void window_parse(const char *text, uint64_t *window_s_r)
{
    const char *p = text;

    while ((p = parameter_next(p)) != NULL) {
        size_t len = strncasecmp(p, "w=", 2) == 0 ? strspn(p + 2, DIGITS) : 0;
        uint64_t s;

        if (len > 0 && ends(p[2 + len]) && str_parse_u64(p + 2, len, &s) == 0) {
            *window_s_r = s > LIMIT_WINDOW_MAX_S ? LIMIT_WINDOW_MAX_S : s;
            return;
        }
    }
}

/* "100", "100;w=21600", "100, 100;w=60;burst=5": the first number, and the first window. */
static bool rate_parse(const char *text, uint64_t *n_r, uint64_t *window_s_r)
{
    size_t len = strspn(text, DIGITS);

    if (len == 0 || !ends(text[len]) || str_parse_u64(text, len, n_r) != 0)
        return false;
    window_parse(text, window_s_r);
    return true;
}

void limit_rate_take(struct limit_rate *rate, const char *limit, const char *remaining,
                     uint64_t now_ms)
{
    uint64_t window_s = LIMIT_WINDOW_S, n;

    if (!limit && !remaining)
        return;
    if (!limit_rate_known(rate, now_ms))
        rate->limit = rate->left = UINT64_MAX;
    if (limit && rate_parse(limit, &n, &window_s))
        rate->limit = n;
    if (remaining && rate_parse(remaining, &n, &window_s))
        rate->left = n;
    rate->until_ms = now_ms + 1000 * window_s;
}

bool limit_rate_known(const struct limit_rate *rate, uint64_t now_ms)
{
    return rate->until_ms > now_ms;
}

static uint32_t bounded(uint64_t s)
{
    return s > LIMIT_CLOSED_MAX_S ? LIMIT_CLOSED_MAX_S : (uint32_t)s;
}

/* "120", "1.5", "30s"; a number that fits nowhere is a long time, too. */
static bool seconds(const char *text, uint32_t *s_r)
{
    size_t len = strspn(text, DIGITS);
    const char *rest = text + len;
    uint64_t s;

    if (len == 0)
        return false;
    if (*rest == '.') {
        rest += 1 + strspn(rest + 1, DIGITS);
        if (rest == text + len + 1)
            return false;
    }
    if (*rest && strcasecmp(rest, "s") != 0)
        return false;
    if (str_parse_u64(text, len, &s) != 0)
        s = UINT64_MAX;
    if (text[len] == '.' && s < UINT64_MAX)
        s++; /* not too early */
    *s_r = bounded(s);
    return true;
}

uint32_t limit_retry_after(const char *text, time_t now)
{
    static const char *const forms[] = {"%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT",
                                        "%a %b %d %H:%M:%S %Y", "%Y-%m-%dT%H:%M:%SZ"};
    uint32_t s;

    if (!text)
        return UINT32_MAX;
    text += strspn(text, " \t");
    if (seconds(text, &s))
        return s;
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        struct tm tm = {0};
        const char *end = strptime(text, forms[i], &tm);
        time_t at;

        if (!end || *end)
            continue;
        at = timegm(&tm);
        return at > now ? bounded((uint64_t)(at - now)) : 0;
    }
    return UINT32_MAX;
}
