/*
 * test_http1.c - request heads and chunked bodies: what is taken, what is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/http1.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct parsed {
    struct http_request r;
    int status;
    const char *reason;
};

static void parse_bytes(struct parsed *p, const char *data, size_t len)
{
    memset(p, 0, sizeof(*p));
    p->r.arena = mem_arena_new();
    p->status = http1_parse_head(&p->r, data, len, &p->reason);
    if (p->status != 0)
        assert_true(*p->reason);
}

static void parse(struct parsed *p, const char *text)
{
    parse_bytes(p, text, strlen(text));
}

static void parsed_free(struct parsed *p)
{
    mem_arena_free(&p->r.arena);
}

static int status_of(const char *text)
{
    struct parsed p;
    int status;

    parse(&p, text);
    status = p.status;
    parsed_free(&p);
    return status;
}

/* The status of a request with Host and these further header lines. */
static int status_with(const char *lines)
{
    char text[1024];

    snprintf(text, sizeof(text), "PUT /v2/ HTTP/1.1\r\nHost: a\r\n%s\r\n", lines);
    return status_of(text);
}

static void head_length_finds_the_empty_line(void **state)
{
    (void)state;
    assert_int_equal(http1_head_length("GET / HTTP/1.1\r\n\r\nrest", 22), 18);
    assert_int_equal(http1_head_length("GET / HTTP/1.1\r\n\r", 17), 0);
    assert_int_equal(http1_head_length("GET / HTTP/1.1\r\n", 16), 0);
    assert_int_equal(http1_head_length("", 0), 0);
    assert_int_equal(http1_head_length("\r", 1), 0);
    assert_int_equal(http1_head_length("\r\n", 2), 2);
    /* bare line ends are an end too, so that the refusal comes at once */
    assert_int_equal(http1_head_length("GET / HTTP/1.1\n\nrest", 20), 16);
    assert_int_equal(http1_head_length("a\r\n\nb", 5), 4);
}

static void a_plain_request(void **state)
{
    struct parsed p;

    (void)state;
    parse(&p, "GET /v2/a%2Fb/tags/list?n=5&last=x HTTP/1.1\r\nHost: Reg.Example:5000\r\n"
              "Accept:\t a, b \t\r\naccept: c\r\nX-Empty:\r\n\r\n");
    assert_int_equal(p.status, 0);
    assert_int_equal(p.r.method, HTTP_GET);
    assert_string_equal(p.r.method_text, "GET");
    assert_string_equal(p.r.target, "/v2/a%2Fb/tags/list?n=5&last=x");
    assert_string_equal(p.r.path, "/v2/a%2Fb/tags/list");
    assert_string_equal(p.r.query, "n=5&last=x");
    assert_string_equal(p.r.host, "reg.example");
    assert_string_equal(http_header_get(&p.r, "ACCEPT"), "a, b");
    assert_int_equal(http_header_count(&p.r, "Accept"), 2);
    assert_string_equal(http_header_get(&p.r, "x-empty"), "");
    assert_null(http_header_get(&p.r, "X-Other"));
    assert_false(p.r.close || p.r.http10 || p.r.chunked || p.r.has_length || p.r.expect_continue);
    parsed_free(&p);
}

static void methods_and_request_lines(void **state)
{
    static const char *const bad[] = {
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",    "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
        " GET / HTTP/1.1\r\nHost: a\r\n\r\n",    "GET /\r\n\r\n",
        "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",    "GET / http/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/11\r\nHost: a\r\n\r\n",      "GET / HTTP/1.1\rHost: a\r\n\r\n",
        "G@T / HTTP/1.1\r\nHost: a\r\n\r\n",     "GET v2/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET * HTTP/1.1\r\nHost: a\r\n\r\n",     "GET /#f HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /\x80 HTTP/1.1\r\nHost: a\r\n\r\n", "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.\r\nHost: a\r\n\r\n",      "GET / \r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\n\n",           "\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\nX",      "",
    };
    struct parsed p;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (status_of(bad[i]) != 400)
            fail_msg("not refused with 400: %s", bad[i]);
    assert_int_equal(status_of("GET / HTTP/2.0\r\nHost: a\r\n\r\n"), 505);
    assert_int_equal(status_of("PRI * HTTP/2.0\r\n\r\n"), 505);
    assert_int_equal(status_of("GET / HTTP/1.2\r\nHost: a\r\n\r\n"), 505);
    parse(&p, "PROPFIND / HTTP/1.1\r\nHost:\r\n\r\n");
    assert_int_equal(p.status, 0);
    assert_int_equal(p.r.method, HTTP_OTHER);
    assert_string_equal(p.r.method_text, "PROPFIND");
    assert_string_equal(p.r.host, "");
    parsed_free(&p);
    assert_int_equal(status_of("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"), 0);
    parse_bytes(&p, "GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n", 29);
    assert_int_equal(p.status, 400);
    parsed_free(&p);
}

static void absolute_targets_replace_host(void **state)
{
    struct parsed p;

    (void)state;
    parse(&p, "GET HTTP://Other:80?x=1 HTTP/1.1\r\nHost: mine\r\n\r\n");
    assert_int_equal(p.status, 0);
    assert_string_equal(p.r.host, "other");
    assert_string_equal(p.r.path, "/");
    assert_string_equal(p.r.query, "x=1");
    parsed_free(&p);
    assert_int_equal(status_of("GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
    assert_int_equal(status_of("GET http://u@h/ HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
    assert_int_equal(status_of("GET http://h/ HTTP/1.1\r\n\r\n"), 400); /* Host is still due */
    assert_int_equal(status_of("GET ftp://h/ HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
}

static void hosts(void **state)
{
    static const char *const bad[] = {"a b",  "a,b", "a/b",    "u@a",   "a:x",   "a:70000", ":80",
                                      "[::1", "[]",  "[::1]x", "a:1:2", "a%20b", "[g::1]"};
    char text[128];
    struct parsed p;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", bad[i]);
        if (status_of(text) != 400)
            fail_msg("not refused with 400: %s", text);
    }
    parse(&p, "GET / HTTP/1.1\r\nHost: [FE80::1]:443\r\n\r\n");
    assert_int_equal(p.status, 0);
    assert_string_equal(p.r.host, "[fe80::1]");
    parsed_free(&p);
    assert_int_equal(status_of("GET / HTTP/1.1\r\n\r\n"), 400);
    assert_int_equal(status_of("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"), 400);
    assert_int_equal(status_of("GET / HTTP/1.0\r\n\r\n"), 0);
}

static void header_lines(void **state)
{
    char text[4096] = "GET / HTTP/1.1\r\nHost: a\r\n";

    (void)state;
    assert_int_equal(status_with("X: a\r\n b\r\n"), 400);
    assert_int_equal(status_with("X : a\r\n"), 400);
    assert_int_equal(status_with(": a\r\n"), 400);
    assert_int_equal(status_with("X\r\n"), 400);
    assert_int_equal(status_with("X: a\nY: b\r\n"), 400);
    assert_int_equal(status_with("X: a\rb\r\n"), 400);
    assert_int_equal(status_with("X: a\x01\r\n"), 400);
    assert_int_equal(status_with("X: a\x7f\r\n"), 400);
    assert_int_equal(status_with("X: a\tb\xc3\xa9\r\n"), 0);
    for (int i = 1; i < HTTP_HEADERS_MAX; i++)
        strcat(text, "X: y\r\n");
    strcat(text, "\r\n");
    assert_int_equal(status_of(text), 0);
    strcpy(text + strlen(text) - 2, "X: y\r\n\r\n");
    assert_int_equal(status_of(text), 431);
}

static void framing(void **state)
{
    struct parsed p;

    (void)state;
    parse(&p, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0012\r\n\r\n");
    assert_int_equal(p.status, 0);
    assert_true(p.r.has_length && p.r.length == 12);
    parsed_free(&p);
    parse(&p, "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n");
    assert_int_equal(p.status, 0);
    assert_true(p.r.chunked && !p.r.has_length);
    parsed_free(&p);
    assert_int_equal(status_with("Content-Length: 9223372036854775807\r\n"), 0);
    assert_int_equal(status_with("Content-Length: 9223372036854775808\r\n"), 400);
    assert_int_equal(status_with("Content-Length: 99999999999999999999999\r\n"), 400);
    assert_int_equal(status_with("Content-Length: +5\r\n"), 400);
    assert_int_equal(status_with("Content-Length: -5\r\n"), 400);
    assert_int_equal(status_with("Content-Length: 5 5\r\n"), 400);
    assert_int_equal(status_with("Content-Length: 5, 5\r\n"), 400);
    assert_int_equal(status_with("Content-Length: 0x5\r\n"), 400);
    assert_int_equal(status_with("Content-Length:\r\n"), 400);
    assert_int_equal(status_with("Content-Length: 5\r\nContent-Length: 5\r\n"), 400);
    assert_int_equal(status_with("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 400);
    assert_int_equal(status_with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
                     400);
    assert_int_equal(status_with("Transfer-Encoding: gzip, chunked\r\n"), 400);
    assert_int_equal(status_with("Transfer-Encoding: chunked, identity\r\n"), 400);
    assert_int_equal(status_with("Transfer-Encoding: identity\r\n"), 400);
    assert_int_equal(status_with("Transfer-Encoding: chunked;q=1\r\n"), 400);
    assert_int_equal(status_with("Transfer-Encoding:\r\n"), 400);
    assert_int_equal(status_with("Transfer-Encoding: xchunked\r\n"), 501);
    assert_int_equal(status_of("PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
}

static bool closes(const char *text)
{
    struct parsed p;
    bool result;

    parse(&p, text);
    assert_int_equal(p.status, 0);
    result = p.r.close;
    parsed_free(&p);
    return result;
}

static void persistence_and_expectations(void **state)
{
    struct parsed p;

    (void)state;
    assert_false(closes("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert_true(closes("GET / HTTP/1.1\r\nHost: a\r\nConnection: foo,\tClose ,bar\r\n\r\n"));
    assert_true(
        closes("GET / HTTP/1.1\r\nHost: a\r\nConnection: foo\r\nConnection: close\r\n\r\n"));
    assert_false(closes("GET / HTTP/1.1\r\nHost: a\r\nConnection: closed\r\n\r\n"));
    assert_true(closes("GET / HTTP/1.0\r\n\r\n"));
    assert_false(closes("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"));
    assert_true(closes("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n"));
    parse(&p, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-Continue\r\n\r\n");
    assert_int_equal(p.status, 0);
    assert_true(p.r.expect_continue);
    parsed_free(&p);
    assert_int_equal(status_with("Expect: something\r\n"), 417);
    parse(&p, "PUT / HTTP/1.0\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n");
    assert_false(p.r.expect_continue);
    parsed_free(&p);
}

static void queries(void **state)
{
    struct parsed p;
    const char *value;

    (void)state;
    parse(&p, "GET /?digest=sha256%3Aab&tag=1&tag=a%2Bb&&e=&f&%74ag=3&bad=%4&x+y=z HTTP/1.1\r\n"
              "Host: a\r\n\r\n");
    assert_int_equal(p.status, 0);
    assert_int_equal(http_query_get(&p.r, "digest", 0, &value), 0);
    assert_string_equal(value, "sha256:ab");
    assert_int_equal(http_query_get(&p.r, "tag", 1, &value), 0);
    assert_string_equal(value, "a+b");
    assert_int_equal(http_query_get(&p.r, "tag", 2, &value), 0);
    assert_string_equal(value, "3");
    assert_int_equal(http_query_get(&p.r, "tag", 3, &value), 0);
    assert_null(value);
    assert_int_equal(http_query_get(&p.r, "e", 0, &value), 0);
    assert_string_equal(value, "");
    assert_int_equal(http_query_get(&p.r, "f", 0, &value), 0);
    assert_string_equal(value, "");
    assert_int_equal(http_query_get(&p.r, "x y", 0, &value), 0);
    assert_string_equal(value, "z");
    assert_int_equal(http_query_get(&p.r, "bad", 0, &value), ERR_INVALID);
    assert_null(value);
    parsed_free(&p);
}

/* Decodes `text`, handed over `step` bytes at a time, into `out`. Returns the
 * bytes used, or an error; -100 when the body did not end. */
static int decode(const char *text, size_t text_len, size_t step, char *out)
{
    struct http1_chunked c = {0};
    size_t at = 0, end = 0;
    bool done = false;

    *out = '\0';
    while (!done && at < text_len) {
        size_t used, len;
        const char *data;
        int err;

        if (end <= at)
            end = at + step < text_len ? at + step : text_len;
        err = http1_chunked_decode(&c, text + at, end - at, &used, &data, &len, &done);
        if (err != 0)
            return err;
        assert_true(used > 0 && used <= end - at);
        strncat(out, data ? data : "", len);
        at += used;
    }
    return done ? (int)at : -100;
}

static void chunked_good(void **state)
{
    static const char text[] =
        "3\r\nabc\r\n00000A;ext=\"v\";y\r\n0123456789\r\n0\r\nX: y\r\nZ:\r\n\r\nNEXT";
    char out[128];

    (void)state;
    for (size_t step = 1; step < sizeof(text); step++) {
        assert_int_equal(decode(text, sizeof(text) - 1, step, out), sizeof(text) - 1 - 4);
        assert_string_equal(out, "abc0123456789");
    }
    assert_int_equal(decode("0\r\n\r\n", 5, 9, out), 5);
    assert_int_equal(decode("1\r\na\r\n0\r\n\r", 10, 9, out), -100);
    assert_int_equal(decode("00000000000000001\r\na", 19, 9, out), ERR_INVALID); /* 17 digits */
    assert_int_equal(decode("ffffffffffffffff\r\na", 19, 99, out), -100);
}

static void chunked_bad(void **state)
{
    static const char *const bad[] = {
        "\r\n",
        "g\r\n",
        "3\nabc\r\n",
        "3\r\nabcd\r\n",
        "3\r\nabc\n0\r\n",
        " 3\r\nabc\r\n",
        "3 \r\nabc\r\n",
        "-1\r\n",
        "0x3\r\nabc\r\n",
        "3\rabc",
        ";a\r\n",
        "3;a\x01\r\n",
        "0\r\n X: y\r\n\r\n",
        "0\r\nX\r\n\r\n",
        "0\r\nX : y\r\n\r\n",
        "0\r\nX: y\n\r\n",
        "0\r\nX: \x02\r\n\r\n",
        "0\r\n: y\r\n\r\n",
        "0\r\n\rX",
    };
    char out[128], *long_text = malloc(8192);

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        for (size_t step = 1; step < 8; step++)
            if (decode(bad[i], strlen(bad[i]), step, out) != ERR_INVALID)
                fail_msg("not refused: %s", bad[i]);
    memset(long_text, 'a', 8192);
    memcpy(long_text, "1;", 2);
    memcpy(long_text + 2 + 256, "\r\nx\r\n0\r\n\r\n", 10);
    assert_int_equal(decode(long_text, 268, 300, out), 268);
    memset(long_text + 2, 'a', 300);
    assert_int_equal(decode(long_text, 259, 300, out), ERR_INVALID);
    memcpy(long_text, "0\r\na:", 5);
    memset(long_text + 5, 'a', 8000);
    assert_int_equal(decode(long_text, 3 + 4096, 8192, out), -100);
    assert_int_equal(decode(long_text, 3 + 4097, 8192, out), ERR_INVALID);
    free(long_text);
}

static void chunked_stays_broken(void **state)
{
    struct http1_chunked c = {0};
    size_t used, len;
    const char *data;
    bool done;

    (void)state;
    assert_int_equal(http1_chunked_decode(&c, "x", 1, &used, &data, &len, &done), ERR_INVALID);
    assert_int_equal(http1_chunked_decode(&c, "0\r\n\r\n", 5, &used, &data, &len, &done),
                     ERR_INVALID);
    assert_false(done);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(head_length_finds_the_empty_line),
        cmocka_unit_test(a_plain_request),
        cmocka_unit_test(methods_and_request_lines),
        cmocka_unit_test(absolute_targets_replace_host),
        cmocka_unit_test(hosts),
        cmocka_unit_test(header_lines),
        cmocka_unit_test(framing),
        cmocka_unit_test(persistence_and_expectations),
        cmocka_unit_test(queries),
        cmocka_unit_test(chunked_good),
        cmocka_unit_test(chunked_bad),
        cmocka_unit_test(chunked_stays_broken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
