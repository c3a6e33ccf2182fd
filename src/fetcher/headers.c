/*
 * headers.c - response headers, whitelisted. The fetcher; pure.
 */
#include "fetcher/headers.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *const header_names[HEADER_COUNT] = {"content-type",
                                                       "content-encoding",
                                                       "content-range",
                                                       "docker-content-digest",
                                                       "etag",
                                                       "location",
                                                       "link",
                                                       "retry-after",
                                                       "ratelimit-limit",
                                                       "ratelimit-remaining"};

void headers_take(struct headers *h, const char *line, size_t len)
{
    const char *colon = memchr(line, ':', len);
    const char *value, *end = line + len;
    size_t name_len;

    if (!colon)
        return;
    name_len = (size_t)(colon - line);
    for (value = colon + 1; value < end && (*value == ' ' || *value == '\t'); value++)
        ;
    while (end > value && (end[-1] == '\r' || end[-1] == '\n' || end[-1] == ' '))
        end--;
    if (memchr(value, 0, (size_t)(end - value)))
        return;
    if (name_len == 16 && strncasecmp(line, "www-authenticate", 16) == 0) {
        if (h->challenge_count < HEADERS_CHALLENGES_MAX)
            h->challenges[h->challenge_count++] = mem_strndup(value, (size_t)(end - value));
        return;
    }
    for (size_t i = 0; i < HEADER_COUNT; i++)
        if (strlen(header_names[i]) == name_len &&
            strncasecmp(line, header_names[i], name_len) == 0 && !h->values[i])
            h->values[i] = mem_strndup(value, (size_t)(end - value));
}

void headers_reset(struct headers *h)
{
    for (size_t i = 0; i < HEADER_COUNT; i++)
        free(h->values[i]);
    for (size_t i = 0; i < h->challenge_count; i++)
        free(h->challenges[i]);
    memset(h, 0, sizeof(*h));
}

void headers_show(const struct headers *h, struct upstream_head *head)
{
    head->content_type = h->values[HEADER_CONTENT_TYPE];
    head->content_encoding = h->values[HEADER_CONTENT_ENCODING];
    head->content_range = h->values[HEADER_CONTENT_RANGE];
    head->digest = h->values[HEADER_DIGEST];
    head->etag = h->values[HEADER_ETAG];
    head->location = h->values[HEADER_LOCATION];
    head->link = h->values[HEADER_LINK];
    head->retry_after = h->values[HEADER_RETRY_AFTER];
    head->rate_limit = h->values[HEADER_RATE_LIMIT];
    head->rate_remaining = h->values[HEADER_RATE_REMAINING];
    head->challenges = (const char *const *)h->challenges;
    head->challenge_count = h->challenge_count;
}
