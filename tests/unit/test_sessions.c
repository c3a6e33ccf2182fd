#include "check.h"

#include "shm/sessions.h"

#include <string.h>

#define STORE "00112233445566778899aabbccddeeff"

/* Open sessions of a holder, seen by what is left of a share that is large enough. */
static uint64_t open_of(struct sessions *s, uint32_t tag)
{
    uint64_t count = 0;

    while (sessions_add(s, 0, tag, count, UINT32_MAX) != 0)
        count++;
    sessions_drop(s, 0, tag);
    return count - 1;
}

static void test_tags(void **state)
{
    (void)state;
    assert_int_equal(sessions_tag(STORE, "user a"), sessions_tag(STORE, "user a"));
    assert_int_not_equal(sessions_tag(STORE, "user a"), sessions_tag(STORE, "user b"));
    assert_int_not_equal(sessions_tag(STORE, "a"),
                         sessions_tag("10112233445566778899aabbccddeeff", "a"));
    assert_int_equal(sessions_tag_of("0123456789abcdef01234567deadbeef-more"), 0xdeadbeef);
    assert_int_equal(sessions_tag_of("0123456789abcdef01234567DEADBEEF"), 0);
    assert_int_equal(sessions_tag_of("short"), 0);
    assert_int_equal(sessions_tag_of(""), 0);
}

static void test_shares(void **state)
{
    struct sessions *s;

    (void)state;
    assert_int_equal(sessions_new(&s), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(sessions_add(s, 0, 7, 3, 5), 0);
    assert_int_equal(sessions_add(s, 0, 7, 3, 5), ERR_QUOTA);
    assert_int_equal(sessions_add(s, 0, 8, 3, 5), 0);
    assert_int_equal(sessions_add(s, 0, 8, 3, 5), 0);
    assert_int_equal(sessions_add(s, 0, 9, 3, 5), ERR_BUSY); /* the store has as many */
    assert_int_equal(open_of(s, 9), 0);                      /* and nothing is left of it */
    assert_int_equal(sessions_add(s, 1, 9, 3, 5), 0);        /* another store */
    sessions_drop(s, 0, 7);
    assert_int_equal(sessions_add(s, 0, 7, 3, 5), 0);
    for (int i = 0; i < 9; i++)
        sessions_drop(s, 0, 7); /* more than there were: counted as none */
    assert_int_equal(open_of(s, 7), 0);
}

static void test_counted_anew(void **state)
{
    struct sessions_count *count;
    struct sessions *s;

    (void)state;
    assert_int_equal(sessions_new(&s), 0);
    for (int i = 0; i < 10; i++)
        assert_int_equal(sessions_add(s, 0, 7, 100, 100), 0);
    count = sessions_count_begin(s);
    for (int i = 0; i < 4; i++) /* six have died with their workers */
        sessions_count_one(count, 0, 7);
    sessions_count_one(count, 0, 8); /* of an earlier life of the daemon */
    sessions_count_end(&count, true);
    assert_null(count);
    assert_int_equal(open_of(s, 7), 4);
    assert_int_equal(open_of(s, 8), 1);

    count = sessions_count_begin(s); /* what comes and goes behind our back is believed */
    sessions_drop(s, 0, 7);
    for (int i = 0; i < 3; i++)
        sessions_count_one(count, 0, 7);
    assert_int_equal(sessions_add(s, 0, 7, 100, 100), 0);
    assert_int_equal(sessions_add(s, 0, 7, 100, 100), 0);
    sessions_drop(s, 0, 8);
    sessions_count_one(count, 0, 8);
    sessions_count_end(&count, true);
    assert_int_equal(open_of(s, 7), 5);
    assert_int_equal(open_of(s, 8), 0);

    count = sessions_count_begin(s); /* and only that: the rest has died */
    assert_int_equal(sessions_add(s, 0, 7, 100, 100), 0);
    sessions_count_end(&count, true);
    assert_int_equal(open_of(s, 7), 1);

    count = sessions_count_begin(s); /* a store did not say what it has */
    sessions_count_end(&count, false);
    assert_int_equal(open_of(s, 7), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tags),
        cmocka_unit_test(test_shares),
        cmocka_unit_test(test_counted_anew),
    };

    return cmocka_run_group_tests_name("sessions", tests, NULL, NULL);
}
