/*
 * test_fetcher_text.c - what upstreams say, taken apart: URLs, challenges, addresses, lists.
 */
#include "base/mem.h"
#include "fetcher/address.h"
#include "fetcher/challenge.h"
#include "fetcher/headers.h"
#include "fetcher/list_parse.h"
#include "fetcher/site.h"
#include "fetcher/url.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "check.h"

static void test_urls(void **state)
{
    static const char *const bad[] = {"",
                                      "ftp://a/",
                                      "http://",
                                      "http://u@a/",
                                      "http://a:0/",
                                      "http://a:65536/",
                                      "http://a:x/",
                                      "http://a b/",
                                      "http://a\r\nX: y/",
                                      "http://a\\b/",
                                      "http://[::1/",
                                      "http://a%2fb/",
                                      "http://[::1%25lo]/",
                                      "file:///etc/passwd"};
    struct url u;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(url_parse(bad[i], &u), ERR_INVALID);
    assert_int_equal(url_parse("HTTPS://Reg.Example:5000/v2/?a=b", &u), 0);
    assert_true(u.tls);
    assert_string_equal(u.host, "reg.example");
    assert_int_equal(u.port, 5000);
    assert_string_equal(u.rest, "/v2/?a=b");
    assert_int_equal(url_parse("http://[::1]:80", &u), 0);
    assert_string_equal(u.host, "[::1]");
}

static void test_how_long_urls_may_be(void **state)
{
    char text[URL_MAX + 2] = "http://";
    struct url u;

    (void)state;
    memset(text + 7, 'a', URL_HOST_MAX);
    assert_int_equal(url_parse(text, &u), 0);
    assert_int_equal(strlen(u.host), URL_HOST_MAX);
    text[7 + URL_HOST_MAX] = 'a';
    assert_int_equal(url_parse(text, &u), ERR_INVALID);
    text[7 + URL_HOST_MAX] = '/';
    memset(text + 8 + URL_HOST_MAX, 'a', URL_MAX - 8 - URL_HOST_MAX);
    assert_int_equal(url_parse(text, &u), 0);
    text[URL_MAX] = 'a';
    assert_int_equal(url_parse(text, &u), ERR_INVALID);
}

static bool same_origin(const char *one, const char *other)
{
    struct url a, b;

    assert_int_equal(url_parse(one, &a), 0);
    assert_int_equal(url_parse(other, &b), 0);
    return url_same_origin(&a, &b);
}

static void test_same_origins(void **state)
{
    (void)state;
    assert_true(same_origin("https://a/x", "HTTPS://A:443/y"));
    assert_false(same_origin("http://a:5000/", "https://a:5000/"));
    assert_false(same_origin("https://a:5000/", "https://a:5001/"));
    assert_false(same_origin("https://a/", "https://b/"));
    assert_false(same_origin("https://a/", "https://a.b/"));
}

static void check_resolve(const char *base, const char *ref, const char *want)
{
    struct str out = {0};

    if (want) {
        assert_int_equal(url_resolve(base, ref, &out), 0);
        assert_string_equal(out.data, want);
    } else {
        assert_int_equal(url_resolve(base, ref, &out), ERR_INVALID);
    }
    str_free(&out);
}

static void test_resolving(void **state)
{
    (void)state;
    check_resolve("https://a/v2/x?y", "http://b/c", "http://b/c");
    check_resolve("https://a/v2/x?y", "//b/c", "https://b/c");
    check_resolve("https://a:1/v2/x?y", "/c?d", "https://a:1/c?d");
    check_resolve("https://a/v2/x?y", "z", "https://a/v2/z");
    check_resolve("https://a", "z", "https://a/z");
    check_resolve("https://a/v2/x?y", "?q", "https://a/v2/x?q");
    check_resolve("https://a/", "javascript:1", NULL);
    check_resolve("https://a/", "http://u:p@b/", NULL);
    check_resolve("https://a/", "/x\r\nHost: b", NULL);
    check_resolve("https://a/", "", NULL);
}

static void test_where_credentials_may_go(void **state)
{
    (void)state;
    assert_true(site_same("registry-1.docker.io", "auth.docker.io"));
    assert_true(site_same("10.0.0.1", "10.0.0.1"));
    assert_false(site_same("10.0.0.1", "11.0.0.1"));
    assert_false(site_same("a.example", "a.example.evil"));
    assert_false(site_same("docker.io", "evildocker.io"));
    assert_false(site_same("localhost", "other"));
    assert_true(site_same("registry.team.corp", "auth.team.corp"));
    assert_true(site_same("registry.example.co.uk", "auth.example.co.uk"));
    assert_false(site_same("registry.co.uk", "evil.co.uk"));
    assert_false(site_same("mine.azurecr.io", "evil.azurecr.io"));
    assert_false(site_same("azurecr.io", "evil.azurecr.io"));
    assert_false(
        site_same("1.dkr.ecr.eu-west-1.amazonaws.com", "ec2-1.eu-west-1.compute.amazonaws.com"));
    assert_false(site_same("mine.github.io", "evil.github.io"));
    assert_true(site_same("registry.gitlab.com", "gitlab.com"));
    assert_false(site_same("co.uk", "evil.co.uk"));
    assert_true(site_same("Registry.example.org", "auth.EXAMPLE.org"));
    assert_true(site_same("registry.notjfrog.io", "auth.notjfrog.io")); /* not of jfrog.io */
    assert_false(site_same("[2001:db8::1]", "[2001:db8::2]"));
}

static bool public(const char *text)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};

    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
        return address_public((struct sockaddr *)&v4);
    assert_int_equal(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
    return address_public((struct sockaddr *)&v6);
}

static void test_addresses(void **state)
{
    static const char *const closed[] = {
        "0.0.0.0",      "10.1.2.3",        "100.64.0.1",     "127.0.0.1",   "169.254.169.254",
        "172.16.0.1",   "172.31.255.255",  "192.168.0.1",    "192.0.0.1",   "198.18.0.1",
        "224.0.0.1",    "255.255.255.255", "240.0.0.1",      "::",          "::1",
        "fe80::1",      "fc00::1",         "fd12::1",        "ff02::1",     "::ffff:127.0.0.1",
        "::ffff:a00:1", "64:ff9b::a00:1",  "2002:7f00:1::1", "2001:db8::1", "2001::1",
        "::127.0.0.1",  "100.127.255.255", "198.19.255.255", "192.0.2.1",   "198.51.100.1",
        "203.0.113.1",  "2001:100::1",     "4000::1"};
    static const char *const open[] = {
        "8.8.8.8",         "172.15.0.1",     "172.32.0.1",       "100.128.0.1",
        "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2001:4860:4860::8888",
        "2002:808:808::1", "2001:200::1"};

    (void)state;
    for (size_t i = 0; i < sizeof(closed) / sizeof(closed[0]); i++)
        if (public(closed[i]))
            fail_msg("%s counts as public", closed[i]);
    for (size_t i = 0; i < sizeof(open) / sizeof(open[0]); i++)
        if (!public(open[i]))
            fail_msg("%s does not count as public", open[i]);
    for (size_t i = 0; i < sizeof(open) / sizeof(open[0]); i++)
        assert_true(address_text_public(open[i]) && !address_text_public(closed[i]));
    assert_false(address_text_public("registry.example")); /* a name is no address */
    assert_false(address_public(&(struct sockaddr){.sa_family = AF_UNIX}));
}

static int choose(struct mem_arena *arena, const char *line, struct challenge *c)
{
    return challenge_choose(arena, &line, 1, c);
}

static void test_challenges(void **state)
{
    struct mem_arena *arena = mem_arena_new();
    static const char *const two[] = {"Basic realm=\"x\"", "Bearer realm=\"https://t/\",scope=s"};
    struct challenge c;

    (void)state;
    assert_int_equal(
        choose(arena, "Bearer realm=\"https://t/token\",service=\"s v\",scope=\"a:b:pull,push\"",
               &c),
        0);
    assert_true(c.bearer);
    assert_string_equal(c.realm, "https://t/token");
    assert_string_equal(c.service, "s v");
    assert_string_equal(c.scope, "a:b:pull,push");
    assert_int_equal(choose(arena, "Basic realm=\"x\", bearer Realm=https://t/ , error=\"no\"", &c),
                     0);
    assert_true(c.bearer);
    assert_string_equal(c.realm, "https://t/");
    assert_int_equal(challenge_choose(arena, two, 2, &c), 0);
    assert_true(c.bearer);
    assert_int_equal(choose(arena, "BASIC realm=x", &c), 0);
    assert_false(c.bearer);
    assert_int_equal(choose(arena, "Bearer realm=\"a\\\"b\"", &c), 0);
    assert_string_equal(c.realm, "a\"b");
    assert_int_equal(choose(arena, "Bearer service=x", &c), ERR_NOT_FOUND);
    assert_int_equal(choose(arena, "Negotiate", &c), ERR_NOT_FOUND);
    assert_int_equal(choose(arena, "Bearer realm=\"never ends", &c), ERR_NOT_FOUND);
    assert_int_equal(choose(arena, "", &c), ERR_NOT_FOUND);
    assert_int_equal(choose(arena, "Bearer realm=\"https://t/\tX\"", &c), ERR_NOT_FOUND);
    assert_int_equal(choose(arena, "Bearer realm=\"https://t/\\\nX\"", &c), ERR_NOT_FOUND);
    /* The first of a name counts, and so does the first challenge of a kind. */
    assert_int_equal(choose(arena,
                            "Bearer realm=one,realm=two,service=s,service=t,scope=a,scope=b, "
                            "Bearer realm=three",
                            &c),
                     0);
    assert_string_equal(c.realm, "one");
    assert_string_equal(c.service, "s");
    assert_string_equal(c.scope, "a");
    assert_int_equal(choose(arena, "Basic realm=one, Basic realm=two", &c), 0);
    assert_string_equal(c.realm, "one");
    assert_int_equal(choose(arena, "Bearer realm=\"\", Basic realm=x", &c), 0);
    assert_false(c.bearer);
    mem_arena_free(&arena);
}

static void take(struct headers *h, const char *line)
{
    headers_take(h, line, strlen(line));
}

static void test_headers(void **state)
{
    struct upstream_head head = {0};
    struct headers h = {0};

    (void)state;
    take(&h, "ETag:  \"a\" \r\n");
    take(&h, "etag: \"second\"\r\n");
    take(&h, "WWW-Authenticate: Basic realm=x\r\n");
    take(&h, "Set-Cookie: a=b\r\n");
    take(&h, "no colon\r\n");
    take(&h, "Locatio: http://a/\r\n");
    take(&h, "Locations: http://a/\r\n");
    headers_take(&h, "Location: http://a/\0b\r\n", 22);
    headers_show(&h, &head);
    assert_string_equal(head.etag, "\"a\"");
    assert_int_equal(head.challenge_count, 1);
    assert_string_equal(head.challenges[0], "Basic realm=x");
    assert_null(head.location);
    headers_reset(&h);
    headers_show(&h, &head);
    assert_null(head.etag);
    assert_int_equal(head.challenge_count, 0);
    for (size_t i = 0; i < 2 * HEADERS_CHALLENGES_MAX; i++)
        take(&h, "WWW-Authenticate: Basic\r\n");
    headers_show(&h, &head);
    assert_int_equal(head.challenge_count, HEADERS_CHALLENGES_MAX);
    headers_reset(&h);
}

static int names(const char *json, const char *key, uint32_t *count_r)
{
    struct list_out out = {0};
    struct str body = {0};
    int err;

    str_puts(&body, json);
    msg_begin(&out.items, MSG_REPLY, 0);
    err = list_parse_names(&out, &body, key, true);
    *count_r = out.count;
    msg_writer_free(&out.items);
    str_free(&body);
    return err;
}

static void test_lists(void **state)
{
    uint32_t count;

    (void)state;
    assert_int_equal(names("{\"tags\":[\"a\",\"../b\",3,\"c\"]}", "tags", &count), 0);
    assert_int_equal(count, 2);
    assert_int_equal(names("{\"tags\":null}", "tags", &count), 0);
    assert_int_equal(count, 0);
    assert_int_equal(names("{\"tags\":\"a\"}", "tags", &count), ERR_PROTOCOL);
    assert_int_equal(names("[]", "tags", &count), ERR_PROTOCOL);
    assert_int_equal(names("<html>", "tags", &count), ERR_PROTOCOL);
    assert_int_equal(names("{\"repositories\":[]}", "tags", &count), 0);
    assert_int_equal(count, 0);
}

static void test_a_list_has_an_end(void **state)
{
    enum { NAME = 120, COUNT = LIST_BYTES_MAX / NAME + 10000 };
    char name[NAME + 4];
    struct str json = {0};
    uint32_t count;

    (void)state;
    name[0] = name[NAME + 1] = '"';
    memset(name + 1, 'a', NAME);
    name[NAME + 2] = ',';
    name[NAME + 3] = 0;
    str_puts(&json, "{\"tags\":[");
    for (size_t i = 0; i < COUNT; i++)
        str_puts(&json, name);
    json.data[json.len - 1] = ']';
    str_puts(&json, "}");
    assert_int_equal(names(json.data, "tags", &count), 0);
    assert_in_range(count, 1, LIST_BYTES_MAX / NAME);
    str_free(&json);
}

static uint32_t referrers(const char *json)
{
    struct list_out out = {0};
    struct str body = {0};

    str_puts(&body, json);
    msg_begin(&out.items, MSG_REPLY, 0);
    assert_int_equal(list_parse_referrers(&out, &body), 0);
    msg_writer_free(&out.items);
    str_free(&body);
    return out.count;
}

#define A_DIGEST "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/* What is no descriptor is left out. */
static void test_referrers(void **state)
{
    (void)state;
    assert_int_equal(referrers("{\"manifests\":[{\"mediaType\":\"a/b\",\"digest\":\"" A_DIGEST
                               "\",\"size\":1,\"annotations\":{\"a\":\"b\",\"c\":1}}]}"),
                     1);
    assert_int_equal(referrers("{\"manifests\":[{\"mediaType\":\"a/b\",\"digest\":\"sha256:1\","
                               "\"size\":1}]}"),
                     0);
    assert_int_equal(referrers("{\"manifests\":[{\"mediaType\":\"a b\",\"digest\":\"" A_DIGEST
                               "\",\"size\":1}]}"),
                     0);
    assert_int_equal(
        referrers("{\"manifests\":[{\"mediaType\":\"a/b\",\"digest\":\"" A_DIGEST "\"}]}"), 0);
    assert_int_equal(referrers("{\"manifests\":[1,null,\"x\",[]]}"), 0);
}

static uint32_t found(const char *json, uint32_t limit)
{
    struct list_out out = {0};
    struct str body = {0};

    str_puts(&body, json);
    msg_begin(&out.items, MSG_REPLY, 0);
    assert_int_equal(list_parse_search(&out, &body, limit), 0);
    msg_writer_free(&out.items);
    str_free(&body);
    return out.count;
}

static void test_search(void **state)
{
    static const char three[] =
        "{\"results\":[{\"name\":\"a\"},{\"name\":\"b\"},{\"name\":\"c\"}]}";

    (void)state;
    assert_int_equal(found(three, 100), 3);
    assert_int_equal(found(three, 2), 2);
    assert_int_equal(found("{\"results\":[{\"name\":\"../a\"},{},1,{\"name\":\"a b\"}]}", 100), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_how_long_urls_may_be),
        cmocka_unit_test(test_same_origins),
        cmocka_unit_test(test_resolving),
        cmocka_unit_test(test_where_credentials_may_go),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_challenges),
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_a_list_has_an_end),
        cmocka_unit_test(test_referrers),
        cmocka_unit_test(test_search),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
