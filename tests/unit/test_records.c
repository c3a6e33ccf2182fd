/* Keys and values of the database as bytes. The golden ones are what releases of years ago wrote: a
 * change of them is a change of META_FORMAT. */
#include "check.h"

#include "meta/codec.h"
#include "meta/key.h"
#include "meta/values.h"

#define X256 "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881" /* of "x" */
#define Y512                                                                                       \
    "121b4774a759924a2929c4a412fb6e31b9aaa746466840efcc4a76d69a94149e"                             \
    "2364e3983d646feafaa1b511785e5c9e90aedc30da6a6bead5520ecc99c6626a" /* of "y" */
#define MANIFEST                                                                                   \
    "01bc0200000000000001f1536500000000"                                                           \
    "00"                                                                                           \
    "04000000612f62000100000000"                                                                   \
    "01" X256 "02000000"                                                                           \
    "0100020000000000000001" X256 "02012c0100000000000002" Y512 "01000000"                         \
    "020000006b000600000076616c756500"

static struct digest x, y;
static struct manifest_ref refs[2];
static struct manifest_annotation annotation = {"k", "value"};

static struct record_manifest manifest_here(void)
{
    digest_of(DIGEST_SHA256, "x", 1, &x);
    digest_of(DIGEST_SHA512, "y", 1, &y);
    refs[0] = (struct manifest_ref){.kind = MANIFEST_REF_CONFIG, .size = 2, .digest = x};
    refs[1] =
        (struct manifest_ref){.kind = MANIFEST_REF_LAYER, .exempt = true, .size = 300, .digest = y};
    return (struct record_manifest){.size = 700,
                                    .time = 1700000001,
                                    .contents = {.media_type = "a/b",
                                                 .subject = x,
                                                 .refs = refs,
                                                 .ref_count = 2,
                                                 .annotations = &annotation,
                                                 .annotation_count = 1}};
}

static void is_golden(struct str *value, const char *hex)
{
    struct str text = {0};

    for (size_t i = 0; i < value->len; i++)
        str_printf(&text, "%02x", (unsigned char)value->data[i]);
    assert_string_equal(text.data, hex);
    str_free(&text);
}

static void test_golden_values(void **state)
{
    struct record_blob blob = {.size = 0x0102030405060708, .time = 1700000000};
    struct record_manifest manifest = manifest_here();
    struct record_tag tag = {.digest = x, .size = 5, .time = 1700000000, .media_type = "a/b"};
    struct str value = {0};

    (void)state;
    record_blob_encode(&value, &blob);
    is_golden(&value, "01080706050403020100f1536500000000");
    record_tag_encode(&value, &tag);
    is_golden(&value, "0101" X256 "050000000000000000f153650000000004000000612f6200");
    record_manifest_encode(&value, &manifest);
    is_golden(&value, MANIFEST);
    str_free(&value);
}

static void test_a_manifest_comes_back(void **state)
{
    struct record_manifest manifest = manifest_here(), got;
    struct mem_arena *arena = mem_arena_new();
    struct str value = {0};
    const char *type;
    uint64_t size;

    (void)state;
    record_manifest_encode(&value, &manifest);
    assert_int_equal(record_manifest_decode(value.data, value.len, arena, &got), 0);
    assert_true(got.size == 700 && got.time == 1700000001 && !got.contents.is_index);
    assert_string_equal(got.contents.media_type, "a/b");
    assert_null(got.contents.artifact_type);
    assert_true(digest_equal(&got.contents.subject, &x));
    assert_int_equal(got.contents.ref_count, 2);
    assert_true(got.contents.refs[1].exempt && got.contents.refs[1].size == 300);
    assert_true(digest_equal(&got.contents.refs[1].digest, &y));
    assert_string_equal(got.contents.annotations[0].value, "value");
    assert_int_equal(record_manifest_peek(value.data, value.len, &size, &type), 0);
    assert_true(size == 700);
    assert_string_equal(type, "a/b");
    for (size_t len = 0; len < value.len; len++) /* every cut is noticed */
        assert_int_equal(record_manifest_decode(value.data, len, arena, &got), ERR_DAMAGED);
    str_putc(&value, 0); /* and what is too long */
    assert_int_equal(record_manifest_decode(value.data, value.len, arena, &got), ERR_DAMAGED);
    value.data[0] = 99; /* another version */
    assert_int_equal(record_manifest_decode(value.data, value.len - 1, arena, &got), ERR_DAMAGED);
    assert_int_equal(record_manifest_peek(value.data, value.len, &size, &type), ERR_DAMAGED);
    str_free(&value);
    mem_arena_free(&arena);
}

static void test_what_lists_show_of_a_referrer(void **state)
{
    struct record_manifest manifest = manifest_here(), got;
    struct mem_arena *arena = mem_arena_new();
    struct str value = {0};

    (void)state;
    record_referrer_encode(&value, &manifest);
    is_golden(&value, "01bc02000000000000"
                      "04000000612f620001000000000"
                      "1000000020000006b000600000076616c756500");
    assert_int_equal(record_referrer_decode(value.data, value.len, arena, &got), 0);
    assert_true(got.size == 700 && got.contents.ref_count == 0 && got.contents.subject.alg == 0);
    assert_string_equal(got.contents.media_type, "a/b");
    assert_null(got.contents.artifact_type);
    assert_int_equal(got.contents.annotation_count, 1);
    assert_string_equal(got.contents.annotations[0].key, "k");
    assert_string_equal(got.contents.annotations[0].value, "value");
    for (size_t len = 0; len < value.len; len++) /* also of before there was a value: empty */
        assert_int_equal(record_referrer_decode(value.data, len, arena, &got), ERR_DAMAGED);
    manifest.contents.artifact_type = "c/d";
    annotation.value = mem_arena_alloc(arena, MANIFEST_ANNOTATIONS_SHOWN + 1);
    memset((char *)annotation.value, 'x', MANIFEST_ANNOTATIONS_SHOWN);
    record_referrer_encode(&value, &manifest); /* a manifest's record of before the bound */
    assert_int_equal(record_referrer_decode(value.data, value.len, arena, &got), 0);
    assert_string_equal(got.contents.artifact_type, "c/d");
    assert_int_equal(got.contents.annotation_count, 0);
    annotation.value = "value";
    str_free(&value);
    mem_arena_free(&arena);
}

static void test_whether_a_parent_is_an_index(void **state)
{
    struct str value = {0};
    bool index = true;

    (void)state;
    record_parent_encode(&value, false);
    is_golden(&value, "0100");
    assert_int_equal(record_parent_decode(value.data, value.len, &index), 0);
    assert_false(index);
    record_parent_encode(&value, true);
    is_golden(&value, "0101");
    assert_int_equal(record_parent_decode(value.data, value.len, &index), 0);
    assert_true(index);
    for (size_t len = 0; len < value.len; len++)
        assert_int_equal(record_parent_decode(value.data, len, &index), ERR_DAMAGED);
    str_free(&value);
}

static void test_a_count_allocates_nothing_beyond_the_value(void **state)
{
    const size_t counts[] = {18 + 8 + 5 + 33, 18 + 8 + 5 + 33 + 4 + 43 + 75};
    struct record_manifest manifest = manifest_here(), got;
    struct mem_arena *arena = mem_arena_new();
    struct str value = {0};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        record_manifest_encode(&value, &manifest);
        assert_int_equal((unsigned char)value.data[counts[i]], 2 - i); /* here it stands */
        memset(value.data + counts[i], 0xff, 4);
        assert_int_equal(record_manifest_decode(value.data, value.len, arena, &got), ERR_DAMAGED);
        assert_true((i ? got.contents.annotation_count : got.contents.ref_count) == 0);
    }
    str_free(&value);
    mem_arena_free(&arena);
}

static void test_texts_and_digests(void **state)
{
    const char *bad[] = {"\1\0\0\0\0", "\1\2\0\0\0ab", "\1\3\0\0\0a\0\0", "\1\0\0\0"};
    const size_t bad_len[] = {5, 7, 8, 4};
    struct codec_reader r;
    struct digest d;

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        r = codec_open(bad[i], bad_len[i], 1);
        assert_string_equal(codec_get_text(&r, 100), "");
        assert_int_equal(codec_end(&r), ERR_DAMAGED);
    }
    r = codec_open("\1\3\0\0\0ab\0", 8, 1);
    assert_string_equal(codec_get_text(&r, 2), "ab");
    assert_int_equal(codec_end(&r), 0);
    r = codec_open("\1\3\0\0\0ab\0", 8, 1);
    assert_string_equal(codec_get_text(&r, 1), ""); /* too long */
    assert_int_equal(codec_end(&r), ERR_DAMAGED);
    r = codec_open("\1\0", 2, 1);
    codec_get_digest(&r, true, &d);
    assert_int_equal(codec_end(&r), 0);
    r = codec_open("\1\0", 2, 1);
    codec_get_digest(&r, false, &d); /* none where one must be */
    assert_int_equal(codec_end(&r), ERR_DAMAGED);
    r = codec_open("\1\7", 2, 1);
    codec_get_digest(&r, true, &d); /* an unknown algorithm */
    assert_int_equal(codec_end(&r), ERR_DAMAGED);
    assert_int_equal(d.alg, 0);
}

/* One of each kind, as it lies on disks. */
static void test_golden_keys(void **state)
{
    const struct {
        const char *hex;
        struct meta_key key;
    } golden[] = {
#define REPO_IMAGE                                                                                 \
    "7265706f00"                                                                                   \
    "616e2f696d61676500"
#define STORE "6d61696e00"
#define TAG   "763100"
        {"42" STORE "01" X256, meta_blob("main", &x)},
        {"44" STORE "02" Y512, meta_damage("main", &y)},
        {"47" REPO_IMAGE "01" X256 TAG, meta_tag_on("repo", "an/image", &x, "v1")},
        {"49" REPO_IMAGE, meta_image("repo", "an/image")},
        {"4a" STORE, {.kind = META_JOURNAL, .store = "main"}},
        {"4b" REPO_IMAGE "01" X256 "02" Y512, meta_by(META_PARENT, "repo", "an/image", &x, &y)},
        {"4c" REPO_IMAGE "01" X256, meta_at(META_LINK, "repo", "an/image", &x)},
        {"4d" REPO_IMAGE "02" Y512, meta_at(META_MANIFEST, "repo", "an/image", &y)},
        {"4e" STORE, {.kind = META_STORE, .store = "main"}},
        {"51"
         "0000000065530df1" REPO_IMAGE "01" X256,
         meta_suspect(1699941873, "repo", "an/image", &x)},
        {"52" REPO_IMAGE "01" X256 "01" X256, meta_by(META_REFERRER, "repo", "an/image", &x, &x)},
        {"53", {.kind = META_SCRUB}},
        {"54" REPO_IMAGE TAG, meta_tag("repo", "an/image", "v1")},
        {"55" STORE "01" X256 "4d" REPO_IMAGE,
         meta_holder("main", &x, META_MANIFEST, "repo", "an/image")},
        {"56", {.kind = META_VERSION}},
    };
    struct str bytes = {0};
    struct meta_place place, again;
    struct meta_key got;

    (void)state;
    for (size_t i = 0; i < sizeof(golden) / sizeof(golden[0]); i++) {
        meta_place_of(&golden[i].key, &place);
        str_reset(&bytes);
        str_append(&bytes, place.data, place.len);
        is_golden(&bytes, golden[i].hex);
        assert_true(meta_key_read(place.data, place.len, &got));
        assert_true(got.kind == golden[i].key.kind);
        meta_place_of(&got, &again);
        assert_int_equal(again.len, place.len);
        assert_memory_equal(again.data, place.data, place.len);
        for (size_t len = 0; len < place.len; len++) { /* every cut is noticed */
            assert_false(meta_key_read(place.data, len, &got));
            assert_true(got.kind == META_NONE);
        }
        place.data[place.len] = 'x'; /* and what is too long */
        assert_false(meta_key_read(place.data, place.len + 1, &got));
    }
    str_free(&bytes);
}

static void test_keys_that_say_nothing(void **state)
{
    const struct meta_key held = meta_holder("main", &x, META_LINK, "r", "i");
    struct meta_place place;
    struct meta_key got;

    (void)state;
    meta_place_of(&held, &place);
    place.data[1 + 5 + 33] = 'T'; /* holds as nothing can */
    assert_false(meta_key_read(place.data, place.len, &got));
    place.data[1 + 5] = 9; /* an unknown algorithm */
    assert_false(meta_key_read(place.data, place.len, &got));
    assert_false(meta_key_read("Z", 1, &got));
    assert_false(meta_key_read("\xff", 1, &got));
    assert_false(meta_key_read("\0", 1, &got));
    assert_false(meta_key_read("", 0, &got));
}

/* What is not set, and all behind it, is left out. */
static void test_keys_as_prefixes(void **state)
{
    const struct meta_key tag = meta_tag("r", "i", "t");
    struct meta_key part = tag;
    struct meta_place whole, begin;

    (void)state;
    meta_place_of(&tag, &whole);
    part.tag = NULL;
    meta_place_of(&part, &begin);
    assert_int_equal(begin.len, 5);
    assert_memory_equal(begin.data, whole.data, begin.len);
    part.repo = NULL; /* the image stands behind it */
    meta_place_of(&part, &begin);
    assert_int_equal(begin.len, 1);
    part = (struct meta_key){.kind = META_SUSPECT};
    meta_place_of(&part, &begin);
    assert_int_equal(begin.len, 1);
    part.time = 7;
    meta_place_of(&part, &begin);
    assert_int_equal(begin.len, 9);
    part = meta_suspect(0, "r", "i", &x); /* a time that is 0 is one */
    meta_place_of(&part, &begin);
    assert_int_equal(begin.len, 1 + 8 + 4 + 33);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_values),
        cmocka_unit_test(test_a_manifest_comes_back),
        cmocka_unit_test(test_what_lists_show_of_a_referrer),
        cmocka_unit_test(test_whether_a_parent_is_an_index),
        cmocka_unit_test(test_a_count_allocates_nothing_beyond_the_value),
        cmocka_unit_test(test_texts_and_digests),
        cmocka_unit_test(test_golden_keys),
        cmocka_unit_test(test_keys_that_say_nothing),
        cmocka_unit_test(test_keys_as_prefixes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
