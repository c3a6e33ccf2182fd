#include "check.h"

#include "base/json.h"

static struct mem_arena *arena;

static int parse(const char *text, struct json_value **value_r)
{
    const char *reason = NULL;
    int err = json_parse(arena, text, strlen(text), value_r, &reason);

    assert_true(err == 0 || reason);
    return err;
}

static void test_tree(void **state)
{
    struct json_value *root;
    const struct json_value *a, *b;
    int64_t n;

    (void)state;
    assert_int_equal(
        parse(" {\"a\":[1,true,null,\"x\\u00e4\"],\"b\":{\"c\":{}},\"d\":2.5}\n", &root), 0);
    assert_int_equal(root->type, JSON_OBJECT);
    assert_int_equal(root->count, 3);
    assert_int_equal(json_member(root, "a", &a), 0);
    assert_int_equal(a->type, JSON_ARRAY);
    assert_int_equal(a->count, 4);
    assert_int_equal(json_integer(a->first, &n), 0);
    assert_int_equal(n, 1);
    assert_true(a->first->next->boolean);
    assert_int_equal(a->first->next->next->type, JSON_NULL);
    assert_string_equal(a->first->next->next->next->text, "x\xc3\xa4");
    assert_int_equal(json_member(root, "b", &b), 0);
    assert_int_equal(json_member(b, "c", &b), 0);
    assert_int_equal(b->count, 0);
    assert_int_equal(json_member(root, "absent", &b), 0);
    assert_null(b);
    assert_int_equal(json_member(root, "d", &b), 0);
    assert_int_equal(json_integer(b, &n), ERR_INVALID);
}

static void test_doubled_member(void **state)
{
    struct json_value *root;
    const struct json_value *m;

    (void)state;
    assert_int_equal(parse("{\"a\":1,\"b\":2,\"a\":3}", &root), 0);
    assert_int_equal(json_member(root, "a", &m), ERR_INVALID);
    assert_int_equal(json_member(root, "b", &m), 0);
}

static void test_refused(void **state)
{
    static const char *const bad[] = {
        "",
        " ",
        "{",
        "}",
        "[1,]",
        "{\"a\":}",
        "{\"a\" 1}",
        "{} x",
        "{}{}",
        "nul",
        "'x'",
        "\"\\u0000\"",
        "{\"\\u0000\":1}",
        "\"\xff\"",
        "\"\xc0\x80\"",
        "[1 2]",
        "\"open",
        "01",
        "+1",
        "{1:2}",
        "\f{}",
        "[1,\v2]",
    };
    struct json_value *root;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (parse(bad[i], &root) == 0)
            fail_msg("accepted: %s", bad[i]);
}

static void test_limits(void **state)
{
    char deep[2 * 40 + 1] = "";
    struct json_value *root;
    struct str many = {0};

    (void)state;
    for (int depth = JSON_DEPTH_MAX; depth <= JSON_DEPTH_MAX + 1; depth++) {
        memset(deep, '[', (size_t)depth);
        memset(deep + depth, ']', (size_t)depth);
        deep[2 * depth] = 0;
        assert_int_equal(parse(deep, &root), depth == JSON_DEPTH_MAX ? 0 : ERR_INVALID);
    }
    str_puts(&many, "[0");
    for (int i = 0; i < JSON_VALUES_MAX; i++)
        str_puts(&many, ",0");
    str_puts(&many, "]");
    assert_int_equal(parse(many.data, &root), ERR_INVALID);
    str_free(&many);
}

static void test_integers(void **state)
{
    struct json_value *root;
    int64_t n;

    (void)state;
    assert_int_equal(parse("9223372036854775807", &root), 0);
    assert_int_equal(json_integer(root, &n), 0);
    assert_true(n == INT64_MAX);
    assert_int_equal(parse("[9223372036854775808,-1,1e3,1.0]", &root), 0);
    for (const struct json_value *v = root->first; v; v = v->next)
        assert_int_equal(json_integer(v, &n), ERR_INVALID);
    assert_int_equal(json_integer(NULL, &n), ERR_INVALID);
}

static void test_strings_out_come_back(void **state)
{
    char text[256];
    struct json_value *root;
    struct str out = {0};

    (void)state;
    for (int i = 1; i < 128; i++)
        text[i - 1] = (char)i;
    text[127] = 0;
    json_append_string(&out, text);
    assert_int_equal(parse(out.data, &root), 0);
    assert_string_equal(root->text, text);
    for (int i = 1; i < 256; i++)
        text[i - 1] = (char)i; /* not UTF-8 from 128 on: replaced, never passed on */
    text[255] = 0;
    str_reset(&out);
    json_append_string(&out, text);
    assert_int_equal(parse(out.data, &root), 0);
    str_reset(&out);
    json_append_string(&out, "\xe2\x82\xac\xf0\x9f\x98\x80\xe2\x82");
    assert_int_equal(parse(out.data, &root), 0);
    assert_string_equal(root->text, "\xe2\x82\xac\xf0\x9f\x98\x80\xef\xbf\xbd\xef\xbf\xbd");
    str_free(&out);
}

static int setup(void **state)
{
    (void)state;
    arena = mem_arena_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mem_arena_free(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tree),     cmocka_unit_test(test_doubled_member),
        cmocka_unit_test(test_refused),  cmocka_unit_test(test_limits),
        cmocka_unit_test(test_integers), cmocka_unit_test(test_strings_out_come_back),
    };

    return cmocka_run_group_tests_name("json", tests, setup, teardown);
}
