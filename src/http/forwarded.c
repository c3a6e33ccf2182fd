/*
 * forwarded.c - X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host.
 *
 * Runs in workers, before a request is handled; pure. Anybody can send these
 * headers. A proxy appends to what it was sent, so they are read from the right:
 * what the nearest proxy wrote counts, what stood there before counts only as
 * far as addresses of trusted proxies go on.
 */
#include "http/forwarded.h"

#include "http/http1.h"

#include <string.h>
#include <strings.h>

/* Walks the elements of a list header from the last to the first, over repeated
 * headers too (RFC 9110 section 5.3: they are one list). */
struct walk {
    const struct http_request *r;
    const char *name;
    size_t header; /* those before it are still to come */
    size_t left;   /* of the value of that header */
    bool begun;
};

static bool walk_header(struct walk *w)
{
    while (w->header > 0) {
        const struct http_header *h = &w->r->headers[--w->header];

        if (!str_equal_nocase(h->name, w->name))
            continue;
        w->left = strlen(h->value);
        w->begun = true;
        return true;
    }
    return false;
}

/* The next element to the left, without surrounding white space. */
static bool walk_next(struct walk *w, const char **text_r, size_t *len_r)
{
    const char *value;
    size_t end, start;

    if (!w->begun && !walk_header(w))
        return false;
    value = w->r->headers[w->header].value;
    end = w->left;
    for (start = end; start > 0 && value[start - 1] != ',';)
        start--;
    if (start > 0)
        w->left = start - 1;
    else
        w->begun = false;
    while (start < end && (value[start] == ' ' || value[start] == '\t'))
        start++;
    while (end > start && (value[end - 1] == ' ' || value[end - 1] == '\t'))
        end--;
    *text_r = value + start;
    *len_r = end - start;
    return true;
}

static struct walk walk_of(const struct http_request *r, const char *name)
{
    return (struct walk){.r = r, .name = name, .header = r->header_count};
}

void forwarded_apply(struct http_request *r, const struct net_prefix *proxies, size_t count)
{
    struct walk addresses = walk_of(r, "X-Forwarded-For");
    struct walk protocols = walk_of(r, "X-Forwarded-Proto");
    struct walk hosts = walk_of(r, "X-Forwarded-Host");
    struct net_addr addr;
    const char *text;
    size_t len;

    if (!net_prefix_any(proxies, count, &r->client))
        return;
    if (walk_next(&protocols, &text, &len)) {
        if (len == 5 && strncasecmp(text, "https", 5) == 0)
            r->https = true;
        else if (len == 4 && strncasecmp(text, "http", 4) == 0)
            r->https = false;
    }
    if (walk_next(&hosts, &text, &len) && len > 0)
        (void)http1_take_host(r, text, len); /* a malformed one changes nothing */
    while (net_prefix_any(proxies, count, &r->client) && walk_next(&addresses, &text, &len) &&
           net_addr_parse_loose(text, len, &addr) == 0)
        r->client = addr;
}
