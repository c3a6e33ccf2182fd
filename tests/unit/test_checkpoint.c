/* Copies of a database whose owner goes on writing: each is whole, and as of one moment. */
#include "check.h"

#include "base/file.h"
#include "meta/checkpoint.h"
#include "meta/db.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COPIES     12
#define FILL_BYTES (200u << 10) /* tables and logs change every few dozen batches */

struct writer {
    struct db *db;
    _Atomic bool stop;
    _Atomic uint64_t written; /* batches that are on the disk */
};

static char top[40], from[64], to[64];

static int make(void **state)
{
    (void)state;
    strcpy(top, "/tmp/entrepot-checkpoint-XXXXXX");
    assert_non_null(mkdtemp(top));
    snprintf(from, sizeof(from), "%s/db", top);
    snprintf(to, sizeof(to), "%s/copy", top);
    return 0;
}

static int unmake(void **state)
{
    char command[80];

    (void)state;
    snprintf(command, sizeof(command), "rm -rf %s", top);
    return system(command);
}

/* Batch n sets first, fill-<n modulo 64> and last to n. */
static void write_batch(struct db *db, uint64_t n)
{
    char *fill = malloc(FILL_BYTES), name[32];

    assert_non_null(fill);
    for (size_t at = 0; at < FILL_BYTES; at += 256)
        file_random(fill + at, 256);
    memcpy(fill, &n, sizeof(n));
    snprintf(name, sizeof(name), "fill-%02u", (unsigned)(n % 64));
    db_put(db, "first", 5, &n, sizeof(n));
    db_put(db, name, strlen(name), fill, FILL_BYTES);
    db_put(db, "last", 4, &n, sizeof(n));
    assert_int_equal(db_batch_commit(db), 0);
    free(fill);
}

static void *write_on(void *ctx)
{
    struct writer *w = ctx;

    for (uint64_t n = atomic_load(&w->written) + 1; !atomic_load(&w->stop); n++) {
        write_batch(w->db, n);
        atomic_store(&w->written, n);
    }
    return NULL;
}

static uint64_t number(struct db *db, const char *name)
{
    struct str value = {0};
    uint64_t n;

    assert_int_equal(db_get(db, name, strlen(name), &value), 0);
    assert_true(value.len >= sizeof(n));
    memcpy(&n, value.data, sizeof(n));
    str_free(&value);
    return n;
}

static void look(uint64_t at_least)
{
    struct db *db;
    uint64_t n;

    assert_int_equal(db_open(to, KV_MAKE, &db), 0);
    n = number(db, "first");
    assert_true(n >= at_least);
    assert_int_equal(number(db, "last"), n);
    for (uint64_t i = n > 63 ? n - 63 : 1; i <= n; i++) {
        char name[32];

        snprintf(name, sizeof(name), "fill-%02u", (unsigned)(i % 64));
        assert_int_equal(number(db, name), i);
    }
    db_close(&db);
}

static void test_while_it_is_written(void **state)
{
    struct writer w = {0};
    pthread_t thread;

    (void)state;
    assert_int_equal(db_open(from, KV_MAKE, &w.db), 0);
    write_batch(w.db, 1);
    atomic_store(&w.written, 1);
    assert_int_equal(pthread_create(&thread, NULL, write_on, &w), 0);
    for (int i = 0; i < COPIES; i++) {
        uint64_t at_least = atomic_load(&w.written);

        assert_int_equal(checkpoint_make(from, to), 0);
        look(at_least);
        checkpoint_remove(to);
        assert_int_equal(access(to, F_OK), -1);
        while (atomic_load(&w.written) < at_least + 10)
            usleep(1000);
    }
    atomic_store(&w.stop, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(number(w.db, "last"), atomic_load(&w.written));
    db_close(&w.db);
}

/* The copy may be opened, changed and thrown away: the original does not notice. */
static void test_apart_from_it(void **state)
{
    struct db *db, *copy;

    (void)state;
    assert_int_equal(db_open(from, KV_MAKE, &db), 0);
    for (uint64_t n = 1; n <= 100; n++)
        write_batch(db, n);
    assert_int_equal(checkpoint_make(from, to), 0);
    assert_int_equal(db_open(to, KV_MAKE, &copy), 0);
    for (uint64_t n = 101; n <= 200; n++)
        write_batch(copy, n);
    assert_int_equal(number(copy, "last"), 200);
    assert_int_equal(number(db, "last"), 100);
    db_close(&copy);
    checkpoint_remove(to);
    db_close(&db);
    assert_int_equal(db_open(from, KV_MAKE, &db), 0);
    assert_int_equal(number(db, "first"), 100);
    db_close(&db);
}

#define STRAYS 40

static void stray_name(unsigned n, char *path, size_t size)
{
    snprintf(path, size, "%s/%06u.ldb", from, n);
}

/* Tables that the original is about to finish have numbers which the copy gives to its own. */
static void test_unfinished_tables_stay(void **state)
{
    struct str text = {0};
    struct db *db;
    char path[80];

    (void)state;
    assert_int_equal(db_open(from, KV_MAKE, &db), 0);
    for (uint64_t n = 1; n <= 5; n++)
        write_batch(db, n);
    for (unsigned i = 1; i <= STRAYS; i++) {
        stray_name(i, path, sizeof(path));
        if (access(path, F_OK) != 0)
            assert_int_equal(file_replace(path, "unfinished", 10, 0600, (uid_t)-1, (gid_t)-1), 0);
    }
    assert_int_equal(checkpoint_make(from, to), 0);
    look(5);
    for (unsigned i = 1; i <= STRAYS; i++) {
        stray_name(i, path, sizeof(path));
        str_reset(&text);
        assert_int_equal(file_read_all(path, 1 << 20, &text), 0);
        assert_int_equal(text.len, 10);
    }
    str_free(&text);
    db_close(&db);
}

static void test_failures_leave_nothing(void **state)
{
    struct stat st;

    (void)state;
    assert_int_equal(checkpoint_make(from, to), ERR_NOT_FOUND);
    assert_int_equal(stat(to, &st), -1);
    checkpoint_remove(to); /* content */
    assert_int_equal(mkdir(from, 0700), 0);
    assert_int_equal(mkdir(to, 0700), 0);
    assert_int_equal(checkpoint_make(from, to), ERR_EXISTS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_while_it_is_written, make, unmake),
        cmocka_unit_test_setup_teardown(test_apart_from_it, make, unmake),
        cmocka_unit_test_setup_teardown(test_unfinished_tables_stay, make, unmake),
        cmocka_unit_test_setup_teardown(test_failures_leave_nothing, make, unmake),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
