#include "check.h"
#include "check_store.h"

#include "api/hot.h"
#include "base/file.h"
#include "store/layout.h"
#include "store/store_fs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[64];
static struct store *store;

static void put(struct digest *d, const void *data, size_t len)
{
    digest_of(DIGEST_SHA256, data, len, d);
    assert_int_equal(store_blob_write(store, d, data, len), 0);
}

static void overwrite(const struct digest *d, const char *data, size_t len)
{
    char path[LAYOUT_PATH_MAX];
    int fd = openat(store->dir_fd, layout_blob(d, path), O_WRONLY | O_TRUNC);

    assert_int_equal(file_write_full(fd, data, len), 0);
    close(fd);
}

/* As a request takes it: from memory, else from the store. */
static int hot_take(struct hot *hot, const struct store *from, const struct digest *d,
                    uint64_t size, const struct hot_object **object_r)
{
    struct hot_object object;
    int err;

    *object_r = hot_find(hot, d, size, false);
    if (*object_r)
        return 0;
    err = hot_read(from, d, size, false, &object);
    if (err == 0)
        *object_r = hot_add(hot, d, &object);
    return err;
}

/* A file is kept once, hashed as soon as somebody needs that, and no longer than it is unchanged.
 */
static void test_verified(void **state)
{
    struct hot *hot = hot_new(1000000, 10);
    const struct hot_object *file, *checked, *again;
    char *data = calloc(1, HOT_SMALL_MAX + 1);
    struct hot_object object;
    struct digest d;

    (void)state;
    put(&d, data, HOT_SMALL_MAX + 1);
    assert_int_equal(hot_take(hot, store, &d, HOT_SMALL_MAX + 1, &file), 0);
    assert_null(file->data);
    assert_false(file->verified);
    assert_null(hot_find(hot, &d, HOT_SMALL_MAX + 1, true)); /* nobody hashed it */
    assert_int_equal(hot_read(store, &d, HOT_SMALL_MAX + 1, true, &object), 0);
    checked = hot_add(hot, &d, &object);
    assert_null(checked->data);
    assert_true(checked->verified);
    assert_ptr_equal(hot_find(hot, &d, HOT_SMALL_MAX + 1, true), checked);
    assert_int_equal(hot_take(hot, store, &d, HOT_SMALL_MAX + 1, &again), 0);
    assert_ptr_equal(again, checked); /* good for all */
    hot_release(file);
    for (int i = 0; i < 3; i++)
        hot_release(checked);
    assert_int_equal(fchmod(object.fd, 0600), 0);        /* as any change of the file: st_ctim */
    while (hot_find(hot, &d, HOT_SMALL_MAX + 1, true)) { /* the kernel's clock has ticks */
        hot_release(checked);
        assert_int_equal(fchmod(object.fd, 0600), 0);
    }
    data[7] = 'x';
    overwrite(&d, data, HOT_SMALL_MAX + 1);
    assert_int_equal(hot_read(store, &d, HOT_SMALL_MAX + 1, true, &object), ERR_MISMATCH);
    overwrite(&d, "x", 1);
    assert_int_equal(hot_read(store, &d, HOT_SMALL_MAX + 1, true, &object), ERR_DAMAGED);
    hot_free(&hot);
    free(data);
}

static void test_small(void **state)
{
    struct hot *hot = hot_new(10000, 10);
    const struct hot_object *a, *b;
    struct digest d;

    (void)state;
    put(&d, "small", 5);
    assert_int_equal(hot_take(hot, store, &d, 5, &a), 0);
    assert_memory_equal(a->data, "small", 5);
    assert_int_equal(store_blob_unlink(store, &d), 0);
    assert_int_equal(hot_take(hot, store, &d, 5, &b), 0); /* from memory */
    assert_ptr_equal(a, b);
    hot_release(a);
    hot_release(b);
    hot_free(&hot);
}

static void test_damage_is_not_kept(void **state)
{
    struct hot *hot = hot_new(10000, 10);
    const struct hot_object *a;
    struct digest d;

    (void)state;
    put(&d, "precious", 8);
    overwrite(&d, "preCious", 8);
    assert_int_equal(hot_take(hot, store, &d, 8, &a), ERR_MISMATCH);
    overwrite(&d, "pre", 3);
    assert_int_equal(hot_take(hot, store, &d, 8, &a), ERR_DAMAGED);
    put(&d, "precious", 8); /* a push heals */
    assert_int_equal(hot_take(hot, store, &d, 8, &a), 0);
    hot_release(a);
    hot_free(&hot);
}

static void test_large_files_are_looked_at_again(void **state)
{
    struct hot *hot = hot_new(10000, 10);
    const struct hot_object *a, *b;
    char *data = calloc(1, HOT_SMALL_MAX + 1);
    struct digest d;

    (void)state;
    put(&d, data, HOT_SMALL_MAX + 1);
    assert_int_equal(hot_take(hot, store, &d, HOT_SMALL_MAX + 1, &a), 0);
    assert_null(a->data);
    assert_int_equal(hot_take(hot, store, &d, HOT_SMALL_MAX + 1, &b), 0);
    assert_ptr_equal(a, b);
    hot_release(b);
    put(&d, data, HOT_SMALL_MAX + 1); /* replaced: another file of the same name */
    assert_int_equal(hot_take(hot, store, &d, HOT_SMALL_MAX + 1, &b), 0);
    assert_ptr_not_equal(a, b);
    assert_true(lseek(a->fd, 0, SEEK_END) > 0); /* whoever holds the old one goes on */
    hot_release(a);
    hot_release(b);
    assert_int_equal(store_blob_unlink(store, &d), 0);
    assert_int_equal(hot_take(hot, store, &d, HOT_SMALL_MAX + 1, &a), ERR_NOT_FOUND);
    hot_free(&hot);
    free(data);
}

static void test_bounds(void **state)
{
    struct hot *hot = hot_new(1000, 2);
    const struct hot_object *held, *a;
    struct digest first, d;
    char data[300] = "";

    (void)state;
    put(&first, data, 300);
    assert_int_equal(hot_take(hot, store, &first, 300, &held), 0);
    for (int i = 1; i < 50; i++) {
        data[0] = (char)i;
        put(&d, data, 300);
        assert_int_equal(hot_take(hot, store, &d, 300, &a), 0);
        hot_release(a);
    }
    assert_int_equal(held->data[0], 0); /* made room, and is whole */
    assert_int_equal(store_blob_unlink(store, &first), 0);
    assert_int_equal(hot_take(hot, store, &first, 300, &a), ERR_NOT_FOUND);
    hot_release(held);
    put(&d, data, 300);
    assert_int_equal(hot_take(hot, store, &d, 300, &a), 0);
    hot_release(a);
    hot_free(&hot);
    hot = hot_new(100, 2); /* larger than all there is room for: served, not kept */
    assert_int_equal(hot_take(hot, store, &d, 300, &a), 0);
    assert_int_equal(a->data[0], 49);
    hot_release(a);
    hot_free(&hot);
}

static int setup(void **state)
{
    (void)state;
    check_directory(directory);
    store = check_store(directory);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    store_free(&store);
    check_remove(directory);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verified),
        cmocka_unit_test(test_small),
        cmocka_unit_test(test_damage_is_not_kept),
        cmocka_unit_test(test_large_files_are_looked_at_again),
        cmocka_unit_test(test_bounds),
    };

    return cmocka_run_group_tests_name("hot", tests, setup, teardown);
}
