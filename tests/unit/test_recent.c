/*
 * test_recent.c - marks of who asked last: the newest counts, and a jump of the clock moves them.
 */
#include "shm/recent.h"

#include <time.h>

#include "check.h"

#define HOUR 3600

static const struct digest digest = {.alg = DIGEST_SHA256, .bytes = {1, 2, 3}};

/* A mapping of its own, and the time it begins. */
static struct recent *begin(uint64_t *since_r)
{
    struct recent *recent = NULL;

    assert_int_equal(recent_new(&recent), 0);
    *since_r = recent_at(recent, "r", "i", &digest);
    assert_in_range(*since_r, (uint64_t)time(NULL) - HOUR, (uint64_t)time(NULL));
    return recent;
}

static void test_the_newest_counts(void **state)
{
    uint64_t since;
    struct recent *recent = begin(&since);
    struct digest other = digest;

    (void)state;
    recent_mark(recent, "r", "i", &digest, since + 100);
    assert_int_equal(recent_at(recent, "r", "i", &digest), since + 100);
    recent_mark(recent, "r", "i", &digest, since + 99); /* of another process, and late */
    assert_int_equal(recent_at(recent, "r", "i", &digest), since + 100);
    recent_mark(recent, "r", "i", &digest, since + 101);
    assert_int_equal(recent_at(recent, "r", "i", &digest), since + 101);
    other.bytes[0]++;
    assert_int_equal(recent_at(recent, "r", "i", &other), since);
    assert_int_equal(recent_at(recent, "r", "j", &digest), since);
    assert_int_equal(recent_at(recent, "s", "i", &digest), since);
    assert_int_equal(recent_at(recent, "ri", "", &digest), since);
}

static void test_marks_move_with_the_clock(void **state)
{
    uint64_t since;
    struct recent *recent = begin(&since);

    (void)state;
    recent_mark(recent, "r", "i", &digest, since + 100);
    recent_shift(recent, HOUR * 1000);
    assert_int_equal(recent_at(recent, "r", "i", &digest), since + 100 + HOUR);
    recent_shift(recent, -2 * HOUR * 1000);
    assert_int_equal(recent_at(recent, "r", "i", &digest), since + 100 - HOUR);
    recent_mark(recent, "r", "i", &digest, since + 200 - HOUR);
    assert_int_equal(recent_at(recent, "r", "i", &digest), since + 200 - HOUR);
}

/* Two clocks are read to measure it, one after the other. */
static void test_a_jump_is_of_the_nearest_seconds(void **state)
{
    uint64_t since;
    struct recent *recent = begin(&since);

    (void)state;
    recent_shift(recent, HOUR * 1000 - 1);
    assert_int_equal(recent_at(recent, "r", "i", &digest), since + HOUR);
    recent_shift(recent, -HOUR * 1000 + 1);
    assert_int_equal(recent_at(recent, "r", "i", &digest), since);
    recent_shift(recent, HOUR * 1000 + 1);
    assert_int_equal(recent_at(recent, "r", "i", &digest), since + HOUR);
}

/* Between the jump and the master's look: marks may be an hour off then. */
static void test_a_wrong_mark_gives_way(void **state)
{
    uint64_t since;
    struct recent *recent = begin(&since);

    (void)state;
    recent_mark(recent, "r", "i", &digest, since + HOUR);
    recent_mark(recent, "r", "i", &digest, since + 100);
    assert_int_equal(recent_at(recent, "r", "i", &digest), since + 100);
    recent_mark(recent, "r", "i", &digest, since - HOUR);
    assert_int_equal(recent_at(recent, "r", "i", &digest), since);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_newest_counts),
        cmocka_unit_test(test_marks_move_with_the_clock),
        cmocka_unit_test(test_a_jump_is_of_the_nearest_seconds),
        cmocka_unit_test(test_a_wrong_mark_gives_way),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
