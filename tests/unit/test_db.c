/*
 * test_db.c - a batch over an engine, over LevelDB and over memory alike: gets and walks see what
 * was collected, and what is committed is seen without it.
 */
#include "meta/db.h"

#include "check.h"
#include "kv_memory.h"

#define KEYS 40

static char directory[64];

/* What should be there: by number of the key, 0 none, else the value. */
struct model {
    unsigned now[KEYS], committed[KEYS];
};

static struct db *leveldb_open(void)
{
    struct db *db;
    char path[80];

    snprintf(path, sizeof(path), "%s/db", directory);
    assert_int_equal(db_open(path, KV_MAKE, &db), 0);
    return db;
}

static int setup(void **state)
{
    (void)state;
    return check_directory(directory);
}

static int teardown(void **state)
{
    (void)state;
    check_remove(directory);
    return 0;
}

/* Two first bytes; some keys are prefixes of others, some have bytes above 127. */
static size_t key_of(unsigned n, char key[8])
{
    static const char tails[] = {0, 1, 'a', 'b', (char)0x80, (char)0xff};
    size_t len = 0;

    key[len++] = n % 2 ? 'A' : 'B';
    for (n /= 2; n > 0; n /= 3)
        key[len++] = tails[n % 6];
    return len;
}

static unsigned value_read(const char *value, size_t len)
{
    unsigned v;

    assert_int_equal(len, sizeof(v));
    memcpy(&v, value, sizeof(v));
    return v;
}

static void gets_fit(struct db *db, const unsigned *want)
{
    struct str value = {0};
    char key[8];

    for (unsigned n = 0; n < KEYS; n++) {
        int err = db_get(db, key, key_of(n, key), &value);

        assert_int_equal(err, want[n] ? 0 : ERR_NOT_FOUND);
        if (err == 0)
            assert_int_equal(value_read(value.data, value.len), want[n]);
    }
    str_free(&value);
}

static bool begins(const char *key, size_t len, const char *with, size_t with_len)
{
    return len >= with_len && memcmp(key, with, with_len) == 0;
}

/* Each key within the prefix, in order, once, and no other. */
static void walk_fits(struct db *db, const unsigned *want, const char *prefix, size_t prefix_len,
                      const char *start, size_t start_len)
{
    struct db_walk *walk = db_walk_new(db, prefix, prefix_len, start, start_len);
    char before[8] = "";
    size_t before_len = 0, wanted = 0, found = 0;

    for (unsigned n = 0; n < KEYS; n++) {
        char key[8];
        size_t len = key_of(n, key), shorter = len < start_len ? len : start_len;
        int order = start ? memcmp(key, start, shorter) : 0;

        wanted += want[n] && begins(key, len, prefix, prefix_len) &&
                  (!start || order > 0 || (order == 0 && len >= start_len));
    }
    for (; db_walk_valid(walk); db_walk_next(walk), found++) {
        size_t len, value_len;
        const char *key = db_walk_key(walk, &len), *value = db_walk_value(walk, &value_len);
        unsigned n = 0;
        char of_n[8];

        assert_true(len < sizeof(before));
        while (n < KEYS && (key_of(n, of_n) != len || memcmp(of_n, key, len) != 0))
            n++;
        assert_in_range(n, 0, KEYS - 1);
        assert_int_equal(value_read(value, value_len), want[n]);
        if (found > 0) {
            int order = memcmp(before, key, before_len < len ? before_len : len);

            assert_true(order < 0 || (order == 0 && before_len < len));
        }
        memcpy(before, key, len);
        before_len = len;
    }
    assert_int_equal(found, wanted);
    assert_int_equal(db_walk_free(&walk), 0);
}

static void all_fits(struct db *db, const unsigned *want)
{
    gets_fit(db, want);
    for (unsigned n = 0; n < KEYS; n += 3) {
        char key[8], start[8];
        size_t len = key_of(n, key), start_len = key_of((n * 7 + 2) % KEYS, start);

        walk_fits(db, want, key, 1, NULL, 0);
        walk_fits(db, want, key, len, NULL, 0);
        if (start[0] == key[0])
            walk_fits(db, want, key, 1, start, start_len);
    }
}

static void change(struct db *db, struct model *m, unsigned round)
{
    unsigned n = (unsigned)rand() % KEYS;
    char key[8];
    size_t len = key_of(n, key);

    m->now[n] = rand() % 3 ? round + 1 : 0;
    if (m->now[n])
        db_put(db, key, len, &m->now[n], sizeof(m->now[n]));
    else
        db_delete(db, key, len);
}

/* Random changes, commits and discards against the model. */
static void follows_model(struct db *db)
{
    struct model *m = calloc(1, sizeof(*m));

    srand(7);
    for (unsigned round = 0; round < 300; round++) {
        for (int i = rand() % 12; i > 0; i--)
            change(db, m, round);
        if (round % 2) /* else the hash and the order catch up with more at once */
            all_fits(db, m->now);
        if (round % 5 == 0) {
            db_batch_discard(db);
            memcpy(m->now, m->committed, sizeof(m->now));
        } else if (round % 3 == 0) {
            assert_int_equal(db_batch_commit(db), 0);
            memcpy(m->committed, m->now, sizeof(m->now));
        }
        all_fits(db, m->now);
        all_fits(db_committed(db), m->committed);
    }
    free(m);
}

static void test_a_batch_over_memory(void **state)
{
    struct db *db = db_new(kv_memory_new());

    (void)state;
    follows_model(db);
    db_close(&db);
}

static void test_a_batch_over_leveldb(void **state)
{
    struct db *db = leveldb_open();

    (void)state;
    follows_model(db);
    db_close(&db);
}

static void set(struct db *db, const char *key, const char *value)
{
    if (value)
        db_put(db, key, strlen(key), value, strlen(value));
    else
        db_delete(db, key, strlen(key));
}

/* A walk may change what it meets: it goes on over what was there when it began. */
static void test_a_walk_does_not_see_later_changes(void **state)
{
    struct db *db = db_new(kv_memory_new());
    struct db_walk *walk;
    char seen[32] = "";

    (void)state;
    set(db, "k1", "");
    set(db, "k3", "");
    assert_int_equal(db_batch_commit(db), 0);
    set(db, "k2", "");
    set(db, "k5", "");
    for (walk = db_walk_new(db, "k", 1, NULL, 0); db_walk_valid(walk); db_walk_next(walk)) {
        size_t len;

        strncat(seen, db_walk_key(walk, &len), 2);
        set(db, "k3", NULL);
        set(db, "k4", "");
        set(db, "k5", NULL);
    }
    assert_int_equal(db_walk_free(&walk), 0);
    assert_string_equal(seen, "k1k2k3k5");
    db_close(&db);
}

/* While it is written, reads see it; what is committed does not have it yet. */
static void test_a_sealed_batch_is_seen(void **state)
{
    struct db *db = db_new(kv_memory_new());

    (void)state;
    set(db, "a", "1");
    db_batch_seal(db);
    assert_int_equal(db_get(db, "a", 1, NULL), 0);
    assert_int_equal(db_get(db_committed(db), "a", 1, NULL), ERR_NOT_FOUND);
    assert_int_equal(db_batch_write(db), 0);
    db_batch_done(db);
    assert_true(db_batch_empty(db));
    assert_int_equal(db_get(db_committed(db), "a", 1, NULL), 0);
    db_close(&db);
}

static void note(void *ctx, const char *key, size_t key_len, const struct db_change *c)
{
    char *text = ctx;

    snprintf(text + strlen(text), 64 - strlen(text), "%.*s:%.*s>%.*s ", (int)key_len, key,
             (int)(c->was ? c->was_len : 1), c->was ? c->was : "-", (int)(c->now ? c->now_len : 1),
             c->now ? c->now : "-");
}

static void test_changes_with_what_was_before(void **state)
{
    struct db *db = db_new(kv_memory_new());
    char text[64] = "";

    (void)state;
    set(db, "a", "1");
    assert_int_equal(db_batch_commit(db), 0);
    set(db, "b", "1");
    set(db, "a", "2");
    assert_int_equal(db_batch_since(db, 'a', 0, note, text), 1);
    set(db, "b", NULL);
    set(db, "a2", "2");
    set(db, "a", "3");
    assert_int_equal(db_batch_since(db, 'a', 1, note, text), 3);
    assert_int_equal(db_batch_since(db, 'b', 0, note, text), 2);
    assert_int_equal(db_batch_since(db, 'c', 0, note, text), 0);
    assert_string_equal(text, "a:1>2 a2:->2 a:2>3 b:->1 b:1>- ");
    db_batch_discard(db);
    db_close(&db);
}

/* A get or a walk that failed is remembered, until the batch that rests on it is gone. */
static void test_a_failed_read_is_remembered(void **state)
{
    struct kv *kv = kv_memory_new();
    struct db *db = db_new(kv);
    struct db_walk *walk;

    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_false(db_read_failed(db));
        kv_memory_fail(kv, ERR_IO);
        if (i == 0) {
            assert_int_equal(db_get(db, "a", 1, NULL), ERR_IO);
        } else {
            walk = db_walk_new(db, "a", 1, NULL, 0);
            assert_false(db_walk_valid(walk));
            assert_int_equal(db_walk_free(&walk), ERR_IO);
        }
        kv_memory_fail(kv, 0);
        assert_true(db_read_failed(db));
        assert_false(db_read_failed(db_committed(db)));
        db_batch_discard(db);
    }
    assert_int_equal(db_get(db, "a", 1, NULL), ERR_NOT_FOUND);
    assert_false(db_read_failed(db));
    db_close(&db);
}

static void a_snapshot_stays(struct db *db)
{
    struct kv *then;
    struct str value = {0};

    set(db, "s", "old");
    assert_int_equal(db_batch_commit(db), 0);
    then = kv_snapshot(db_kv(db));
    set(db, "s", "new");
    set(db, "t", "");
    assert_int_equal(db_batch_commit(db), 0);
    assert_int_equal(kv_get(then, "s", 1, &value), 0);
    assert_string_equal(value.data, "old");
    assert_int_equal(kv_get(then, "t", 1, NULL), ERR_NOT_FOUND);
    kv_close(&then);
    str_free(&value);
}

static void test_a_snapshot_stays(void **state)
{
    struct db *memory = db_new(kv_memory_new()), *leveldb = leveldb_open();

    (void)state;
    a_snapshot_stays(memory);
    a_snapshot_stays(leveldb);
    db_close(&memory);
    db_close(&leveldb);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_batch_over_memory),
        cmocka_unit_test_setup_teardown(test_a_batch_over_leveldb, setup, teardown),
        cmocka_unit_test(test_a_walk_does_not_see_later_changes),
        cmocka_unit_test(test_a_sealed_batch_is_seen),
        cmocka_unit_test(test_changes_with_what_was_before),
        cmocka_unit_test(test_a_failed_read_is_remembered),
        cmocka_unit_test_setup_teardown(test_a_snapshot_stays, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
