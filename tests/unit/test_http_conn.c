/*
 * test_http_conn.c - the server on a loopback socket: requests, answers, bodies,
 * and everything that breaks off.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http_fixture.h"

#include <time.h>

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"

static int setup(void **state)
{
    *state = fixture_start(fixture_limits());
    return 0;
}

/* Every request was logged and finished exactly once, however it ended. */
static int teardown(void **state)
{
    struct fixture *f = *state;
    bool even;

    fixture_stop(f);
    even = f->finished == f->requests && f->logged >= f->requests && f->counters.connections == 0;
    if (!even)
        print_error("requests=%d finished=%d logged=%d connections=%d\n", f->requests, f->finished,
                    f->logged, (int)f->counters.connections);
    fixture_free(f);
    return even ? 0 : -1;
}

static void expect(int fd, int status, const char *body)
{
    struct reply reply;

    client_reply(fd, false, &reply);
    assert_int_equal(reply.status, status);
    if (body) {
        assert_false(reply.cut);
        assert_string_equal(reply.body ? reply.body : "", body);
    }
    free(reply.body);
}

/* "<length> <checksum>" of what /echo answers for these bytes. */
static void echo_text(const char *data, size_t len, char out[64])
{
    uint32_t sum = 0;

    for (size_t i = 0; i < len; i++)
        sum = sum * 31 + (uint8_t)data[i];
    snprintf(out, 64, "%zu %u", len, sum);
}

static void answers_and_keeps_alive(void **state)
{
    struct fixture *f = *state;
    struct reply first, second;
    int fd = client_connect(f);

    assert_true(client_say(fd, GET("/")));
    client_reply(fd, false, &first);
    assert_int_equal(first.status, 200);
    assert_string_equal(first.body, "hello");
    assert_memory_equal(first.head, "HTTP/1.1 200 OK\r\n", 17);
    assert_non_null(strstr(first.head, "\r\nDate: "));
    assert_non_null(strstr(first.head, " GMT\r\n"));
    assert_non_null(strstr(first.head, "\r\nX-Request-Id: "));
    assert_null(strstr(first.head, "Connection:"));
    assert_true(client_say(fd, GET("/deny")));
    client_reply(fd, false, &second);
    assert_int_equal(second.status, 401);
    assert_non_null(strstr(second.head, "\r\nWWW-Authenticate: Bearer realm=\"x\"\r\n"));
    assert_memory_not_equal(strstr(first.head, "X-Request-Id: "),
                            strstr(second.head, "X-Request-Id: "), 46);
    assert_memory_equal(strstr(first.head, "X-Request-Id: "), strstr(second.head, "X-Request-Id: "),
                        30);
    free(first.body);
    free(second.body);
    close(fd);
}

static void closes_when_asked(void **state)
{
    static const char *const texts[] = {"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
                                        "GET / HTTP/1.0\r\n\r\n"};
    struct reply reply;
    int fd;

    for (int i = 0; i < 2; i++) {
        fd = client_connect(*state);
        assert_true(client_say(fd, texts[i]));
        client_reply(fd, false, &reply);
        assert_int_equal(reply.status, 200);
        assert_non_null(strstr(reply.head, "\r\nConnection: close\r\n"));
        free(reply.body);
        assert_true(client_at_end(fd));
        close(fd);
    }
    fd = client_connect(*state);
    for (int i = 0; i < 2; i++) {
        assert_true(client_say(fd, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
        client_reply(fd, false, &reply);
        assert_non_null(strstr(reply.head, "\r\nConnection: keep-alive\r\n"));
        free(reply.body);
    }
    close(fd);
}

static void bodyless_answers(void **state)
{
    struct reply reply;
    int fd = client_connect(*state);

    assert_true(
        client_say(fd, "HEAD / HTTP/1.1\r\nHost: a\r\n\r\nHEAD /length HTTP/1.1\r\nHost: a\r\n\r\n"
                       "HEAD /file HTTP/1.1\r\nHost: a\r\n\r\n" GET("/204") GET("/")));
    client_reply(fd, true, &reply);
    assert_int_equal(reply.length, 5);
    client_reply(fd, true, &reply);
    assert_int_equal(reply.length, 12345);
    client_reply(fd, true, &reply);
    assert_int_equal(reply.length, FILE_BYTES);
    client_reply(fd, true, &reply);
    assert_int_equal(reply.status, 204);
    assert_null(strstr(reply.head, "Content-Length"));
    expect(fd, 200, "hello");
    close(fd);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    struct fixture *f = *state;
    int fd = client_connect(f);
    struct str many = {0};

    assert_true(client_say(
        fd, GET("/later") GET("/") "PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
                                   "\r\n" GET("/segments") GET("/empty-file") GET("/deny")));
    expect(fd, 200, "later");
    expect(fd, 200, "hello");
    expect(fd, 200, "3 96354");
    expect(fd, 206, "<bcd>");
    expect(fd, 200, "");
    expect(fd, 401, "denied");
    /* more in one piece than a turn takes: no further byte wakes the server */
    for (int i = 0; i < 400; i++)
        str_puts(&many, GET("/"));
    assert_true(client_send(fd, many.data, many.len));
    for (int i = 0; i < 400; i++)
        expect(fd, 200, "hello");
    str_free(&many);
    assert_int_equal(f->requests, 406);
    close(fd);
}

static void byte_by_byte(void **state)
{
    static const char text[] =
        "\r\nPUT /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        "2\r\nab\r\n1;x=y\r\nc\r\n0\r\nTrailer: x\r\n\r\n" GET(
            "/later") "PUT /pause HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    int fd = client_connect(*state);

    for (size_t i = 0; i < sizeof(text) - 1; i++) {
        assert_true(client_send(fd, text + i, 1));
        if (i % 8 == 0)
            poll(NULL, 0, 1); /* let the server see the piece alone */
    }
    expect(fd, 200, "3 96354");
    expect(fd, 200, "later");
    expect(fd, 200, "3 96354");
    close(fd);
}

static void a_big_file(void **state)
{
    struct fixture *f = *state;
    struct reply reply;
    int fd = client_connect(f);

    assert_true(client_say(fd, GET("/file") GET("/")));
    client_reply(fd, false, &reply);
    assert_int_equal(reply.status, 200);
    assert_int_equal(reply.body_len, FILE_BYTES);
    assert_false(reply.cut);
    free(reply.body);
    expect(fd, 200, "hello");
    assert_true(f->counters.bytes_out > FILE_BYTES);
    close(fd);
}

static void big_bodies(void **state)
{
    size_t len = 32 << 20;
    char *data = malloc(len);
    char head[128], text[64];
    int fd = client_connect(*state);

    for (size_t i = 0; i < len; i++)
        data[i] = (char)(i * 7 + i / 4099);
    echo_text(data, len, text);
    snprintf(head, sizeof(head), "PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n",
             len);
    assert_true(client_say(fd, head) && client_send(fd, data, len));
    expect(fd, 200, text);
    assert_true(
        client_say(fd, "PUT /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"));
    for (size_t at = 0, run = 1; at < len; at += run, run = run * 3 % 200003 + 1) {
        if (run > len - at)
            run = len - at;
        snprintf(head, sizeof(head), "%zx\r\n", run);
        assert_true(client_say(fd, head) && client_send(fd, data + at, run) &&
                    client_say(fd, "\r\n"));
    }
    assert_true(client_say(fd, "0\r\n\r\n"));
    expect(fd, 200, text);
    free(data);
    close(fd);
}

/* A handler that pauses loses nothing of what was read too far. */
static void paused_bodies(void **state)
{
    struct str body = {0};
    char text[64], plain[40 * 1000];
    int fd = client_connect(*state);

    for (size_t i = 0; i < sizeof(plain); i++)
        plain[i] = (char)('a' + i % 23);
    echo_text(plain, sizeof(plain), text);
    str_puts(&body, "PUT /pause HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (size_t i = 0; i < 40; i++) {
        str_puts(&body, "3e8\r\n");
        str_append(&body, plain + i * 1000, 1000);
        str_puts(&body, "\r\n");
    }
    str_puts(&body, "0\r\n\r\n" GET("/"));
    assert_true(client_send(fd, body.data, body.len));
    expect(fd, 200, text);
    expect(fd, 200, "hello");
    str_free(&body);
    close(fd);
}

static void bodies_nobody_wants(void **state)
{
    struct fixture *f = *state;
    struct reply reply;
    char *junk = calloc(1, 4 << 20);
    int fd = client_connect(f);

    /* small ones are swallowed, and the connection lives on */
    assert_true(client_say(
        fd, "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde"
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"
            "PUT /echo HTTP/1.1\r\nHost: a\r\n\r\n"));
    expect(fd, 200, "hello");
    expect(fd, 200, "hello");
    expect(fd, 200, "0 0");
    /* of a large one the client gets the answer, not a reset */
    assert_true(client_say(fd, "PUT /deny HTTP/1.1\r\nHost: a\r\nContent-Length: 4194304\r\n\r\n"));
    assert_true(client_send(fd, junk, 4 << 20));
    client_reply(fd, false, &reply);
    assert_int_equal(reply.status, 401);
    assert_non_null(strstr(reply.head, "\r\nConnection: close\r\n"));
    free(reply.body);
    assert_true(client_at_end(fd));
    close(fd);
    /* the same when the handler stops in the middle */
    fd = client_connect(f);
    assert_true(
        client_say(fd, "PUT /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 4194304\r\n\r\n"));
    assert_true(client_send(fd, junk, 4 << 20));
    expect(fd, 413, "no");
    assert_true(client_at_end(fd));
    assert_int_equal(f->body_ends, 1); /* of the empty echo */
    free(junk);
    close(fd);
}

static void expectations(void **state)
{
    static const char head[] = "PUT %s HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"
                               "Expect: 100-continue\r\n\r\n";
    char text[256];
    struct reply reply;
    int fd = client_connect(*state);

    snprintf(text, sizeof(text), head, "/echo");
    assert_true(client_say(fd, text));
    expect(fd, 100, NULL);
    assert_true(client_say(fd, "abc"));
    expect(fd, 200, "3 96354");
    snprintf(text, sizeof(text), head, "/deny");
    assert_true(client_say(fd, text));
    client_reply(fd, false, &reply); /* and no 100 before */
    assert_int_equal(reply.status, 401);
    assert_non_null(strstr(reply.head, "\r\nConnection: close\r\n"));
    free(reply.body);
    assert_true(client_at_end(fd));
    close(fd);
    fd = client_connect(*state);
    assert_true(client_say(fd, "GET / HTTP/1.1\r\nHost: a\r\nExpect: a-pony\r\n\r\n"));
    expect(fd, 417, NULL);
    close(fd);
}

static void bad_heads(void **state)
{
    static const struct {
        const char *text;
        int status;
    } cases[] = {
        {"GET / HTTP/1.1\r\n\r\n", 400},
        {"GET / HTTP/1.1\nHost: a\n\n", 400},
        {"\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505},
        {"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\n\r\n", 501},
        {"PUT /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcdefg\r\n",
         400},
    };
    struct fixture *f = *state;
    char *big = malloc(HTTP_HEAD_MAX + 1);
    int fd;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        fd = client_connect(f);
        assert_true(client_say(fd, cases[i].text));
        expect(fd, cases[i].status, NULL);
        assert_true(client_at_end(fd));
        close(fd);
    }
    assert_int_equal(f->body_err, ERR_INVALID);
    memset(big, 'a', HTTP_HEAD_MAX);
    big[HTTP_HEAD_MAX] = '\0';
    fd = client_connect(f);
    assert_true(client_say(fd, "GET /") && client_say(fd, big));
    expect(fd, 414, NULL);
    close(fd);
    fd = client_connect(f);
    assert_true(client_say(fd, "GET / HTTP/1.1\r\nX: ") && client_say(fd, big));
    expect(fd, 431, NULL);
    assert_true(client_at_end(fd));
    close(fd);
    fd = client_connect(f); /* exactly the limit */
    memcpy(big, "GET / HTTP/1.1\r\nHost: a\r\nX: ", 28);
    memcpy(big + HTTP_HEAD_MAX - 4, "\r\n\r\n", 4);
    assert_true(client_say(fd, big));
    expect(fd, 200, "hello");
    close(fd);
    free(big);
}

/* In plain HTTP: some clients fall back to it on nothing else. */
static void tls_hello_is_refused_at_once(void **state)
{
    struct fixture *f = *state;
    int fd = client_connect(f);

    assert_true(client_send(fd, "\x16\x03\x01", 3));
    expect(fd, 400, NULL);
    assert_true(client_at_end(fd));
    assert_int_equal(f->bad, 1);
    assert_int_equal(f->requests, 0);
    close(fd);
}

static void disconnects_at_every_stage(void **state)
{
    static const char *const stages[] = {
        "",
        "GET",
        "PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n",
        "PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc",
        "PUT /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        "PUT /pause HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc",
        "PUT /deny HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc",
        GET("/later"),
        GET("/abort-later"),
        GET("/file"),
        GET("/") GET("/later") GET("/file"),
    };
    struct fixture *f = *state;
    struct linger now = {.l_onoff = 1, .l_linger = 0};

    for (size_t i = 0; i < sizeof(stages) / sizeof(stages[0]); i++) {
        for (int way = 0; way < 4; way++) {
            int fd = client_connect(f);

            assert_true(client_say(fd, stages[i]));
            if (way & 1)
                poll(NULL, 0, 2);
            if (way & 2)
                assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
            close(fd);
        }
    }
    for (int i = 0; i < 5000 && f->counters.connections > 0; i++)
        poll(NULL, 0, 1);
    assert_int_equal(f->counters.connections, 0);
}

static uint64_t cpu_us(pthread_t thread)
{
    struct timespec used;
    clockid_t clock;

    assert_int_equal(pthread_getcpuclockid(thread, &clock), 0);
    assert_int_equal(clock_gettime(clock, &used), 0);
    return (uint64_t)used.tv_sec * 1000000 + (uint64_t)used.tv_nsec / 1000;
}

/* The peer leaves, the handler works on and answers into the void. */
static void answer_after_the_peer_left(void **state)
{
    struct fixture *f = *state;
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    int fd = client_connect(f);
    uint64_t before;

    assert_true(client_say(fd, GET("/hold")));
    assert_true(fixture_reaches(&f->requests, 1));
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close(fd);
    before = cpu_us(f->thread);
    poll(NULL, 0, 50);
    assert_true(cpu_us(f->thread) - before < 25000); /* the end is not reported for ever */
    assert_int_equal(f->finished, 0);
    fixture_command(f, 3);
    assert_true(fixture_reaches(&f->finished, 1));
}

static void aborts(void **state)
{
    static const char *const texts[] = {
        GET("/abort"), GET("/abort-later"),
        "PUT /abort-body HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"};
    for (int i = 0; i < 3; i++) {
        int fd = client_connect(*state);

        assert_true(client_say(fd, texts[i]));
        assert_true(client_lost(fd));
        close(fd);
    }
}

static void a_file_shorter_than_announced(void **state)
{
    struct fixture *f = *state;
    struct reply reply;
    int fd = client_connect(f);

    assert_int_equal(log_open("/dev/null"), 0); /* it is an error worth a line */
    assert_true(client_say(fd, GET("/short")));
    client_reply(fd, false, &reply);
    assert_true(reply.cut);
    free(reply.body);
    close(fd);
    assert_true(fixture_reaches(&f->finished, 1));
    assert_int_equal(log_open("stderr"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(answers_and_keeps_alive, setup, teardown),
        cmocka_unit_test_setup_teardown(closes_when_asked, setup, teardown),
        cmocka_unit_test_setup_teardown(bodyless_answers, setup, teardown),
        cmocka_unit_test_setup_teardown(pipelined_requests_are_answered_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(byte_by_byte, setup, teardown),
        cmocka_unit_test_setup_teardown(a_big_file, setup, teardown),
        cmocka_unit_test_setup_teardown(big_bodies, setup, teardown),
        cmocka_unit_test_setup_teardown(paused_bodies, setup, teardown),
        cmocka_unit_test_setup_teardown(bodies_nobody_wants, setup, teardown),
        cmocka_unit_test_setup_teardown(expectations, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_heads, setup, teardown),
        cmocka_unit_test_setup_teardown(tls_hello_is_refused_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(disconnects_at_every_stage, setup, teardown),
        cmocka_unit_test_setup_teardown(answer_after_the_peer_left, setup, teardown),
        cmocka_unit_test_setup_teardown(aborts, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_shorter_than_announced, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
