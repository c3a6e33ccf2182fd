#include "check.h"

#include "http/proxy_protocol.h"

#include <arpa/inet.h>

#define SIG "\r\n\r\n\0\r\nQUIT\n"
#define V4  "\xcb\x00\x71\x09\x7f\x00\x00\x01\xc3\x50\x01\xbb"

/* Reads as conn.c does; how many bytes were taken, 0 when it is no head. */
static size_t read_head(const char *data, size_t len, struct proxy_protocol *p)
{
    size_t have = 0, missing;
    bool line;

    for (;;) {
        const char *end;

        if (proxy_protocol_missing(data, have, &missing, &line) != 0)
            return 0;
        if (missing == 0)
            return proxy_protocol_parse(data, have, p) == 0 ? have : 0;
        if (have == len)
            return 0;
        if (missing > len - have)
            missing = len - have;
        end = line ? memchr(data + have, '\n', missing) : NULL;
        have = end ? (size_t)(end - data) + 1 : have + missing;
    }
}

static const char *client(const struct proxy_protocol *p)
{
    static char text[NET_ADDR_TEXT_MAX];

    return p->known ? net_addr_text((const struct sockaddr *)&p->client.ss, p->client.len, text)
                    : "-";
}

static void test_version_1(void **state)
{
    static const struct {
        const char *text, *client;
    } good[] = {
        {"PROXY TCP4 203.0.113.9 127.0.0.1 50000 443\r\n", "203.0.113.9:50000"},
        {"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", "0.0.0.0"},
        {"PROXY TCP6 2001:db8::9 ::1 65535 443\r\n", "[2001:db8::9]:65535"},
        {"PROXY UNKNOWN\r\n", "-"},
        {"PROXY UNKNOWN ffff:f...f:ffff x y\r\n", "-"},
        {"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
         "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
         "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"},
    };
    struct proxy_protocol p;
    char behind[200];

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        snprintf(behind, sizeof(behind), "%sGET / HTTP/1.1\r\n\r\n", good[i].text);
        assert_int_equal(read_head(behind, strlen(behind), &p), strlen(good[i].text));
        assert_string_equal(client(&p), good[i].client);
        assert_false(p.tls);
    }
}

static void test_version_1_to_the_letter(void **state)
{
    static const char *const bad[] = {
        "GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n",
        "proxy TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
        " PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\r\n",
        "PROXY  TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP4  1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2 \r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n",
        "PROXY TCP4\t1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP5 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY tcp4 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP4 1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP4 01.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP4 1.1.1.1 x 1 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 65536 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 02\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 +1 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 \r\n",
        "PROXY UNKNOWNS x y z\r\n",
        "PROXY \r\n",
        "PROXY",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2",
        "PROXY UNKNOWN ..................................................................."
        "....................................................................\r\n",
    };
    struct proxy_protocol p;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (read_head(bad[i], strlen(bad[i]), &p) != 0)
            fail_msg("accepted: %s", bad[i]);
    assert_int_equal(read_head("PROXY TCP4 1.1.1.1 2.2.2.2 1\0 2\r\n", 33, &p), 0);
}

/* A head of version 2 in `out` (with a byte behind it); its length. */
static size_t v2(char *out, const char *kind, const void *body, size_t len)
{
    memcpy(out, SIG, 12);
    memcpy(out + 12, kind, 2);
    out[14] = (char)(len >> 8);
    out[15] = (char)len;
    memcpy(out + 16, body, len);
    out[16 + len] = 'G';
    return 16 + len;
}

static void good_v2(const char *kind, const void *body, size_t len, const char *shown, bool tls)
{
    struct proxy_protocol p;
    char head[PROXY_PROTOCOL_MAX + 1];
    size_t head_len = v2(head, kind, body, len);

    assert_int_equal(read_head(head, head_len + 1, &p), head_len);
    assert_string_equal(client(&p), shown);
    assert_int_equal(p.tls, tls);
}

static void bad_v2(const char *kind, const void *body, size_t len)
{
    struct proxy_protocol p;
    char head[2 * PROXY_PROTOCOL_MAX];

    assert_int_equal(read_head(head, v2(head, kind, body, len) + 1, &p), 0);
}

static void test_version_2(void **state)
{
    static const char v6[] = "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x09"
                             "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\xc3\x50\x01\xbb";
    static const char zeros[PROXY_PROTOCOL_MAX];

    (void)state;
    good_v2("\x21\x11", V4, 12, "203.0.113.9:50000", false);
    good_v2("\x21\x21", v6, 36, "[2001:db8::9]:50000", false);
    good_v2("\x20\x00", "", 0, "-", false);      /* a health check */
    good_v2("\x20\x11", "??", 2, "-", false);    /* the same, with what is to be ignored */
    good_v2("\x21\x00", "???", 3, "-", false);   /* no address */
    good_v2("\x21\x31", zeros, 216, "-", false); /* a UNIX socket */
    good_v2("\x21\x11", V4 "\x04\0\0", 15, "203.0.113.9:50000", false);
    good_v2("\x21\x11", V4 "\x20\0\x05\x01\0\0\0\0", 20, "203.0.113.9:50000", true);
    good_v2("\x21\x11", V4 "\x20\0\x05\x06\0\0\0\0", 20, "203.0.113.9:50000", false);
    good_v2("\x20\x00", zeros, PROXY_PROTOCOL_MAX - 16, "-", false);
}

static void test_version_2_to_the_letter(void **state)
{
    static const char zeros[PROXY_PROTOCOL_MAX];
    struct proxy_protocol p;

    (void)state;
    bad_v2("\x11\x11", V4, 12); /* another version */
    bad_v2("\x22\x11", V4, 12); /* another command */
    bad_v2("\x21\x41", V4, 12); /* another family */
    bad_v2("\x21\x12", V4, 12); /* UDP */
    bad_v2("\x21\x10", V4, 12); /* no protocol */
    bad_v2("\x21\x01", V4, 12); /* no family */
    bad_v2("\x21\x11", V4, 11); /* too short */
    bad_v2("\x21\x21", V4, 12);
    bad_v2("\x21\x31", V4, 12);
    bad_v2("\x21\x11", V4 "\x04\0", 14);      /* half an extension */
    bad_v2("\x21\x11", V4 "\x04\0\x02x", 16); /* longer than the head */
    bad_v2("\x20\x00", zeros, PROXY_PROTOCOL_MAX - 15);
    assert_int_equal(read_head(SIG "\x21\x11\0\x0c" V4, 27, &p), 0); /* cut */
    assert_int_equal(read_head("\r\n\r\n\0\r\nQUIX\n\x21\x11\0\x0c" V4, 28, &p), 0);
}

static void test_as_soon_as_it_can_be_no_head(void **state)
{
    size_t missing;
    bool line;

    (void)state;
    assert_int_equal(proxy_protocol_missing("G", 1, &missing, &line), ERR_INVALID);
    assert_int_equal(proxy_protocol_missing("PROXX", 5, &missing, &line), ERR_INVALID);
    assert_int_equal(proxy_protocol_missing("\r\n\r\n\0x", 6, &missing, &line), ERR_INVALID);
    assert_int_equal(proxy_protocol_missing("\x16", 1, &missing, &line), ERR_INVALID);
    assert_int_equal(proxy_protocol_missing("P", 1, &missing, &line), 0);
    assert_int_equal(missing, 14);
    assert_false(line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_version_1),
        cmocka_unit_test(test_version_1_to_the_letter),
        cmocka_unit_test(test_version_2),
        cmocka_unit_test(test_version_2_to_the_letter),
        cmocka_unit_test(test_as_soon_as_it_can_be_no_head),
    };

    return cmocka_run_group_tests_name("proxy_protocol", tests, NULL, NULL);
}
