#include "check.h"

#include "base/net_prefix.h"

#include <arpa/inet.h>

static struct net_addr addr_of(const char *text)
{
    struct net_addr addr;

    assert_int_equal(net_addr_parse_loose(text, strlen(text), &addr), 0);
    return addr;
}

static bool has(const char *prefix, const char *addr)
{
    struct net_addr a = addr_of(addr);
    struct net_prefix p;

    assert_int_equal(net_prefix_parse(prefix, &p), 0);
    return net_prefix_any(&p, 1, &a);
}

static void test_prefixes(void **state)
{
    (void)state;
    assert_true(has("10.0.0.0/8", "10.255.0.1"));
    assert_false(has("10.0.0.0/8", "11.0.0.1"));
    assert_true(has("10.1.2.3", "10.1.2.3"));
    assert_false(has("10.1.2.3", "10.1.2.2"));
    assert_true(has("10.1.2.2/31", "10.1.2.3"));
    assert_false(has("10.1.2.2/31", "10.1.2.4"));
    assert_true(has("0.0.0.0/0", "255.1.2.3"));
    assert_false(has("0.0.0.0/0", "::1"));
    assert_true(has("::/0", "::1"));
    assert_true(has("fd00::/8", "fdff::1"));
    assert_false(has("fd00::/8", "fe00::1"));
    assert_true(has("2001:db8::8000/113", "2001:db8::ffff"));
    assert_false(has("2001:db8::8000/113", "2001:db8::7fff"));
    /* A dual-stack socket tells of IPv4 this way. */
    assert_true(has("10.0.0.0/8", "::ffff:10.1.1.1"));
    assert_true(has("::ffff:10.0.0.0/104", "10.1.1.1"));
}

static void test_prefixes_that_are_none(void **state)
{
    static const char *const bad[] = {"",
                                      "/8",
                                      "10.0.0.0/",
                                      "10.0.0.0/33",
                                      "10.0.0.0/-1",
                                      "10.0.0.0/8/8",
                                      "10.1.0.0/8",
                                      "10.0.0.0/ 8",
                                      "10.0.0",
                                      "10.0.0.0:80",
                                      "fd00::/129",
                                      "fd00::1/64",
                                      "[::1]",
                                      "localhost",
                                      "010.0.0.0/8",
                                      "fe80::1%lo",
                                      "10.0.0.0/8 ",
                                      "*",
                                      "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000"};
    struct net_prefix p;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (net_prefix_parse(bad[i], &p) != ERR_INVALID)
            fail_msg("accepted: %s", bad[i]);
}

static void test_any_of_several(void **state)
{
    struct net_prefix p[2];
    struct net_addr addr = addr_of("::1"), local = {.ss = {.ss_family = AF_UNIX}};

    (void)state;
    assert_int_equal(net_prefix_parse("10.0.0.0/8", &p[0]), 0);
    assert_int_equal(net_prefix_parse("::1", &p[1]), 0);
    assert_true(net_prefix_any(p, 2, &addr));
    assert_false(net_prefix_any(p, 1, &addr));
    assert_false(net_prefix_any(p, 0, &addr));
    assert_false(net_prefix_any(p, 2, &local));
}

static void test_holders(void **state)
{
    static const struct {
        const char *addr, *holder;
    } held[] = {{"1.2.3.4:80", "1.2.3.4"},
                {"::ffff:1.2.3.4", "1.2.3.4"},
                {"[2001:db8:1:2:3:4:5:6]:80", "2001:db8:1:2::/64"},
                {"2001:db8:1:2::", "2001:db8:1:2::/64"},
                {"2001:db8:1:3::", "2001:db8:1:3::/64"},
                {"::1", "::/64"}};
    struct net_prefix holder, network;
    char text[NET_PREFIX_TEXT_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof(held) / sizeof(held[0]); i++) {
        struct net_addr addr = addr_of(held[i].addr);

        net_prefix_holder(&addr, &holder);
        assert_string_equal(net_prefix_text(&holder, text), held[i].holder);
        assert_true(net_prefix_any(&holder, 1, &addr));
    }
    assert_int_equal(net_prefix_parse("10.1.0.0/16", &network), 0);
    assert_string_equal(net_prefix_text(&network, text), "10.1.0.0/16");
}

static void test_loose_addresses(void **state)
{
    static const struct {
        const char *text, *shown;
    } good[] = {{"1.2.3.4", "1.2.3.4"}, {"1.2.3.4:80", "1.2.3.4:80"}, {"::1", "[::1]"},
                {"[::1]", "[::1]"},     {"[::1]:80", "[::1]:80"},     {"fd00::80", "[fd00::80]"}};
    static const char *const bad[] = {
        "",  "unknown",  "_hidden",   "*:80", "[1.2.3.4]",        "[]",      "[::1", "]",
        "[", "1.2.3.4:", "1.2.3.4:0", "::1]", "1.2.3.4, 5.6.7.8", "1.2.3.4 "};
    struct net_addr addr;
    char text[NET_ADDR_TEXT_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        addr = addr_of(good[i].text);
        assert_string_equal(net_addr_text((struct sockaddr *)&addr.ss, addr.len, text),
                            good[i].shown);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (net_addr_parse_loose(bad[i], strlen(bad[i]), &addr) != ERR_INVALID)
            fail_msg("accepted: %s", bad[i]);
    assert_int_equal(net_addr_parse_loose("1.2.3.4\0x", 9, &addr), ERR_INVALID);
    assert_int_equal(net_addr_parse_loose("1.2.3.4xxx", 7, &addr), 0); /* len counts */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prefixes),        cmocka_unit_test(test_prefixes_that_are_none),
        cmocka_unit_test(test_any_of_several),  cmocka_unit_test(test_holders),
        cmocka_unit_test(test_loose_addresses),
    };

    return cmocka_run_group_tests_name("net_prefix", tests, NULL, NULL);
}
