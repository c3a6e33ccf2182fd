/*
 * test_fetcher_misses.c - failures of remotes: how long they are remembered, and how many.
 */
#include "fetcher/misses.h"

#include "base/loop.h"

#include <stdio.h>
#include <string.h>

#include "check.h"

/* They live as long as the fetcher: nothing frees them. */
static struct misses *volatile kept[2];
static struct misses *m;

static void test_for_a_while(void **state)
{
    struct loop *loop = loop_new();
    struct failed failed;

    (void)state;
    m = kept[0] = misses_new(loop);
    failed_set(&failed, ERR_NOT_FOUND, 7, "there is none");
    assert_null(misses_find(m, "a"));
    misses_add(m, "a", &failed, 60000);
    misses_add(m, "b", &failed, 0);
    assert_non_null(misses_find(m, "a"));
    assert_int_equal(misses_find(m, "a")->err, ERR_NOT_FOUND);
    assert_int_equal(misses_find(m, "a")->retry_after_s, 7);
    assert_string_equal(misses_find(m, "a")->reason, "there is none");
    assert_null(misses_find(m, "b"));
    failed_set(&failed, ERR_TIMEOUT, 0, "it hangs");
    misses_add(m, "a", &failed, 60000); /* what was last */
    assert_int_equal(misses_find(m, "a")->err, ERR_TIMEOUT);
    misses_add(m, "a", &failed, 0);
    assert_null(misses_find(m, "a"));
    loop_free(&loop);
}

/* Strangers ask for what they like. */
static void test_the_oldest_gives_way(void **state)
{
    enum { MANY = 5000 };
    struct loop *loop = loop_new();
    struct failed failed;
    size_t count = 0;
    char key[32];

    (void)state;
    m = kept[1] = misses_new(loop);
    failed_set(&failed, ERR_NOT_FOUND, 0, "");
    for (size_t i = 0; i < MANY; i++) {
        snprintf(key, sizeof(key), "%zu", i);
        misses_add(m, key, &failed, 60000);
    }
    for (size_t i = 0; i < MANY; i++) {
        snprintf(key, sizeof(key), "%zu", i);
        if (misses_find(m, key)) {
            count++;
            assert_true(i >= MANY - 2048);
        }
    }
    assert_int_equal(count, 2048);
    loop_free(&loop);
}

static void test_how_long_each_kind(void **state)
{
    struct conf_proxy conf = {.missing_ttl_ms = 12345};
    struct proxy p = {.conf = &conf};

    (void)state;
    assert_int_equal(misses_ms(&p, ERR_NOT_FOUND), 12345);
    assert_in_range(misses_ms(&p, ERR_NO_SPACE), 1, 10000);
    assert_in_range(misses_ms(&p, ERR_UNAVAILABLE), 1, 10000);
    assert_in_range(misses_ms(&p, ERR_DENIED), 1, 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_for_a_while),
        cmocka_unit_test(test_the_oldest_gives_way),
        cmocka_unit_test(test_how_long_each_kind),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
