/* Shared memory between threads instead of processes, so that ThreadSanitizer sees
 * both sides (tests/run -k tsan). */
#include "check.h"

#include "shm/index_write.h"
#include "shm/recent.h"
#include "shm/tally.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#define TYPE   "application/vnd.oci.image.manifest.v1+json"
#define ROUNDS 20000
#define TAGS   8

struct shared {
    struct index_writer writer;
    struct index_map map;
    struct recent *recent;
    void *tally;
    _Atomic bool stop;
    _Atomic unsigned torn, found;
};

static struct digest digest_for(uint64_t n)
{
    struct digest d;

    digest_of(DIGEST_SHA256, &n, sizeof(n), &d);
    return d;
}

static void *read_tags(void *ctx)
{
    struct shared *s = ctx;
    char tag[16];

    for (unsigned i = 0; !atomic_load(&s->stop); i++) {
        struct index_entry e;

        snprintf(tag, sizeof(tag), "t%u", i % TAGS);
        if (index_find(&s->map, INDEX_TAG, "r", "i", tag, &e) != 0)
            continue;
        struct digest expected = digest_for(e.size);

        /* Size, digest and type of one record belong together. */
        if (!digest_equal(e.digest, &expected) || strcmp(e.media_type, TYPE) != 0)
            atomic_fetch_add(&s->torn, 1);
        atomic_fetch_add(&s->found, 1);
    }
    return NULL;
}

static void *mark(void *ctx)
{
    struct shared *s = ctx;
    struct tally_page *page = tally_at(s->tally, 1);

    for (uint64_t i = 0; !atomic_load(&s->stop); i++) {
        struct digest d = digest_for(i % 64);

        recent_mark(s->recent, "r", "i", &d, recent_at(s->recent, "r", "i", &d) + 1);
        atomic_fetch_add_explicit(&page->asks, 1, memory_order_relaxed);
    }
    return NULL;
}

static void write_tags(struct shared *s)
{
    char tag[16];

    for (uint64_t i = 0; i < ROUNDS; i++) {
        struct digest d = digest_for(i);

        snprintf(tag, sizeof(tag), "t%u", (unsigned)(i % TAGS));
        if (i % 5 == 0 && index_kill(&s->writer, INDEX_TAG, "r", "i", tag) && i % 10 == 0)
            index_revive(&s->writer, INDEX_TAG, "r", "i", tag);
        assert_int_equal(index_put(&s->writer, INDEX_TAG, "r", "i", tag, i, TYPE, &d), 0);
        (void)recent_at(s->recent, "r", "i", &d);
        (void)atomic_load_explicit(&tally_at(s->tally, 1)->asks, memory_order_relaxed);
    }
}

static void test_readers_beside_a_writer(void **state)
{
    struct shared s = {0};
    pthread_t threads[4];

    (void)state;
    assert_int_equal(index_writer_new(1, ROUNDS, ROUNDS * 256, &s.writer), 0);
    index_writer_state(&s.writer, INDEX_COMPLETE);
    /* The writer's own mapping: two of one file are different memory to the sanitizer. */
    s.map.header = s.writer.header;
    assert_int_equal(recent_new(&s.recent), 0);
    assert_int_equal(tally_new(&s.tally), 0);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, i < 2 ? read_tags : mark, &s), 0);
    write_tags(&s);
    atomic_store(&s.stop, true);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&s.torn), 0);
    assert_true(atomic_load(&s.found) > 0);
    index_writer_close(&s.writer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_readers_beside_a_writer)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
