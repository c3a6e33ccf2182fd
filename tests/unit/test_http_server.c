/*
 * test_http_server.c - what a server bounds: time, rate, connections,
 * descriptors; and how it drains.
 */
#include "check.h"

#include "http_fixture.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/resource.h>

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"

static void expect(int fd, int status, const char *body)
{
    struct reply reply;

    client_reply(fd, false, &reply);
    assert_int_equal(reply.status, status);
    if (body)
        assert_string_equal(reply.body ? reply.body : "", body);
    free(reply.body);
}

static void ended(struct fixture *f)
{
    fixture_stop(f);
    assert_int_equal(f->finished, f->requests);
    assert_int_equal(f->counters.connections, 0);
    fixture_free(f);
}

static void slow_heads(void **state)
{
    struct http_limits limits = fixture_limits();
    struct fixture *f;
    int fd;

    (void)state;
    limits.head_timeout_ms = 30;
    limits.keepalive_timeout_ms = 60;
    f = fixture_start(limits);
    fd = client_connect(f);
    assert_true(client_say(fd, "GET / HT"));
    expect(fd, 408, NULL);
    assert_true(client_at_end(fd));
    close(fd);
    fd = client_connect(f); /* empty lines are no way to stay */
    assert_true(client_say(fd, "\r\n\r\n"));
    expect(fd, 408, NULL);
    close(fd);
    fd = client_connect(f);
    assert_true(client_at_end(fd)); /* said nothing: nothing is answered */
    close(fd);
    fd = client_connect(f);
    assert_true(client_say(fd, GET("/")));
    expect(fd, 200, "hello");
    assert_true(client_at_end(fd)); /* idle for too long */
    close(fd);
    assert_int_equal(f->bad, 2);
    ended(f);
}

static void slow_bodies(void **state)
{
    struct http_limits limits = fixture_limits();
    struct fixture *f;
    int fd;

    (void)state;
    limits.rate_window_ms = 40;
    limits.min_rate = 1000; /* 40 bytes a window */
    f = fixture_start(limits);
    fd = client_connect(f);
    assert_true(client_say(fd, "PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc"));
    expect(fd, 408, NULL);
    assert_true(client_at_end(fd));
    close(fd);
    assert_int_equal(f->body_ends, 1);
    assert_int_equal(f->body_err, ERR_TIMEOUT);
    /* the handler may take its time: no rate while nothing is asked of the client */
    fd = client_connect(f);
    assert_true(client_say(fd, "PUT /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n"));
    assert_true(fixture_reaches(&f->requests, 2));
    poll(NULL, 0, 100);
    fixture_command(f, 3);
    expect(fd, 200, "released");
    close(fd);
    ended(f);
}

static void slow_readers_are_cut(void **state)
{
    struct http_limits limits = fixture_limits();
    struct fixture *f;
    int fd, small = 4096;

    (void)state;
    limits.rate_window_ms = 50;
    f = fixture_start(limits);
    fd = client_connect(f);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    assert_true(client_say(fd, GET("/file")));
    assert_true(fixture_reaches(&f->finished, 1));
    close(fd);
    fixture_stop(f);
    assert_true(f->bytes_sent < FILE_BYTES);
    fixture_free(f);
}

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* A slow but honest reader: the server's queue hides for whole windows that it takes anything. Its
 * own is short, and the rate a small part of what it takes, however busy the machine is. */
static void readers_above_the_rate_live(void **state)
{
    struct http_limits limits = fixture_limits();
    struct fixture *f;
    char *piece = malloc(4096);
    int fd, small = 8192, large = 400 << 10, segment = 1400;
    int64_t end;

    (void)state;
    limits.rate_window_ms = 500;
    limits.min_rate = 2000; /* 1000 bytes a window */
    f = fixture_start(limits);
    setsockopt(f->listen_fd, SOL_SOCKET, SO_SNDBUF, &large, sizeof(large));
    setsockopt(f->listen_fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof(segment));
    fd = client_connect(f);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    assert_true(client_say(fd, GET("/file")));
    end = now_ms() + 4 * (int64_t)limits.rate_window_ms;
    while (now_ms() < end) {
        assert_true(recv(fd, piece, 1024, 0) > 0);
        poll(NULL, 0, 5);
    }
    assert_int_equal(f->finished, 0);
    close(fd);
    free(piece);
    assert_true(fixture_reaches(&f->finished, 1));
    ended(f);
}

#define PUT_BEGUN "PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n"

static void connections_are_bounded(void **state)
{
    struct http_limits limits = fixture_limits();
    struct fixture *f;
    int first, second, third;
    struct pollfd waiting = {.events = POLLIN};

    (void)state;
    limits.max_connections = 2;
    f = fixture_start(limits);
    first = client_connect(f);
    second = client_connect(f);
    assert_true(client_say(first, GET("/")) && client_say(second, GET("/")));
    expect(first, 200, "hello");
    expect(second, 200, "hello");
    /* both are idle, but something has come on each until they are looked at */
    assert_true(client_say(first, PUT_BEGUN) && client_say(second, PUT_BEGUN));
    third = client_connect(f); /* in the backlog */
    assert_true(client_say(third, GET("/")));
    waiting.fd = third;
    assert_int_equal(poll(&waiting, 1, 30), 0);
    assert_true(client_say(first, "abc"));
    expect(first, 200, NULL);
    expect(third, 200, "hello"); /* in the place of the first, which is idle now */
    assert_true(client_at_end(first));
    assert_true(client_say(second, "abc"));
    expect(second, 200, NULL);
    assert_int_equal(f->counters.accepted, 3);
    close(first);
    close(second);
    close(third);
    fixture_stop(f);
    fixture_free(f);
}

/* Of an address: its idle connections make room for its own, and busy ones do not. */
static void an_address_has_its_share(void **state)
{
    struct http_limits limits = fixture_limits();
    struct fixture *f;
    int first, second, third;

    (void)state;
    limits.max_per_address = 1;
    f = fixture_start(limits);
    first = client_connect(f);
    assert_true(client_say(first, GET("/")));
    expect(first, 200, "hello");
    second = client_connect(f);
    assert_true(client_say(second, GET("/")));
    expect(second, 200, "hello");
    assert_true(client_at_end(first));
    assert_true(client_say(second, PUT_BEGUN));
    third = client_connect(f);
    assert_true(client_at_end(third));
    assert_true(client_say(second, "abc"));
    expect(second, 200, NULL);
    close(first);
    close(second);
    close(third);
    fixture_stop(f);
    fixture_free(f);
}

/* Out of descriptors: those who wait are served once there are some again. */
static void descriptors_run_out(void **state)
{
    struct fixture *f;
    struct rlimit old, low;
    struct pollfd waiting = {.events = POLLIN};
    int fd, highest;

    (void)state;
    check_not_under_valgrind();
    f = fixture_start(fixture_limits());
    assert_int_equal(log_open("/dev/null"), 0);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    highest = fd;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    low = old;
    low.rlim_cur = (rlim_t)highest + 1;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&f->addr, sizeof(f->addr)), 0);
    assert_true(client_say(fd, GET("/")));
    waiting.fd = fd;
    assert_int_equal(poll(&waiting, 1, 30), 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    expect(fd, 200, "hello");
    close(fd);
    assert_int_equal(log_open("stderr"), 0);
    ended(f);
}

/* A proxy that took TLS off says so in version 2 of its protocol. */
static void what_a_proxy_tells(void **state)
{
    static const char head[] =
        "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x14\xcb\0\x71\x09\x7f\0\0\x01\xc3\x50"
        "\x01\xbb\x20\0\x05\x01\0\0\0\0";
    struct net_prefix loopback;
    struct fixture *f = fixture_start(fixture_limits());
    int fd;

    (void)state;
    assert_int_equal(net_prefix_parse("127.0.0.0/8", &loopback), 0);
    http_server_proxies(f->server, 7, &loopback, 1, true);
    fd = client_connect(f);
    assert_true(client_send(fd, head, sizeof(head) - 1));
    assert_true(client_say(fd, GET("/who")));
    expect(fd, 200, "https 203.0.113.9:50000");
    assert_true(client_say(fd, GET("/who")));
    expect(fd, 200, "https 203.0.113.9:50000");
    close(fd);
    fd = client_connect(f);
    assert_true(client_say(fd, "PROXY TCP4 203.0.113.9 127.0.0.1 1 2\r\n" GET("/who")));
    expect(fd, 200, "http 203.0.113.9:1");
    close(fd);
    ended(f);
}

static void draining(void **state)
{
    struct fixture *f = fixture_start(fixture_limits());
    int idle = client_connect(f), busy = client_connect(f), fresh, late;
    struct reply reply;

    (void)state;
    assert_true(client_say(idle, GET("/")));
    expect(idle, 200, "hello");
    assert_true(client_say(busy, GET("/hold")));
    assert_true(fixture_reaches(&f->requests, 2));
    fresh = client_connect(f);
    for (int i = 0; i < 5000 && f->counters.accepted < 3; i++)
        poll(NULL, 0, 1);
    fixture_command(f, 2);
    assert_true(client_at_end(idle));
    assert_int_equal(f->drained, 0);
    assert_true(client_say(fresh, GET("/"))); /* connected before: still served */
    expect(fresh, 200, "hello");
    assert_true(client_at_end(fresh));
    close(fresh);
    late = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(late, (struct sockaddr *)&f->addr, sizeof(f->addr)), -1);
    close(late);
    fixture_command(f, 3);
    client_reply(busy, false, &reply);
    assert_string_equal(reply.body, "released");
    assert_non_null(strstr(reply.head, "\r\nConnection: close\r\n"));
    free(reply.body);
    assert_true(client_at_end(busy));
    close(busy);
    assert_true(fixture_reaches(&f->drained, 1));
    close(idle);
    ended(f);
}

static void draining_with_nothing_to_do(void **state)
{
    struct fixture *f = fixture_start(fixture_limits());

    (void)state;
    fixture_command(f, 2);
    assert_true(fixture_reaches(&f->drained, 1));
    ended(f);
}

/* All that runs is finished, so that handlers can free what they hold. */
static void freeing_ends_everything(void **state)
{
    struct fixture *f = fixture_start(fixture_limits());
    int hold = client_connect(f), body = client_connect(f), file = client_connect(f);

    (void)state;
    assert_true(client_say(hold, GET("/hold")));
    assert_true(client_say(file, GET("/file")));
    assert_true(
        client_say(body, "PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc"));
    assert_true(fixture_reaches(&f->requests, 3));
    ended(f);
    close(hold);
    close(body);
    close(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slow_heads),
        cmocka_unit_test(slow_bodies),
        cmocka_unit_test(slow_readers_are_cut),
        cmocka_unit_test(readers_above_the_rate_live),
        cmocka_unit_test(connections_are_bounded),
        cmocka_unit_test(an_address_has_its_share),
        cmocka_unit_test(descriptors_run_out),
        cmocka_unit_test(what_a_proxy_tells),
        cmocka_unit_test(draining),
        cmocka_unit_test(draining_with_nothing_to_do),
        cmocka_unit_test(freeing_ends_everything),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
