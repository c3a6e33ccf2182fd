/*
 * fuzz_http1_diff.c - our head parser against libhttp-parser: a head we accept
 * it must accept too, and understand the same. The other way round is allowed:
 * we refuse more. Methods it does not know are left out.
 */
/* Both have these names. */
#define http_method  other_http_method
#define HTTP_GET     other_HTTP_GET
#define HTTP_HEAD    other_HTTP_HEAD
#define HTTP_POST    other_HTTP_POST
#define HTTP_PUT     other_HTTP_PUT
#define HTTP_PATCH   other_HTTP_PATCH
#define HTTP_DELETE  other_HTTP_DELETE
#define HTTP_OPTIONS other_HTTP_OPTIONS
#include <http_parser.h>
#undef http_method
#undef HTTP_GET
#undef HTTP_HEAD
#undef HTTP_POST
#undef HTTP_PUT
#undef HTTP_PATCH
#undef HTTP_DELETE
#undef HTTP_OPTIONS

#include "base/must.h"
#include "http/http1.h"

#include <string.h>
#include <strings.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct other {
    struct str url, names[HTTP_HEADERS_MAX + 1], values[HTTP_HEADERS_MAX + 1];
    size_t count; /* begun header lines */
    bool in_value, complete;
    unsigned flags;
    uint64_t length;
};

static int other_url(http_parser *parser, const char *at, size_t len)
{
    str_append(&((struct other *)parser->data)->url, at, len);
    return 0;
}

static int other_name(http_parser *parser, const char *at, size_t len)
{
    struct other *o = parser->data;

    if (o->count == 0 || o->in_value)
        o->count++;
    o->in_value = false;
    MUST(o->count <= HTTP_HEADERS_MAX);
    str_append(&o->names[o->count], at, len);
    return 0;
}

static int other_value(http_parser *parser, const char *at, size_t len)
{
    struct other *o = parser->data;

    o->in_value = true;
    str_append(&o->values[o->count], at, len);
    return 0;
}

static int other_complete(http_parser *parser)
{
    struct other *o = parser->data;

    o->complete = true;
    o->flags = parser->flags;
    o->length = parser->content_length;
    return 0;
}

static bool same(const struct str *s, const char *text)
{
    size_t len = s->len;

    while (len > 0 && (s->data[len - 1] == ' ' || s->data[len - 1] == '\t'))
        len--;
    return len == strlen(text) && (len == 0 || memcmp(s->data, text, len) == 0);
}

static void compare(const struct http_request *r, const http_parser *parser, const struct other *o)
{
    MUST(o->complete);
    MUST(strcmp(http_method_str(parser->method), r->method_text) == 0);
    MUST(parser->http_major == 1 && parser->http_minor == (r->http10 ? 0 : 1));
    MUST(same(&o->url, r->target));
    MUST(o->count == r->header_count);
    for (size_t i = 0; i < o->count; i++) {
        MUST(same(&o->names[i + 1], r->headers[i].name));
        MUST(same(&o->values[i + 1], r->headers[i].value));
    }
    MUST(((o->flags & F_CHUNKED) != 0) == r->chunked);
    MUST(r->has_length ? o->length == r->length : o->length == UINT64_MAX);
}

/* http-parser takes a header whose name only begins with Transfer-Encoding for
 * that one when it looks for a Content-Length beside it. */
static bool confuses_other(const struct http_request *r)
{
    static const char name[] = "Transfer-Encoding";

    for (size_t i = 0; i < r->header_count; i++)
        if (strncasecmp(r->headers[i].name, name, sizeof(name) - 1) == 0 &&
            r->headers[i].name[sizeof(name) - 1] != '\0')
            return true;
    return false;
}

static void ask_other(const struct http_request *r, const char *data, size_t len)
{
    http_parser_settings settings;
    http_parser parser;
    struct other o;

    memset(&o, 0, sizeof(o));
    http_parser_settings_init(&settings);
    settings.on_url = other_url;
    settings.on_header_field = other_name;
    settings.on_header_value = other_value;
    settings.on_headers_complete = other_complete;
    http_parser_init(&parser, HTTP_REQUEST);
    parser.data = &o;
    http_parser_execute(&parser, &settings, data, len);
    if (r->method != HTTP_OTHER || HTTP_PARSER_ERRNO(&parser) != HPE_INVALID_METHOD) {
        MUST(HTTP_PARSER_ERRNO(&parser) == HPE_OK);
        compare(r, &parser, &o);
    }
    str_free(&o.url);
    for (size_t i = 0; i <= HTTP_HEADERS_MAX; i++) {
        str_free(&o.names[i]);
        str_free(&o.values[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_request r = {.arena = mem_arena_new()};
    size_t len = http1_head_length((const char *)data, size);
    const char *reason;

    if (len > 0 && len <= HTTP_HEAD_MAX &&
        http1_parse_head(&r, (const char *)data, len, &reason) == 0 && !confuses_other(&r))
        ask_other(&r, (const char *)data, len);
    mem_arena_free(&r.arena);
    return 0;
}
