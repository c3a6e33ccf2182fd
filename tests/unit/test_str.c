#include "check.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

static void test_append(void **state)
{
    struct str s = {0};

    (void)state;
    for (int i = 0; i < 1000; i++)
        str_printf(&s, "%d,", i);
    assert_int_equal(s.len, 3890);
    assert_int_equal(strlen(s.data), s.len);
    str_reset(&s);
    str_puts(&s, "");
    assert_string_equal(s.data, "");
    str_free(&s);
    assert_null(s.data);
}

static void test_numbers(void **state)
{
    uint64_t v = 7;

    (void)state;
    assert_int_equal(str_parse_u64("0", 1, &v), 0);
    assert_int_equal(v, 0);
    assert_int_equal(str_parse_u64("18446744073709551615", 20, &v), 0);
    assert_true(v == UINT64_MAX);
    assert_int_equal(str_parse_u64("18446744073709551616", 20, &v), ERR_INVALID);
    assert_int_equal(str_parse_u64("", 0, &v), ERR_INVALID);
    assert_int_equal(str_parse_u64("-1", 2, &v), ERR_INVALID);
    assert_int_equal(str_parse_u64("+1", 2, &v), ERR_INVALID);
    assert_int_equal(str_parse_u64(" 1", 2, &v), ERR_INVALID);
    assert_int_equal(str_parse_u64("1a", 2, &v), ERR_INVALID);
}

static void test_hex(void **state)
{
    uint8_t bytes[3];
    char text[7];

    (void)state;
    assert_int_equal(str_unhex("00ff7a", 6, bytes, 3), 0);
    str_hex(bytes, 3, text);
    assert_string_equal(text, "00ff7a");
    assert_int_equal(str_unhex("00FF7A", 6, bytes, 3), ERR_INVALID);
    assert_int_equal(str_unhex("00ff7", 5, bytes, 3), ERR_INVALID);
    assert_int_equal(str_unhex("00ff7g", 6, bytes, 3), ERR_INVALID);
}

static int decode(const char *text, bool plus, char *out, size_t cap)
{
    return str_percent_decode(text, strlen(text), plus, out, cap);
}

static void test_percent(void **state)
{
    char out[16];
    struct str s = {0};

    (void)state;
    assert_int_equal(decode("a%2Fb%3a+", false, out, sizeof(out)), 0);
    assert_string_equal(out, "a/b:+");
    assert_int_equal(decode("a+b", true, out, sizeof(out)), 0);
    assert_string_equal(out, "a b");
    assert_int_equal(decode("%252e", false, out, sizeof(out)), 0);
    assert_string_equal(out, "%2e"); /* once, not twice */
    assert_int_equal(decode("%", false, out, sizeof(out)), ERR_INVALID);
    assert_int_equal(decode("%4", false, out, sizeof(out)), ERR_INVALID);
    assert_int_equal(decode("%4g", false, out, sizeof(out)), ERR_INVALID);
    assert_int_equal(decode("%00", false, out, sizeof(out)), ERR_INVALID);
    assert_int_equal(decode("%0a", false, out, sizeof(out)), ERR_INVALID);
    assert_int_equal(decode("%7f", false, out, sizeof(out)), ERR_INVALID);
    assert_int_equal(decode("0123456789abcdef", false, out, sizeof(out)), ERR_INVALID);
    assert_int_equal(decode("0123456789abcde", false, out, sizeof(out)), 0);
    str_percent_encode(&s, "a/b;c d-._~\xff");
    assert_string_equal(s.data, "a%2Fb%3Bc%20d-._~%FF");
    str_free(&s);
}

static void test_comparisons(void **state)
{
    (void)state;
    assert_true(str_equal_constant_time("abc", "abc", 3));
    assert_false(str_equal_constant_time("abc", "abd", 3));
    assert_true(str_equal_nocase("Content-LENGTH", "content-length"));
    assert_false(str_equal_nocase("content", "content-length"));
    assert_false(str_equal_nocase("\xe4", "\xc4"));
}

static void test_arena(void **state)
{
    struct mem_arena *arena = mem_arena_new();
    char *kept[200];

    (void)state;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 200; i++) {
            kept[i] = mem_arena_alloc(arena, (size_t)i * 37 + 1);
            assert_int_equal((uintptr_t)kept[i] % 16, 0);
            for (int j = 0; j < i * 37 + 1; j++)
                assert_int_equal(kept[i][j], 0);
            memset(kept[i], i, (size_t)i * 37 + 1);
        }
        for (int i = 0; i < 200; i++)
            assert_int_equal((uint8_t)kept[i][i * 37], i);
        assert_true(mem_arena_used(arena) > 200 * 37);
        mem_arena_reset(arena);
        assert_int_equal(mem_arena_used(arena), 0);
    }
    assert_string_equal(mem_arena_printf(arena, "%s-%d", "x", 5), "x-5");
    assert_string_equal(mem_arena_strndup(arena, "abcdef", 3), "abc");
    mem_arena_free(&arena);
    assert_null(arena);
}

static void test_log_values(void **state)
{
    struct str s = {0};
    char long_text[2000];

    (void)state;
    log_append_value(&s, "plain-1.2/x:y");
    str_putc(&s, ' ');
    log_append_value(&s, "a \"b\" \\ \n\x01\xff");
    str_putc(&s, ' ');
    log_append_value(&s, "");
    str_putc(&s, ' ');
    log_append_value(&s, NULL);
    assert_string_equal(s.data, "plain-1.2/x:y \"a \\\"b\\\" \\\\ \\n\\x01\\xff\" \"\" -");
    str_free(&s);
    memset(long_text, 'x', sizeof(long_text) - 1);
    long_text[sizeof(long_text) - 1] = 0;
    assert_in_range(strlen(log_quote(long_text)), 500, 511);
    assert_non_null(strstr(log_quote(long_text), "xxx..."));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append),      cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_hex),         cmocka_unit_test(test_percent),
        cmocka_unit_test(test_comparisons), cmocka_unit_test(test_arena),
        cmocka_unit_test(test_log_values),
    };

    return cmocka_run_group_tests_name("str", tests, NULL, NULL);
}
