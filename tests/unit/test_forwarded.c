#include "check.h"

#include "api/base_url.h"
#include "http/forwarded.h"
#include "http/http1.h"

static struct net_prefix trusted[2];
static char no_url[] = "";
static struct conf_connector connector = {.external_url = no_url};
static struct conf conf = {.connectors = &connector, .connector_count = 1};
static struct api api = {.conf = &conf};
static struct http_request r;
static char shown[200];

static int setup(void **state)
{
    (void)state;
    assert_int_equal(net_prefix_parse("127.0.0.0/8", &trusted[0]), 0);
    assert_int_equal(net_prefix_parse("10.0.0.0/8", &trusted[1]), 0);
    connector.external_url = no_url;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mem_arena_free(&r.arena);
    return 0;
}

static void addr_set(struct net_addr *addr, const char *text)
{
    assert_int_equal(net_addr_parse(text, addr), 0);
}

/* A request with further header lines, from `peer`; "client base-URL host" of it. */
static const char *ask_from(const char *peer, bool https, const char *first, const char *headers)
{
    struct api_call call = {.api = &api, .r = &r};
    struct str head = {0}, url = {0};
    const char *reason;
    char text[NET_ADDR_TEXT_MAX];

    mem_arena_free(&r.arena);
    memset(&r, 0, sizeof(r));
    r.arena = mem_arena_new();
    r.https = https;
    addr_set(&r.peer, peer);
    addr_set(&r.local, "127.0.0.1:8082");
    r.client = r.peer;
    str_printf(&head, "%s%s\r\n", first, headers);
    assert_int_equal(http1_parse_head(&r, head.data, head.len, &reason), 0);
    forwarded_apply(&r, trusted, 2);
    api_base_url(&call, &url);
    snprintf(shown, sizeof(shown), "%s %s %s",
             net_addr_text((struct sockaddr *)&r.client.ss, r.client.len, text), url.data, r.host);
    str_free(&head);
    str_free(&url);
    return shown;
}

static const char *ask(const char *headers)
{
    return ask_from("127.0.0.1:5", false, "GET / HTTP/1.1\r\nHost: Real.example:8082\r\n", headers);
}

#define REAL " http://real.example:8082 real.example"

static void test_without_any(void **state)
{
    (void)state;
    assert_string_equal(ask(""), "127.0.0.1:5" REAL);
    assert_string_equal(ask_from("8.8.8.8:5", true, "GET / HTTP/1.1\r\nHost: a.example\r\n", ""),
                        "8.8.8.8:5 https://a.example a.example");
    assert_string_equal(ask_from("8.8.8.8:5", true, "GET / HTTP/1.1\r\nHost: [::1]:8443\r\n", ""),
                        "8.8.8.8:5 https://[::1]:8443 [::1]");
    assert_string_equal(ask_from("8.8.8.8:5", false, "GET / HTTP/1.1\r\nHost: a.example:\r\n", ""),
                        "8.8.8.8:5 http://a.example a.example");
    assert_string_equal(
        ask_from("8.8.8.8:5", false, "GET http://B.example:1/ HTTP/1.1\r\nHost: a\r\n", ""),
        "8.8.8.8:5 http://b.example:1 b.example");
    assert_string_equal(ask_from("8.8.8.8:5", false, "GET / HTTP/1.0\r\n", ""),
                        "8.8.8.8:5 http://127.0.0.1:8082 ");
}

static void test_strangers_are_not_believed(void **state)
{
    (void)state;
    assert_string_equal(ask_from("8.8.8.8:5", false, "GET / HTTP/1.1\r\nHost: a.example\r\n",
                                 "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: https\r\n"
                                 "X-Forwarded-Host: evil.example\r\n"),
                        "8.8.8.8:5 http://a.example a.example");
}

static void test_addresses(void **state)
{
    static const struct {
        const char *headers, *client;
    } rows[] = {
        {"X-Forwarded-For: 9.9.9.9\r\n", "9.9.9.9"},
        {"x-forwarded-for: 9.9.9.9:1234\r\n", "9.9.9.9:1234"},
        {"X-Forwarded-For: 2001:db8::1\r\n", "[2001:db8::1]"},
        /* What the client itself sent stands left of what the proxy saw. */
        {"X-Forwarded-For: 1.1.1.1, 9.9.9.9\r\n", "9.9.9.9"},
        {"X-Forwarded-For: 1.1.1.1\r\nX-Other: 7.7.7.7\r\nX-Forwarded-For: 9.9.9.9\r\n", "9.9.9.9"},
        /* Through further trusted proxies. */
        {"X-Forwarded-For: 1.1.1.1,9.9.9.9 ,\t10.0.0.7\r\n", "9.9.9.9"},
        {"X-Forwarded-For: 1.1.1.1, 9.9.9.9\r\nX-Forwarded-For: 10.0.0.7\r\n", "9.9.9.9"},
        {"X-Forwarded-For: 10.0.0.8, 10.0.0.7\r\n", "10.0.0.8"},
        /* What cannot be understood ends the way. */
        {"X-Forwarded-For: 1.1.1.1, unknown, 10.0.0.7\r\n", "10.0.0.7"},
        {"X-Forwarded-For: 1.1.1.1,,10.0.0.7\r\n", "10.0.0.7"},
        {"X-Forwarded-For: \r\n", "127.0.0.1:5"},
        {"X-Forwarded-For: 9.9.9.9,\r\n", "127.0.0.1:5"},
        {"X-Forwarded-For: 9.9.9.9 8.8.8.8\r\n", "127.0.0.1:5"},
    };
    char expected[200];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        snprintf(expected, sizeof(expected), "%s" REAL, rows[i].client);
        assert_string_equal(ask(rows[i].headers), expected);
    }
}

static void test_scheme_and_host(void **state)
{
    (void)state;
    assert_string_equal(ask("X-Forwarded-Proto: https\r\n"),
                        "127.0.0.1:5 https://real.example:8082 real.example");
    assert_string_equal(ask("X-Forwarded-Proto: HTTPS\r\nX-Forwarded-Host: Hub.example\r\n"),
                        "127.0.0.1:5 https://hub.example hub.example");
    assert_string_equal(ask("X-Forwarded-Host: evil.example, hub.example:444\r\n"
                            "X-Forwarded-Proto: http, https\r\n"),
                        "127.0.0.1:5 https://hub.example:444 hub.example");
    assert_string_equal(ask_from("127.0.0.1:5", true, "GET / HTTP/1.1\r\nHost: a.example\r\n",
                                 "X-Forwarded-Proto: http\r\n"),
                        "127.0.0.1:5 http://a.example a.example");
}

static void test_malformed_ones_change_nothing(void **state)
{
    static const char *const hosts[] = {"a/b",   "a b", "a\"b", "a@b", "a:x", "a:99999",
                                        "[::g]", "%41", "",     "a,",  ":80", "https://a"};
    char headers[200];

    (void)state;
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        snprintf(headers, sizeof(headers), "X-Forwarded-Host: %s\r\nX-Forwarded-Proto: ftp\r\n",
                 hosts[i]);
        assert_string_equal(ask(headers), "127.0.0.1:5" REAL);
    }
}

static void test_external_url_wins(void **state)
{
    static char url[] = "https://registry.example:8443";

    (void)state;
    connector.external_url = url;
    assert_string_equal(ask("X-Forwarded-Host: other.example\r\nX-Forwarded-For: 9.9.9.9\r\n"),
                        "9.9.9.9 https://registry.example:8443 other.example");
}

#define clean(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        clean(test_without_any),
        clean(test_strangers_are_not_believed),
        clean(test_addresses),
        clean(test_scheme_and_host),
        clean(test_malformed_ones_change_nothing),
        clean(test_external_url_wins),
    };

    return cmocka_run_group_tests_name("forwarded", tests, NULL, NULL);
}
