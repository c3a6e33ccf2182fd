#include "check.h"

#include "shm/index_write.h"
#include "shm/tally.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define TYPE "application/vnd.oci.image.manifest.v1+json"

static struct digest digest_for(unsigned n)
{
    struct digest d;

    digest_of(DIGEST_SHA256, &n, sizeof(n), &d);
    return d;
}

static void put_tag(struct index_writer *w, const char *tag, unsigned n)
{
    struct digest d = digest_for(n);

    assert_int_equal(index_put(w, INDEX_TAG, "r", "i", tag, n, TYPE, &d), 0);
}

static void make(struct index_writer *w, struct index_map *map, uint64_t entries)
{
    assert_int_equal(index_writer_new(1, entries, entries * 192, w), 0);
    index_writer_state(w, INDEX_COMPLETE);
    assert_int_equal(index_map_open(w->read_fd, map), 0);
}

static void end(struct index_writer *w, struct index_map *map)
{
    index_map_close(map);
    index_writer_close(w);
}

static void test_put_find_kill(void **state)
{
    struct index_writer w;
    struct index_map map;
    struct index_entry e;
    struct digest one = digest_for(1), two = digest_for(2);

    (void)state;
    make(&w, &map, 100);
    assert_int_equal(index_find(&map, INDEX_TAG, "r", "i", "t", &e), ERR_NOT_FOUND);
    put_tag(&w, "t", 1);
    assert_int_equal(index_find(&map, INDEX_TAG, "r", "i", "t", &e), 0);
    assert_true(digest_equal(e.digest, &one));
    assert_string_equal(e.media_type, TYPE);
    assert_int_equal(e.size, 1);
    put_tag(&w, "t", 2); /* moves */
    assert_int_equal(index_find(&map, INDEX_TAG, "r", "i", "t", &e), 0);
    assert_true(digest_equal(e.digest, &two));
    assert_int_equal(index_find(&map, INDEX_MANIFEST, "r", "i", "t", &e), ERR_NOT_FOUND);
    assert_int_equal(index_find(&map, INDEX_TAG, "r", "j", "t", &e), ERR_NOT_FOUND);
    assert_int_equal(index_find(&map, INDEX_TAG, "ri", "", "t", &e), ERR_NOT_FOUND);
    assert_true(index_kill(&w, INDEX_TAG, "r", "i", "t"));
    assert_false(index_kill(&w, INDEX_TAG, "r", "i", "t"));
    assert_int_equal(index_find(&map, INDEX_TAG, "r", "i", "t", &e), ERR_NOT_FOUND);
    index_revive(&w, INDEX_TAG, "r", "i", "t");
    assert_int_equal(index_find(&map, INDEX_TAG, "r", "i", "t", &e), 0);
    assert_true(digest_equal(e.digest, &two));
    assert_int_equal(index_put(&w, INDEX_BLOB, "r", "i", "d", 12345, NULL, NULL), 0);
    assert_int_equal(index_find(&map, INDEX_BLOB, "r", "i", "d", &e), 0);
    assert_int_equal(e.size, 12345);
    end(&w, &map);
}

static void test_states(void **state)
{
    struct index_writer w;
    struct index_map map, none = {0};
    struct index_entry e;

    (void)state;
    make(&w, &map, 100);
    put_tag(&w, "t", 1);
    index_writer_state(&w, INDEX_BUILDING);
    assert_int_equal(index_find(&map, INDEX_TAG, "r", "i", "absent", &e), ERR_BUSY);
    assert_int_equal(index_find(&map, INDEX_TAG, "r", "i", "t", &e), 0);
    index_writer_state(&w, INDEX_SUPERSEDED);
    assert_int_equal(index_find(&map, INDEX_TAG, "r", "i", "t", &e), ERR_BUSY);
    assert_int_equal(index_find(&none, INDEX_TAG, "r", "i", "t", &e), ERR_BUSY);
    end(&w, &map);
}

static void test_same_again_costs_nothing(void **state)
{
    struct index_writer w;
    struct index_map map;
    uint64_t used;

    (void)state;
    make(&w, &map, 100);
    put_tag(&w, "t", 1);
    used = atomic_load(&w.header->arena_used);
    for (int i = 0; i < 10000; i++)
        put_tag(&w, "t", 1);
    assert_int_equal(atomic_load(&w.header->arena_used), used);
    assert_false(index_writer_crowded(&w));
    end(&w, &map);
}

static void test_full(void **state)
{
    struct index_writer w;
    struct index_map map;
    struct index_entry e;
    char name[16];
    unsigned n;
    int err = 0;

    (void)state;
    make(&w, &map, 1000);
    for (n = 0; n < 100000 && err == 0; n++) {
        snprintf(name, sizeof(name), "b%u", n);
        err = index_put(&w, INDEX_BLOB, "r", "i", name, n, NULL, NULL);
    }
    assert_int_equal(err, ERR_NO_SPACE);
    assert_true(n > 1000);
    assert_true(index_writer_crowded(&w));
    for (unsigned i = 0; i < n - 1; i++) {
        snprintf(name, sizeof(name), "b%u", i);
        assert_int_equal(index_find(&map, INDEX_BLOB, "r", "i", name, &e), 0);
        assert_int_equal(e.size, i);
    }
    assert_int_equal(index_find(&map, INDEX_BLOB, "r", "i", "absent", &e), ERR_NOT_FOUND);
    end(&w, &map);
}

static void test_readers_cannot_write(void **state)
{
    struct index_writer w;
    struct index_map map;

    (void)state;
    make(&w, &map, 10);
    assert_true(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, w.read_fd, 0) == MAP_FAILED);
    end(&w, &map);
}

static void test_damaged_maps_are_refused(void **state)
{
    struct index_writer w;
    struct index_map map;
    int empty = memfd_create("x", 0);

    (void)state;
    assert_int_equal(index_map_open(empty, &map), ERR_DAMAGED);
    assert_int_equal(ftruncate(empty, 8192), 0);
    assert_int_equal(index_map_open(empty, &map), ERR_DAMAGED);
    close(empty);
    assert_int_equal(index_writer_new(1, 10, 4096, &w), 0);
    w.header->slot_count = 1ULL << 40;
    assert_int_equal(index_map_open(w.read_fd, &map), ERR_DAMAGED);
    w.header->slot_count = 3;
    assert_int_equal(index_map_open(w.read_fd, &map), ERR_DAMAGED);
    index_writer_close(&w);
}

/* A record is consistent when its digest is that of its size. */
static void check_consistent(const struct index_map *map, const char *tag)
{
    struct index_entry e;
    struct digest expected;
    int err = index_find(map, INDEX_TAG, "r", "i", tag, &e);

    if (err == ERR_NOT_FOUND)
        return;
    assert_int_equal(err, 0);
    expected = digest_for((unsigned)e.size);
    assert_true(digest_equal(e.digest, &expected));
    assert_string_equal(e.media_type, TYPE);
}

static void write_for_ever(struct index_writer *w, unsigned seed)
{
    for (unsigned n = seed;; n++) {
        char tag[8];
        struct digest d = digest_for(n);

        snprintf(tag, sizeof(tag), "t%u", n % 40);
        if (n % 7 == 0)
            index_kill(w, INDEX_TAG, "r", "i", tag);
        else if (index_put(w, INDEX_TAG, "r", "i", tag, n, TYPE, &d) != 0)
            _exit(0); /* the arena is full */
    }
}

static void test_killed_writers_leave_nothing_torn(void **state)
{
    struct index_writer w;
    struct index_map map;

    (void)state;
    make(&w, &map, 400000);
    for (unsigned round = 0; round < 50; round++) {
        pid_t child = fork();

        if (child == 0)
            write_for_ever(&w, round * 100000);
        for (unsigned i = 0; i < 200 + round * 20; i++) {
            char tag[8];

            snprintf(tag, sizeof(tag), "t%u", i % 40);
            check_consistent(&map, tag);
        }
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        for (unsigned i = 0; i < 40; i++) {
            char tag[8];

            snprintf(tag, sizeof(tag), "t%u", i);
            check_consistent(&map, tag);
        }
    }
    end(&w, &map);
}

static void *read_while_written(void *arg)
{
    for (unsigned i = 0; i < 50000; i++) {
        char tag[8];

        snprintf(tag, sizeof(tag), "t%u", i % 40);
        check_consistent(arg, tag);
    }
    return NULL;
}

static void test_threads(void **state)
{
    struct index_writer w;
    struct index_map map;
    pthread_t reader;

    (void)state;
    make(&w, &map, 200000);
    assert_int_equal(pthread_create(&reader, NULL, read_while_written, &map), 0);
    for (unsigned n = 0; n < 100000; n++) {
        char tag[8];

        snprintf(tag, sizeof(tag), "t%u", n % 40);
        put_tag(&w, tag, n);
    }
    pthread_join(reader, NULL);
    end(&w, &map);
}

static void test_adopted(void **state)
{
    struct index_writer w, adopted;
    struct index_map map;
    struct index_entry e;

    (void)state;
    make(&w, &map, 10);
    assert_int_equal(index_writer_adopt(dup(w.fd), &adopted), 0);
    index_writer_state(&adopted, INDEX_SUPERSEDED);
    assert_int_equal(index_find(&map, INDEX_TAG, "r", "i", "t", &e), ERR_BUSY);
    index_writer_close(&adopted);
    end(&w, &map);
}

static void test_tally(void **state)
{
    void *region;

    (void)state;
    assert_int_equal(tally_new(&region), 0);
    atomic_fetch_add(&tally_at(region, 3)->asks, 5);
    if (fork() == 0) {
        atomic_fetch_add(&tally_at(region, 3)->asks, 2);
        _exit(0);
    }
    wait(NULL);
    assert_int_equal(atomic_load(&tally_at(region, 3)->asks), 7);
    assert_int_equal(atomic_load(&tally_at(region, 4)->asks), 0);
    tally_reset(region, 3);
    assert_int_equal(atomic_load(&tally_at(region, 3)->asks), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_put_find_kill),
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_same_again_costs_nothing),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_readers_cannot_write),
        cmocka_unit_test(test_damaged_maps_are_refused),
        cmocka_unit_test(test_killed_writers_leave_nothing_torn),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_adopted),
        cmocka_unit_test(test_tally),
    };

    return cmocka_run_group_tests_name("index", tests, NULL, NULL);
}
