/*
 * test_fetcher_share.c - shares of the fetcher: none is lost, nobody takes the last one.
 */
#include "fetcher/share.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

static struct share held[2 * SHARES_MAX];
static size_t count;

static bool take(struct proxy *p, const char *client)
{
    const struct fetch_failure *why = NULL;

    if (share_take(&held[count], p, client, &why) != 0) {
        assert_non_null(why);
        assert_true(why->retry_after_s > 0 && why->reason[0]);
        return false;
    }
    count++;
    return true;
}

static unsigned take_all(struct proxy *p, const char *client)
{
    unsigned n = 0;

    while (take(p, client))
        n++;
    return n;
}

static void give_all(void)
{
    while (count > 0)
        share_give(&held[--count]);
}

static void test_a_client_has_its_share(void **state)
{
    struct fetch f = {0};
    struct proxy a = {.f = &f}, b = {.f = &f};

    (void)state;
    assert_int_equal(take_all(&a, "192.0.2.1"), SHARES_CLIENT_MAX);
    assert_int_equal(take_all(&a, "192.0.2.2"), SHARES_CLIENT_MAX);
    assert_int_equal(take_all(&b, "192.0.2.1"), SHARES_CLIENT_MAX);
    share_give(&held[0]);
    assert_true(take(&a, "192.0.2.1"));
    assert_false(take(&a, "192.0.2.1"));
    share_give(&held[0]); /* a second time: harmless */
    assert_false(take(&a, "192.0.2.1"));
    give_all();
    assert_int_equal(f.shares, 0);
    assert_int_equal(a.shares + b.shares, 0);
    assert_null(a.clients);
    assert_null(b.clients);
}

static void test_newcomers_find_a_place(void **state)
{
    struct fetch f = {0};
    struct proxy proxies[8];
    char client[32];

    (void)state;
    for (size_t i = 0; i < 8; i++)
        proxies[i] = (struct proxy){.f = &f};
    /* Each proxy meets more clients than it has places for, one proxy after the other. */
    for (size_t i = 0; i < 8; i++) {
        for (int c = 0; c < 64; c++) {
            unsigned taken;

            snprintf(client, sizeof(client), "198.51.100.%d", c);
            taken = take_all(&proxies[i], client);
            assert_true(taken > 0 || c > (i == 0 ? 8 : 0));
        }
        assert_true(f.shares < SHARES_MAX);
    }
    assert_true(proxies[0].shares <= SHARES_MAX / 2);
    give_all();
    assert_int_equal(f.shares, 0);
}

static void test_ourselves_are_bound_by_the_proxy_alone(void **state)
{
    struct fetch f = {0};
    struct proxy a = {.f = &f}, b = {.f = &f};

    (void)state;
    assert_int_equal(take_all(&a, ""), SHARES_MAX / 2);
    assert_null(a.clients);
    assert_true(take(&b, "192.0.2.1"));
    give_all();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_client_has_its_share),
        cmocka_unit_test(test_newcomers_find_a_place),
        cmocka_unit_test(test_ourselves_are_bound_by_the_proxy_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
