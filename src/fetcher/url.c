/*
 * url.c - http and https URLs. The fetcher; pure, owns nothing.
 */
#include "fetcher/url.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static bool bytes_ok(const char *text)
{
    size_t len = strlen(text);

    if (len == 0 || len > URL_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] <= 0x20 || text[i] == 0x7f || text[i] == '\\')
            return false;
    return true;
}

/* Splits host and port; the end of the authority in *end_r. */
static int authority(const char *text, struct url *url, const char **end_r)
{
    size_t len = strcspn(text, "/?#");
    const char *colon;
    size_t host_len = len;
    uint64_t port = url->tls ? 443 : 80;

    if (memchr(text, '@', len))
        return ERR_INVALID;
    colon = text[0] == '[' ? memchr(text, ']', len) : text;
    if (!colon)
        return ERR_INVALID;
    colon = memchr(colon, ':', (size_t)(text + len - colon));
    if (colon) {
        host_len = (size_t)(colon - text);
        if (str_parse_u64(colon + 1, len - host_len - 1, &port) != 0 || port == 0 || port > 65535)
            return ERR_INVALID;
    }
    if (host_len == 0 || host_len > URL_HOST_MAX)
        return ERR_INVALID;
    for (size_t i = 0; i < host_len; i++) {
        unsigned char c = (unsigned char)text[i];

        if (!isalnum(c) && !strchr(text[0] == '[' ? "[]:." : "-._", c))
            return ERR_INVALID;
        url->host[i] = (char)tolower(c);
    }
    url->host[host_len] = 0;
    url->port = (uint16_t)port;
    *end_r = text + len;
    return 0;
}

int url_parse(const char *text, struct url *url_r)
{
    if (!bytes_ok(text))
        return ERR_INVALID;
    if (strncasecmp(text, "https://", 8) == 0)
        url_r->tls = true;
    else if (strncasecmp(text, "http://", 7) == 0)
        url_r->tls = false;
    else
        return ERR_INVALID;
    return authority(strchr(text, ':') + 3, url_r, &url_r->rest);
}

int url_resolve(const char *base, const char *ref, struct str *out)
{
    struct url b, result;
    size_t start = out->len;
    const char *query;
    size_t keep;

    if (url_parse(base, &b) != 0 || !bytes_ok(ref))
        return ERR_INVALID;
    query = b.rest + strcspn(b.rest, "?#");
    if (strncasecmp(ref, "http://", 7) == 0 || strncasecmp(ref, "https://", 8) == 0) {
        str_puts(out, ref);
    } else if (strncmp(ref, "//", 2) == 0) {
        str_printf(out, "%s:%s", b.tls ? "https" : "http", ref);
    } else if (ref[0] == '/') {
        str_printf(out, "%.*s%s", (int)(b.rest - base), base, ref);
    } else if (ref[strcspn(ref, "/?#:")] == ':') {
        return ERR_INVALID; /* another scheme */
    } else {
        for (keep = (size_t)(query - base); keep > (size_t)(b.rest - base); keep--)
            if (ref[0] == '?' || base[keep - 1] == '/')
                break;
        str_printf(out, "%.*s%s%s", (int)keep, base, b.rest[0] == '/' || ref[0] == '?' ? "" : "/",
                   ref);
    }
    return url_parse(out->data + start, &result);
}

bool url_same_origin(const struct url *a, const struct url *b)
{
    return a->tls == b->tls && a->port == b->port && strcmp(a->host, b->host) == 0;
}
