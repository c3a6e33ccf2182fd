/*
 * test_meta.c - records (meta/records.h) over an engine of memory: what follows from a change is
 * changed with it, and walks go on where they stopped.
 */
#include "check.h"

#include "kv_memory.h"
#include "meta/records.h"

#define IMAGE "hosted", "team/image"

static struct db *db;
static struct kv *kv;
static struct digest x, y, z;

static int setup(void **state)
{
    (void)state;
    kv = kv_memory_new();
    db = db_new(kv);
    digest_of(DIGEST_SHA256, "x", 1, &x);
    digest_of(DIGEST_SHA512, "y", 1, &y);
    digest_of(DIGEST_SHA256, "z", 1, &z);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    db_batch_discard(db);
    db_close(&db);
    return 0;
}

static bool any_record(void)
{
    for (const char *letter = "BDGIJKLMNQRSTUVemt"; *letter; letter++)
        if (meta_any(db, (struct meta_key){.kind = (enum meta_kind) * letter}))
            return true;
    return false;
}

static void test_a_tag_and_its_note(void **state)
{
    const struct meta_key tag = meta_tag(IMAGE, "v1");
    struct record_tag record = {.digest = x, .size = 5, .time = 7, .media_type = "a/b"}, got;
    struct str value = {0};

    (void)state;
    assert_int_equal(meta_tag_get(db, tag, &value, &got), ERR_NOT_FOUND);
    meta_tag_put(db, tag, &record, NULL);
    assert_int_equal(meta_tag_get(db, tag, &value, &got), 0);
    assert_true(digest_equal(&got.digest, &x) && got.size == 5 && got.time == 7);
    assert_true(meta_has(db, meta_tag_on(IMAGE, &x, "v1")));
    assert_int_equal(db_batch_commit(db), 0);
    record.digest = y;
    meta_tag_put(db, tag, &record, &x); /* moved */
    assert_false(meta_has(db, meta_tag_on(IMAGE, &x, "v1")));
    assert_true(meta_has(db, meta_tag_on(IMAGE, &y, "v1")));
    meta_tag_put(db, tag, &record, &y); /* to where it is */
    assert_true(meta_has(db, meta_tag_on(IMAGE, &y, "v1")));
    meta_tag_delete(db, tag, &y);
    assert_false(any_record());
    meta_put(db, tag, &(struct str){.data = (char *)"?", .len = 1});
    assert_int_equal(meta_tag_get(db, tag, &value, &got), ERR_DAMAGED);
    str_free(&value);
}

static void test_a_manifest_and_its_notes(void **state)
{
    const struct meta_key key = meta_at(META_MANIFEST, IMAGE, &x);
    struct manifest_ref refs[2] = {{.digest = y}, {.digest = z}};
    struct record_manifest record = {
        .size = 8,
        .contents = {
            .media_type = "a/b", .subject = z, .refs = refs, .ref_count = 2, .is_index = true}};
    struct mem_arena *arena = mem_arena_new();
    struct record_manifest got;
    struct str value = {0};
    const char *type;
    uint64_t size;
    bool index = false;

    (void)state;
    meta_manifest_put(db, key, &record);
    assert_int_equal(meta_manifest_get(db, key, arena, &value, &got), 0);
    assert_int_equal(got.contents.ref_count, 2);
    assert_int_equal(meta_manifest_peek(db, key, &value, &size, &type), 0);
    assert_true(size == 8 && strcmp(type, "a/b") == 0);
    assert_int_equal(meta_get(db, meta_by(META_PARENT, IMAGE, &z, &x), &value), 0);
    assert_int_equal(record_parent_decode(value.data, value.len, &index), 0);
    assert_true(index);
    assert_true(meta_has(db, meta_by(META_PARENT, IMAGE, &y, &x)));
    assert_int_equal(meta_get(db, meta_by(META_REFERRER, IMAGE, &z, &x), &value), 0);
    assert_int_equal(record_referrer_decode(value.data, value.len, arena, &got), 0);
    assert_true(got.size == 8);
    meta_manifest_delete(db, key, &record);
    assert_false(any_record());
    str_free(&value);
    mem_arena_free(&arena);
}

static void test_bytes_are_forgotten_with_their_mark(void **state)
{
    struct record_blob got;

    (void)state;
    meta_blob_put(db, meta_blob("main", &x), 5, 6);
    meta_put_key(db, meta_damage("main", &x));
    assert_int_equal(meta_blob_get(db, meta_blob("main", &x), &got), 0);
    assert_true(got.size == 5 && got.time == 6);
    assert_int_equal(meta_blob_get(db, meta_damage("main", &x), &got), ERR_DAMAGED);
    meta_blob_forget(db, "main", &x);
    assert_false(any_record());
}

/* Tags t0 to t9 of an image, and one each of its neighbours. */
static void ten_tags(void)
{
    const struct record_tag record = {.digest = x, .media_type = "a/b"};
    char tag[8];

    for (int i = 0; i < 10; i++) {
        snprintf(tag, sizeof(tag), "t%d", i);
        meta_tag_put(db, meta_tag(IMAGE, tag), &record, NULL);
        if (i == 4) /* half of it is committed, half waits */
            assert_int_equal(db_batch_commit(db), 0);
    }
    meta_tag_put(db, meta_tag("hosted", "team/imag", "t"), &record, NULL);
    meta_tag_put(db, meta_tag("hosted", "team/image2", "t"), &record, NULL);
}

static void test_a_walk_in_parts(void **state)
{
    struct meta_place place = {0};
    struct meta_key key;
    char expected[16];
    int count = 0;

    (void)state;
    ten_tags();
    for (int part = 0; part < 4; part++) {
        struct meta_walk *walk = meta_walk_new(db, meta_of_image(META_TAG, IMAGE), &place);

        for (int i = 0; i < 3 && meta_walk_next(walk, &key); i++, count++) {
            snprintf(expected, sizeof(expected), "t%d", count);
            assert_string_equal(key.tag, expected);
            assert_string_equal(key.image, "team/image");
            meta_walk_place(walk, &place);
        }
        assert_int_equal(meta_walk_end_whole(&walk), 0);
    }
    assert_int_equal(count, 10);
}

/* Behind a key that need not be there; what is of another walk is not listened to. */
static void test_where_a_walk_begins(void **state)
{
    struct meta_key after = meta_tag(IMAGE, "t44"), key;
    struct meta_place place;
    struct meta_walk *walk;

    (void)state;
    ten_tags();
    meta_place_of(&after, &place);
    walk = meta_walk_new(db, meta_of_image(META_TAG, IMAGE), &place);
    assert_true(meta_walk_next(walk, &key));
    assert_string_equal(key.tag, "t5");
    assert_int_equal(meta_walk_end_whole(&walk), 0);
    after = meta_image(IMAGE);
    meta_place_of(&after, &place);
    walk = meta_walk_new(db, meta_of_image(META_TAG, IMAGE), &place);
    assert_true(meta_walk_next(walk, &key));
    assert_string_equal(key.tag, "t0");
    assert_int_equal(meta_walk_end_whole(&walk), 0);
}

/* What is no key is passed by and told at the end, or met and taken away. */
static void test_a_walk_over_damage(void **state)
{
    struct meta_walk *walk;
    struct meta_key key;
    int good = 0, bad = 0;

    (void)state;
    ten_tags();
    db_put(db, "Thosted\0team/image\0t3\0more", 26, "", 0);
    walk = meta_walk_new(db, meta_of_image(META_TAG, IMAGE), NULL);
    while (meta_walk_next(walk, &key))
        ;
    assert_int_equal(meta_walk_end(&walk), 0); /* for who need not have seen all */
    walk = meta_walk_new(db, meta_of_image(META_TAG, IMAGE), NULL);
    while (meta_walk_next(walk, &key))
        good++;
    assert_int_equal(good, 10);
    assert_int_equal(meta_walk_end_whole(&walk), ERR_DAMAGED);
    walk = meta_walk_new(db, meta_of_image(META_TAG, IMAGE), NULL);
    while (meta_walk_step(walk, &key))
        if (key.kind == META_NONE) {
            meta_walk_delete(walk);
            bad++;
        }
    assert_int_equal(bad, 1);
    assert_int_equal(meta_walk_end_whole(&walk), ERR_DAMAGED);
    walk = meta_walk_new(db, meta_of_image(META_TAG, IMAGE), NULL);
    while (meta_walk_next(walk, &key))
        ;
    assert_int_equal(meta_walk_end_whole(&walk), 0);
}

static void test_what_cannot_be_read(void **state)
{
    struct meta_walk *walk;
    struct meta_key key;

    (void)state;
    meta_put_key(db, meta_holder("main", &x, META_LINK, IMAGE));
    assert_int_equal(db_batch_commit(db), 0);
    kv_memory_fail(kv, ERR_IO);
    assert_true(meta_any(db, meta_holders("main", &y))); /* counts as there */
    assert_false(meta_has(db, meta_blob("main", &x)));
    assert_true(db_read_failed(db));
    walk = meta_walk_new(db, meta_holders("main", &x), NULL);
    while (meta_walk_next(walk, &key))
        ;
    assert_int_equal(meta_walk_end(&walk), ERR_IO);
    kv_memory_fail(kv, 0);
    assert_false(meta_any(db, meta_holders("main", &y)));
    assert_true(meta_any(db, meta_holders("main", &x)));
}

struct seen {
    int put, moved, gone;
};

static void see(void *ctx, const struct meta_key *key, const struct db_change *change)
{
    struct seen *seen = ctx;

    assert_true(key->kind == META_TAG && key->tag && (change->was || change->now));
    seen->put += !change->was;
    seen->gone += !change->now;
    seen->moved += change->was && change->now;
}

/* With what was there before: in the batch or committed. */
static void test_changes_as_they_came(void **state)
{
    const struct record_tag record = {.digest = y, .media_type = "a/b"};
    struct seen seen = {0};
    size_t count;

    (void)state;
    ten_tags();                                     /* five are committed, seven collected */
    meta_tag_delete(db, meta_tag(IMAGE, "t9"), &x); /* collected */
    meta_tag_delete(db, meta_tag(IMAGE, "t0"), &x); /* committed */
    db_put(db, "Tno key", 7, "", 0);
    count = meta_batch_since(db, META_TAG, 0, see, &seen);
    assert_true(seen.put == 7 && seen.gone == 2 && seen.moved == 0 && count == 10);
    seen = (struct seen){0};
    meta_tag_put(db, meta_tag(IMAGE, "t8"), &record, &x);
    meta_tag_put(db, meta_tag(IMAGE, "t9"), &record, NULL); /* there once more */
    assert_int_equal(meta_batch_since(db, META_TAG, count, see, &seen), 12);
    assert_true(seen.put == 1 && seen.gone == 0 && seen.moved == 1);
    assert_int_equal(meta_batch_since(db, META_TAG, 12, see, &seen), 12);
    db_batch_discard(db);
    assert_int_equal(meta_batch_since(db, META_TAG, 0, see, &seen), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_tag_and_its_note, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_manifest_and_its_notes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bytes_are_forgotten_with_their_mark, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_walk_in_parts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_where_a_walk_begins, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_walk_over_damage, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_cannot_be_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_changes_as_they_came, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
