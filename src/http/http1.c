/*
 * http1.c - the parser of HTTP/1.x request heads.
 *
 * Runs in the workers, called by conn_head.c once a head is complete; pure functions
 * of bytes. The head is copied into the request's arena and cut up there. Every
 * doubt about where a head or its body ends is a refusal: a proxy in front of
 * us may have read it the other way.
 */
#include "http/http1.h"

#include "http/http1_char.h"

#include <string.h>

#define METHOD_MAX 32
#define HOST_MAX   255

static const struct {
    const char *text;
    enum http_method method;
} methods[] = {
    {"GET", HTTP_GET},     {"HEAD", HTTP_HEAD},     {"POST", HTTP_POST},       {"PUT", HTTP_PUT},
    {"PATCH", HTTP_PATCH}, {"DELETE", HTTP_DELETE}, {"OPTIONS", HTTP_OPTIONS},
};

size_t http1_head_length(const char *data, size_t len)
{
    const char *end = data + len;
    const char *line = data;

    /* Bare LFs count here, so that a head written with them ends and is
     * refused at once instead of being waited for. */
    while (line < end) {
        const char *lf;

        if (*line == '\n')
            return (size_t)(line - data) + 1;
        if (*line == '\r' && end - line >= 2 && line[1] == '\n')
            return (size_t)(line - data) + 2;
        lf = memchr(line, '\n', (size_t)(end - line));
        if (!lf)
            return 0;
        line = lf + 1;
    }
    return 0;
}

static int refuse(int status, const char *reason, const char **reason_r)
{
    *reason_r = reason;
    return status;
}

/* Cuts one line off *at: ends at CRLF, which becomes NUL. NULL when it holds a
 * bare LF, a bare CR or a control byte other than HTAB. */
static char *cut_line(char **at, const char *end)
{
    char *line = *at;
    char *p = line;

    while (p < end && http1_is_value((unsigned char)*p))
        p++;
    if (end - p < 2 || p[0] != '\r' || p[1] != '\n')
        return NULL;
    *p = '\0';
    *at = p + 2;
    return line;
}

static int parse_version(struct http_request *r, const char *version, const char **reason_r)
{
    if (strncmp(version, "HTTP/", 5) != 0 || !http1_is_digit((unsigned char)version[5]) ||
        version[6] != '.' || !http1_is_digit((unsigned char)version[7]) || version[8] != '\0')
        return refuse(400, "malformed request line", reason_r);
    if (strcmp(version + 5, "1.1") != 0 && strcmp(version + 5, "1.0") != 0)
        return refuse(505, "HTTP version not supported", reason_r);
    r->http10 = version[7] == '0';
    return 0;
}

bool http1_host_ok(const char *text, size_t len, size_t *host_len_r)
{
    size_t host_len = 0, i;
    uint64_t port;

    if (len > 0 && text[0] == '[') {
        for (i = 1; i < len && text[i] != ']'; i++) {
            unsigned char c = (unsigned char)text[i] | 0x20;

            if (!http1_is_digit((unsigned char)text[i]) && text[i] != ':' && text[i] != '.' &&
                !(c >= 'a' && c <= 'f'))
                return false;
        }
        if (i >= len || i < 3)
            return false;
        host_len = i + 1;
    } else {
        while (host_len < len && text[host_len] != ':') {
            unsigned char c = (unsigned char)text[host_len++];

            if (!http1_is_digit(c) && !http1_is_alpha(c) && c != '.' && c != '-' && c != '_')
                return false;
        }
    }
    *host_len_r = host_len;
    if (host_len > HOST_MAX || (host_len < len && text[host_len] != ':'))
        return false;
    if (len > host_len + 1 &&
        (str_parse_u64(text + host_len + 1, len - host_len - 1, &port) != 0 || port > 65535))
        return false;
    return host_len > 0 || len == 0;
}

bool http1_take_host(struct http_request *r, const char *text, size_t len)
{
    size_t host_len;
    char *authority;

    if (!http1_host_ok(text, len, &host_len))
        return false;
    if (len == host_len + 1) /* a colon and no port */
        len = host_len;
    authority = mem_arena_strndup(r->arena, text, len);
    for (size_t i = 0; i < len; i++)
        if (authority[i] >= 'A' && authority[i] <= 'Z')
            authority[i] = (char)(authority[i] | 0x20);
    r->authority = authority;
    r->host = host_len == len ? authority : mem_arena_strndup(r->arena, authority, host_len);
    return true;
}

static bool starts_nocase(const char *text, const char *prefix)
{
    for (; *prefix; text++, prefix++) {
        char c = *text >= 'A' && *text <= 'Z' ? (char)(*text | 0x20) : *text;

        if (c != *prefix)
            return false;
    }
    return true;
}

/* Finds path, query and (absolute form) host in the target. */
static bool split_target(struct http_request *r, bool *absolute_r)
{
    const char *rest = r->target;
    const char *query;
    const char *p;

    for (p = rest; *p; p++)
        if (*p < 0x21 || *p > 0x7e || *p == '#')
            return false;
    *absolute_r = starts_nocase(rest, "http://") || starts_nocase(rest, "https://");
    if (*absolute_r) {
        size_t authority;

        rest = strstr(rest, "://") + 3;
        authority = strcspn(rest, "/?");
        if (authority == 0 || !http1_take_host(r, rest, authority))
            return false;
        rest += authority;
    } else if (strcmp(rest, "*") == 0) {
        if (r->method != HTTP_OPTIONS)
            return false;
    } else if (*rest != '/') {
        return false;
    }
    query = strchr(rest, '?');
    r->query = query ? query + 1 : NULL;
    r->path = query ? mem_arena_strndup(r->arena, rest, (size_t)(query - rest)) : rest;
    if (*r->path == '\0')
        r->path = "/";
    return true;
}

static int parse_request_line(struct http_request *r, char *line, bool *absolute_r,
                              const char **reason_r)
{
    char *target = strchr(line, ' ');
    char *version = target ? strchr(target + 1, ' ') : NULL;
    const char *p;
    size_t i;
    int status;

    if (!version)
        return refuse(400, "malformed request line", reason_r);
    *target++ = '\0';
    *version++ = '\0';
    for (p = line; http1_is_token((unsigned char)*p); p++)
        continue;
    if (*p != '\0' || p == line || p - line > METHOD_MAX)
        return refuse(400, "malformed method", reason_r);
    r->method_text = line;
    r->method = HTTP_OTHER;
    for (i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
        if (strcmp(line, methods[i].text) == 0)
            r->method = methods[i].method;
    status = parse_version(r, version, reason_r);
    if (status != 0)
        return status;
    r->target = target;
    if (!split_target(r, absolute_r))
        return refuse(400, "malformed request target", reason_r);
    return 0;
}

static int parse_header(struct http_request *r, char *line, const char **reason_r)
{
    char *p = line, *end;

    while (http1_is_token((unsigned char)*p))
        p++;
    if (p == line || *p != ':')
        return refuse(400, "malformed header line", reason_r);
    if (r->header_count == HTTP_HEADERS_MAX)
        return refuse(431, "too many headers", reason_r);
    *p++ = '\0';
    p += strspn(p, " \t");
    end = p + strlen(p);
    while (end > p && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    *end = '\0';
    r->headers[r->header_count].name = line;
    r->headers[r->header_count].value = p;
    r->header_count++;
    return 0;
}

/* Is `token` a member of the comma-separated list? */
static bool list_has(const char *list, const char *token)
{
    size_t token_len = strlen(token);

    while (*list) {
        size_t len;

        list += strspn(list, " \t,");
        len = strcspn(list, " \t,");
        if (len == token_len && starts_nocase(list, token))
            return true;
        list += len;
    }
    return false;
}

/* Content-Length and Transfer-Encoding: where the body ends. */
static int judge_framing(struct http_request *r, const char **reason_r)
{
    const char *length = http_header_get(r, "Content-Length");
    const char *coding = http_header_get(r, "Transfer-Encoding");

    if (http_header_count(r, "Content-Length") > 1 || http_header_count(r, "Transfer-Encoding") > 1)
        return refuse(400, "repeated Content-Length or Transfer-Encoding", reason_r);
    if (length && coding)
        return refuse(400, "both Content-Length and Transfer-Encoding", reason_r);
    if (length) {
        if (str_parse_u64(length, strlen(length), &r->length) != 0 || r->length > INT64_MAX)
            return refuse(400, "malformed Content-Length", reason_r);
        r->has_length = true;
    }
    if (coding) {
        if (r->http10)
            return refuse(400, "Transfer-Encoding in HTTP/1.0", reason_r);
        if (*coding == '\0' || strpbrk(coding, ", \t;") || str_equal_nocase(coding, "identity"))
            return refuse(400, "Transfer-Encoding other than chunked alone", reason_r);
        if (!str_equal_nocase(coding, "chunked"))
            return refuse(501, "unknown transfer coding", reason_r);
        r->chunked = true;
    }
    return 0;
}

static int judge_host(struct http_request *r, bool absolute, const char **reason_r)
{
    const char *host = http_header_get(r, "Host");
    const char *target_host = r->host, *target_authority = r->authority;

    if (http_header_count(r, "Host") > 1)
        return refuse(400, "repeated Host", reason_r);
    if (!host)
        return r->http10 ? 0 : refuse(400, "Host is missing", reason_r);
    if (!http1_take_host(r, host, strlen(host)))
        return refuse(400, "malformed Host", reason_r);
    if (absolute) {
        r->host = target_host;
        r->authority = target_authority;
    }
    return 0;
}

static int judge_headers(struct http_request *r, bool absolute, const char **reason_r)
{
    bool keep = false, end = false;
    int status = judge_framing(r, reason_r);
    size_t i;

    if (status == 0)
        status = judge_host(r, absolute, reason_r);
    for (i = 0; i < r->header_count && status == 0; i++) {
        const struct http_header *h = &r->headers[i];

        if (str_equal_nocase(h->name, "Connection")) {
            keep = keep || list_has(h->value, "keep-alive");
            end = end || list_has(h->value, "close");
        } else if (str_equal_nocase(h->name, "Expect") && !r->http10) {
            if (!str_equal_nocase(h->value, "100-continue"))
                status = refuse(417, "unknown expectation", reason_r);
            r->expect_continue = true;
        }
    }
    r->close = end || (r->http10 && !keep);
    return status;
}

int http1_parse_head(struct http_request *r, const char *data, size_t len, const char **reason_r)
{
    char *at, *line;
    const char *end;
    bool absolute = false;
    int status;

    r->method = HTTP_OTHER;
    r->method_text = r->target = r->path = r->host = r->authority = "";
    r->query = NULL;
    r->header_count = 0;
    *reason_r = "";
    if (memchr(data, '\0', len))
        return refuse(400, "NUL byte in the head", reason_r);
    at = mem_arena_strndup(r->arena, data, len);
    end = at + len;
    line = cut_line(&at, end);
    if (!line)
        return refuse(400, "malformed request line", reason_r);
    status = parse_request_line(r, line, &absolute, reason_r);
    while (status == 0) {
        line = cut_line(&at, end);
        if (!line)
            return refuse(400, "control byte or bare line end in a header", reason_r);
        if (*line == '\0')
            break;
        status = parse_header(r, line, reason_r);
    }
    if (status == 0 && at != end)
        status = refuse(400, "bytes after the head", reason_r);
    if (status == 0)
        status = judge_headers(r, absolute, reason_r);
    return status;
}
