/*
 * test_fetcher_limit.c - limits of remotes: for how long a 429 counts, who finds out that it is
 * over, and what remotes write of it.
 */
#include "fetcher/limit.h"

#include <string.h>

#include "check.h"

static unsigned woken;

static void on_go(struct limit_pass *pass)
{
    (void)pass;
    woken++;
}

static struct limit l;
static struct limit_pass a, b, c;

static int setup(void **state)
{
    (void)state;
    limit_init(&l);
    a = b = c = (struct limit_pass){.go = on_go};
    woken = 0;
    return 0;
}

static void test_closed_for_minutes_at_most(void **state)
{
    (void)state;
    assert_int_equal(limit_ask(&l, &a, 0), LIMIT_GO);
    assert_int_equal(limit_close(&l, 1000, 86400), LIMIT_CLOSED_MAX_S);
    assert_int_equal(limit_ask(&l, &a, 1000), LIMIT_NO);
    assert_int_equal(limit_ask(&l, &a, 999 + LIMIT_CLOSED_MAX_S * 1000), LIMIT_NO);
    assert_int_equal(limit_ask(&l, &a, 1000 + LIMIT_CLOSED_MAX_S * 1000), LIMIT_GO);
    limit_leave(&a);
    assert_int_equal(limit_close(&l, 2000000, 0), 1);
}

/* Twice as long each time; what was under way when it closed counts once. */
static void test_a_429_that_tells_no_time(void **state)
{
    uint64_t now = 0;

    (void)state;
    for (unsigned want = 1; want < 2 * LIMIT_CLOSED_MAX_S; want *= 2) {
        unsigned is = want < LIMIT_CLOSED_MAX_S ? want : LIMIT_CLOSED_MAX_S;

        assert_int_equal(limit_ask(&l, &a, now), LIMIT_GO);
        assert_int_equal(limit_close(&l, now, UINT32_MAX), is);
        assert_int_equal(limit_close(&l, now, UINT32_MAX), is);
        assert_null(a.limit);
        now += 1000 * is;
    }
    assert_int_equal(limit_ask(&l, &a, now), LIMIT_GO);
    limit_passed(&a);
    assert_int_equal(limit_close(&l, now, UINT32_MAX), 1);
}

static void test_one_probe(void **state)
{
    (void)state;
    limit_close(&l, 0, 1);
    assert_int_equal(limit_ask(&l, &a, 1000), LIMIT_GO);
    assert_int_equal(limit_ask(&l, &b, 1000), LIMIT_WAIT);
    assert_int_equal(limit_ask(&l, &c, 1000), LIMIT_WAIT);
    limit_passed(&b); /* is not the probe */
    assert_int_equal(woken, 0);
    limit_passed(&a);
    assert_int_equal(woken, 2);
    assert_int_equal(limit_ask(&l, &b, 1000), LIMIT_GO);
    assert_int_equal(limit_ask(&l, &c, 1000), LIMIT_GO);
}

static void test_a_probe_that_is_refused(void **state)
{
    (void)state;
    limit_close(&l, 0, 1);
    assert_int_equal(limit_ask(&l, &a, 1000), LIMIT_GO);
    assert_int_equal(limit_ask(&l, &b, 1000), LIMIT_WAIT);
    assert_int_equal(limit_close(&l, 1000, 7), 7);
    assert_int_equal(woken, 1);
    assert_int_equal(limit_ask(&l, &b, 1000), LIMIT_NO);
    limit_passed(&a); /* too late */
    assert_int_equal(limit_closed_s(&l, 1000), 7);
}

/* Its client left, or the remote was silent: the next in line is the probe. */
static void test_a_probe_without_an_answer(void **state)
{
    (void)state;
    limit_close(&l, 0, 1);
    assert_int_equal(limit_ask(&l, &a, 1000), LIMIT_GO);
    assert_int_equal(limit_ask(&l, &b, 1000), LIMIT_WAIT);
    assert_int_equal(limit_ask(&l, &c, 1000), LIMIT_WAIT);
    limit_leave(&c);
    limit_leave(&a);
    limit_leave(&a);
    assert_int_equal(woken, 1);
    assert_int_equal(limit_ask(&l, &b, 1000), LIMIT_GO);
    assert_int_equal(limit_ask(&l, &c, 1000), LIMIT_WAIT);
}

static void test_retry_after(void **state)
{
    static const time_t now = 784111777; /* Sun, 06 Nov 1994 08:49:37 GMT */
    static const struct {
        const char *text;
        uint32_t s;
    } rows[] = {
        {"0", 0},
        {"7", 7},
        {" 7", 7},
        {"1.5", 2},
        {"30s", 30},
        {"300", 300},
        {"301", LIMIT_CLOSED_MAX_S},
        {"86400", LIMIT_CLOSED_MAX_S},
        {"99999999999999999999999", LIMIT_CLOSED_MAX_S},
        {"Sun, 06 Nov 1994 08:49:47 GMT", 10},
        {"Sunday, 06-Nov-94 08:49:47 GMT", 10},
        {"Sun Nov  6 08:49:47 1994", 10},
        {"1994-11-06T08:49:47Z", 10},
        {"Sun, 06 Nov 1994 08:49:27 GMT", 0},
        {"Sun, 06 Nov 2094 08:49:37 GMT", LIMIT_CLOSED_MAX_S},
        {NULL, UINT32_MAX},
        {"", UINT32_MAX},
        {"soon", UINT32_MAX},
        {"-5", UINT32_MAX},
        {"5 or so", UINT32_MAX},
        {"1.", UINT32_MAX},
        {"Sun, 06 Nov 1994", UINT32_MAX},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(limit_retry_after(rows[i].text, now), rows[i].s);
}

static void test_pulls_that_are_left(void **state)
{
    struct limit_rate rate = {0};

    (void)state;
    assert_false(limit_rate_known(&rate, 0));
    limit_rate_take(&rate, NULL, NULL, 1000);
    assert_false(limit_rate_known(&rate, 1000));
    limit_rate_take(&rate, "100;w=21600", "76;w=60", 1000);
    assert_int_equal(rate.limit, 100);
    assert_int_equal(rate.left, 76);
    assert_true(limit_rate_known(&rate, 60999));
    assert_false(limit_rate_known(&rate, 61000));
    limit_rate_take(&rate, NULL, "5", 100000); /* what is older than its window is forgotten */
    assert_int_equal(rate.limit, UINT64_MAX);
    assert_int_equal(rate.left, 5);
    assert_true(limit_rate_known(&rate, 100000 + LIMIT_WINDOW_S * 1000 - 1));
    assert_false(limit_rate_known(&rate, 100000 + LIMIT_WINDOW_S * 1000));
    rate = (struct limit_rate){0};
    limit_rate_take(&rate, "10, 10;w=1;burst=5", "x", 0);
    assert_int_equal(rate.limit, 10);
    assert_int_equal(rate.left, UINT64_MAX);
    assert_false(limit_rate_known(&rate, 1000));
    limit_rate_take(&rate, NULL, "1;w=999999999999", 0);
    assert_false(limit_rate_known(&rate, LIMIT_WINDOW_MAX_S * 1000));
}

/* Only the parameter "w" is a window, wherever else these two bytes stand. */
static void test_windows(void **state)
{
    static const struct {
        const char *text;
        uint64_t window_s;
    } rows[] = {
        {"7", LIMIT_WINDOW_S},
        {"7;w=60", 60},
        {"7; W=60", 60},
        {"7, 100;w=60", 60},
        {"7;burst=5;w=60;policy=x", 60},
        {"7;new=9;w=60", 60},
        {"7;window=9", LIMIT_WINDOW_S},
        {"7;w=60s;w=61", 61},
        {"7;w=", LIMIT_WINDOW_S},
        {"7;c=\"a;w=9\\\";w=8\";w=60", 60},
        {"7;c=\"a;w=9", LIMIT_WINDOW_S},
        {"7;w=99999999999999999999", LIMIT_WINDOW_S},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct limit_rate rate = {0};

        limit_rate_take(&rate, NULL, rows[i].text, 0);
        assert_int_equal(rate.left, 7);
        assert_int_equal(rate.until_ms, rows[i].window_s * 1000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_closed_for_minutes_at_most, setup),
        cmocka_unit_test_setup(test_a_429_that_tells_no_time, setup),
        cmocka_unit_test_setup(test_one_probe, setup),
        cmocka_unit_test_setup(test_a_probe_that_is_refused, setup),
        cmocka_unit_test_setup(test_a_probe_without_an_answer, setup),
        cmocka_unit_test(test_retry_after),
        cmocka_unit_test(test_pulls_that_are_left),
        cmocka_unit_test(test_windows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
