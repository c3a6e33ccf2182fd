#include "check.h"

#include "http/range.h"
#include "oci/name.h"

static bool image(const char *name)
{
    return name_image_ok(name, strlen(name));
}

static void test_image_names(void **state)
{
    static const char *const good[] = {"a",   "0",     "library/nginx",  "a.b",      "a_b", "a__b",
                                       "a-b", "a---b", "a/b/c-d.e_f__g", "tags/list"};
    static const char *const bad[] = {"",     "/",    "a/",     "/a",      "a//b", "..",  ".",
                                      "a..b", "a._b", "a_.b",   "a___b",   "-a",   "a-",  "_a",
                                      "a_",   ".a",   "a.",     "A",       "a/B",  "a b", "a\n",
                                      "a:b",  "a@b",  "a/../b", "\xc3\xa4"};
    char longest[NAME_IMAGE_MAX + 2];

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        if (!image(good[i]))
            fail_msg("refused: %s", good[i]);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (image(bad[i]))
            fail_msg("accepted: %s", bad[i]);
    memset(longest, 'a', sizeof(longest));
    assert_true(name_image_ok(longest, NAME_IMAGE_MAX));
    assert_false(name_image_ok(longest, NAME_IMAGE_MAX + 1));
    assert_false(name_image_ok("a\0b", 3));
}

static void test_tags(void **state)
{
    static const char *const good[] = {"latest", "1.0", "_x", "A-b_c.D", "0"};
    static const char *const bad[] = {"", ".x", "-x", "a b", "a/b", "a:b", "a+b", "\xc3\xa4", ".."};
    char longest[NAME_TAG_MAX + 1];

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_true(name_tag_ok(good[i], strlen(good[i])));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (name_tag_ok(bad[i], strlen(bad[i])))
            fail_msg("accepted: %s", bad[i]);
    memset(longest, 'a', sizeof(longest));
    assert_true(name_tag_ok(longest, NAME_TAG_MAX));
    assert_false(name_tag_ok(longest, NAME_TAG_MAX + 1));
    assert_false(name_tag_ok("a\0b", 3));
}

static void test_media_types(void **state)
{
    (void)state;
    assert_true(name_media_type_ok("application/vnd.oci.image.index.v1+json", 39));
    assert_true(name_media_type_ok("a/b", 3));
    assert_false(name_media_type_ok("a", 1));
    assert_false(name_media_type_ok("/b", 2));
    assert_false(name_media_type_ok("a/", 2));
    assert_false(name_media_type_ok("a/b/c", 5));
    assert_false(name_media_type_ok("a/b; c", 6));
    assert_false(name_media_type_ok("a/\r\n", 4));
}

static void test_media_types_with_parameters(void **state)
{
    static const char *const good[] = {
        "a/b",
        "text/plain; charset=utf-8",
        "application/vnd.x+json;version=1.5",
        "a/b;c=\"d; e\\\"\"",
        "a/b ; c=d ; e=f",
        "a/b;",
        "a/b;;c=d",
    };
    static const char *const bad[] = {
        "",
        "a",
        "a;b=c",
        "/b;c=d",
        "a/;c=d",
        "a/b c",
        "a/b c=d",
        "a/b;c",
        "a/b;c=",
        "a/b;=d",
        "a/b;c=d e",
        "a/b;c=\"d",
        "a/b;c=\"\n\"",
        "a/b;c=\"\\",
        "a/b;c=\"\\\"",
        "a/b;c=\r\nX",
        "a/b;c=\"\x80\"",
        "a/b;c d=e",
        "a/b;c=d ",
        "a/b;\tc=d",
    };
    char longest[NAME_MEDIA_TYPE_MAX + 2] = "a/b;c=";

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        if (!name_media_type_with_parameters_ok(good[i], strlen(good[i])))
            fail_msg("refused: %s", good[i]);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (name_media_type_with_parameters_ok(bad[i], strlen(bad[i])))
            fail_msg("accepted: %s", bad[i]);
    memset(longest + 6, 'd', sizeof(longest) - 6);
    assert_true(name_media_type_with_parameters_ok(longest, NAME_MEDIA_TYPE_MAX));
    assert_false(name_media_type_with_parameters_ok(longest, NAME_MEDIA_TYPE_MAX + 1));
    assert_false(name_media_type_with_parameters_ok("a/b;c=\0", 7));
}

static void check_range(const char *header, uint64_t size, enum range_result result, uint64_t first,
                        uint64_t last)
{
    struct range r[RANGE_MAX];
    size_t count;

    if (range_parse(header, size, r, &count) != result)
        fail_msg("%s of %d", header ? header : "no header", (int)size);
    if (result == RANGE_SATISFIABLE) {
        assert_int_equal(count, 1);
        assert_int_equal(r[0].first, first);
        assert_int_equal(r[0].last, last);
    }
}

static void test_ranges(void **state)
{
    (void)state;
    check_range(NULL, 10, RANGE_NONE, 0, 0);
    check_range("bytes=0-4", 10, RANGE_SATISFIABLE, 0, 4);
    check_range("bytes=0-0", 10, RANGE_SATISFIABLE, 0, 0);
    check_range("bytes=5-", 10, RANGE_SATISFIABLE, 5, 9);
    check_range("bytes=-3", 10, RANGE_SATISFIABLE, 7, 9);
    check_range("bytes=-30", 10, RANGE_SATISFIABLE, 0, 9);
    check_range("bytes=9-100", 10, RANGE_SATISFIABLE, 9, 9);
    check_range("bytes=0-99999999999999999999999", 10, RANGE_SATISFIABLE, 0, 9);
    check_range("BYTES=1-2", 10, RANGE_SATISFIABLE, 1, 2);
    check_range("bytes= , 1-2 ,", 10, RANGE_SATISFIABLE, 1, 2);
    check_range("bytes=20-30,1-2", 10, RANGE_SATISFIABLE, 1, 2);
    check_range("bytes=10-", 10, RANGE_UNSATISFIABLE, 0, 0);
    check_range("bytes=500-0", 1000, RANGE_UNSATISFIABLE, 0, 0);
    check_range("bytes=-0", 10, RANGE_UNSATISFIABLE, 0, 0);
    check_range("bytes=0-", 0, RANGE_UNSATISFIABLE, 0, 0);
    check_range("bytes=-1", 0, RANGE_UNSATISFIABLE, 0, 0);
    check_range("bytes=99999999999999999999-", 10, RANGE_UNSATISFIABLE, 0, 0);
    check_range("bytes=", 10, RANGE_NONE, 0, 0);
    check_range("bytes=x", 10, RANGE_NONE, 0, 0);
    check_range("bytes=1", 10, RANGE_NONE, 0, 0);
    check_range("bytes=1-2x", 10, RANGE_NONE, 0, 0);
    check_range("bytes=--1", 10, RANGE_NONE, 0, 0);
    check_range("items=1-2", 10, RANGE_NONE, 0, 0);
    check_range("bytes=0-5,5-6", 10, RANGE_NONE, 0, 0);
}

static void test_many_ranges(void **state)
{
    struct range r[RANGE_MAX];
    char header[2048] = "bytes=";
    size_t count;

    (void)state;
    for (int i = 0; i < RANGE_MAX; i++)
        sprintf(header + strlen(header), "%d-%d,", 3 * i, 3 * i + 1);
    assert_int_equal(range_parse(header, 10000, r, &count), RANGE_SATISFIABLE);
    assert_int_equal(count, RANGE_MAX);
    assert_int_equal(r[RANGE_MAX - 1].first, 3 * (RANGE_MAX - 1));
    strcat(header, "9000-9001");
    assert_int_equal(range_parse(header, 10000, r, &count), RANGE_NONE);
}

static void test_entity_tags(void **state)
{
    (void)state;
    assert_true(range_etag_matches("\"x\"", "x"));
    assert_true(range_etag_matches("x", "x"));
    assert_true(range_etag_matches("W/\"x\"", "x"));
    assert_true(range_etag_matches("\"a\", \"b\" , \"x\"", "x"));
    assert_true(range_etag_matches("*", "x"));
    assert_false(range_etag_matches("\"*\"", "x"));
    assert_false(range_etag_matches("\"xx\"", "x"));
    assert_false(range_etag_matches("", "x"));
    assert_false(range_etag_matches("\"", "x"));
    assert_false(range_etag_matches("\"\"\"\",,,", "x"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_image_names), cmocka_unit_test(test_tags),
        cmocka_unit_test(test_media_types), cmocka_unit_test(test_media_types_with_parameters),
        cmocka_unit_test(test_ranges),      cmocka_unit_test(test_many_ranges),
        cmocka_unit_test(test_entity_tags),
    };

    return cmocka_run_group_tests_name("names_ranges", tests, NULL, NULL);
}
