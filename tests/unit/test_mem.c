#include "check.h"

#include "base/mem.h"

static void test_heap_is_zeroed(void **state)
{
    char *one = mem_alloc(100), *many = mem_alloc_array(10, 10), *none = mem_alloc(0);
    static const char zeros[100];

    (void)state;
    assert_memory_equal(one, zeros, 100);
    assert_memory_equal(many, zeros, 100);
    assert_non_null(none); /* never NULL, whatever the size */
    free(one);
    free(many);
    free(none);
}

static void test_grow_and_copies(void **state)
{
    char *p = mem_grow(NULL, 4);
    char *whole = mem_strdup("abcdef"), *head = mem_strndup("abcdef", 3);

    (void)state;
    memcpy(p, "abc", 4);
    p = mem_grow(p, 100000);
    assert_string_equal(p, "abc");
    assert_string_equal(whole, "abcdef");
    assert_string_equal(head, "abc");
    free(p);
    free(whole);
    free(head);
}

static void test_room_for_one_more(void **state)
{
    size_t *list = NULL;

    (void)state;
    for (size_t i = 0; i < 1000; i++) {
        list = mem_room(list, i, sizeof(*list));
        list[i] = i; /* AddressSanitizer and valgrind see a room too small */
    }
    for (size_t i = 0; i < 1000; i++)
        assert_int_equal(list[i], i);
    free(list);
}

/* A large object gets a block of its own: the small ones before and after it
 * still come from the same one. */
static void test_large_object_leaves_the_block_its_room(void **state)
{
    struct mem_arena *arena = mem_arena_new();
    char *before = mem_arena_alloc(arena, 16);
    char *large = mem_arena_alloc(arena, 100000);
    char *after = mem_arena_alloc(arena, 16);

    (void)state;
    memset(large, 'x', 100000);
    assert_ptr_equal(after, before + 16);
    assert_int_equal(after[0], 0);
    mem_arena_free(&arena);
}

static void test_used_counts_since_reset(void **state)
{
    struct mem_arena *arena = mem_arena_new();

    (void)state;
    assert_int_equal(mem_arena_used(arena), 0);
    mem_arena_alloc(arena, 1000);
    mem_arena_alloc(arena, 5000);
    assert_in_range(mem_arena_used(arena), 6000, 6032);
    mem_arena_reset(arena);
    assert_int_equal(mem_arena_used(arena), 0);
    mem_arena_alloc(arena, 1);
    assert_in_range(mem_arena_used(arena), 1, 16);
    mem_arena_free(&arena);
}

/* Memory that comes back after a reset is zeroed again. */
static void test_reset_forgets(void **state)
{
    struct mem_arena *arena = mem_arena_new();
    char *first = mem_arena_alloc(arena, 64), *again;
    static const char zeros[64];

    (void)state;
    memset(first, 'x', 64);
    mem_arena_reset(arena);
    again = mem_arena_alloc(arena, 64);
    assert_ptr_equal(again, first); /* the kept block */
    assert_memory_equal(again, zeros, 64);
    mem_arena_free(&arena);
}

static void test_arena_text(void **state)
{
    struct mem_arena *arena = mem_arena_new();
    char long_text[5000];

    (void)state;
    memset(long_text, 'y', sizeof(long_text) - 1);
    long_text[sizeof(long_text) - 1] = 0;
    assert_string_equal(mem_arena_strdup(arena, ""), "");
    assert_string_equal(mem_arena_strdup(arena, long_text), long_text);
    assert_string_equal(mem_arena_strndup(arena, "abc", 0), "");
    assert_int_equal(strlen(mem_arena_printf(arena, "<%s>", long_text)), 5001);
    mem_arena_free(&arena);
}

static void test_free_takes_null_inside(void **state)
{
    struct mem_arena *arena = NULL;

    (void)state;
    mem_arena_free(&arena);
    assert_null(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_heap_is_zeroed),
        cmocka_unit_test(test_grow_and_copies),
        cmocka_unit_test(test_room_for_one_more),
        cmocka_unit_test(test_large_object_leaves_the_block_its_room),
        cmocka_unit_test(test_used_counts_since_reset),
        cmocka_unit_test(test_reset_forgets),
        cmocka_unit_test(test_arena_text),
        cmocka_unit_test(test_free_takes_null_inside),
    };

    return cmocka_run_group_tests_name("mem", tests, NULL, NULL);
}
