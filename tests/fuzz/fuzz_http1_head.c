/*
 * fuzz_http1_head.c - any bytes as a request head: no crash, and what is
 * accepted keeps the promises of http1.h.
 */
#include "base/must.h"
#include "http/http1.h"
#include "http/http1_char.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_accepted(struct http_request *r)
{
    const char *value;

    MUST(r->header_count <= HTTP_HEADERS_MAX);
    MUST(!(r->chunked && r->has_length) && (r->has_length || r->length == 0));
    MUST(!(r->chunked && r->http10));
    MUST(r->http10 || http_header_count(r, "Host") == 1);
    MUST(*r->path == '/' || strcmp(r->path, "*") == 0);
    MUST(!strpbrk(r->path, "?# "));
    for (const char *p = r->host; *p; p++)
        MUST(!(*p >= 'A' && *p <= 'Z') && *p > ' ');
    for (size_t i = 0; i < r->header_count; i++) {
        const char *text = r->headers[i].value;

        for (const char *p = r->headers[i].name; *p; p++)
            MUST(http1_is_token((unsigned char)*p));
        for (const char *p = text; *p; p++)
            MUST(http1_is_value((unsigned char)*p));
        MUST(!strchr(" \t", *text) || !*text);
    }
    for (size_t nth = 0; nth < 3; nth++)
        if (http_query_get(r, "n", nth, &value) == 0 && value)
            MUST(strlen(value) <= strlen(r->query));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_request r = {.arena = mem_arena_new()};
    size_t len = http1_head_length((const char *)data, size);
    const char *reason = NULL;
    int status;

    MUST(len <= size);
    status = http1_parse_head(&r, (const char *)data, len > 0 ? len : size, &reason);
    MUST(reason && r.method_text && r.target && r.path && r.host);
    if (status == 0) {
        MUST(len > 0);
        check_accepted(&r);
    } else {
        MUST(*reason &&
             (status == 400 || status == 417 || status == 431 || status == 501 || status == 505));
    }
    mem_arena_free(&r.arena);
    return 0;
}
