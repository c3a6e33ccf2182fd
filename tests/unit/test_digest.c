#include "check.h"

#include "base/digest.h"
#include "base/siphash.h"
#include "base/str.h"

#define EMPTY "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define ABC512                                                                                     \
    "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"                      \
    "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"

static void test_known_values(void **state)
{
    struct digest d, parsed;
    char text[DIGEST_TEXT_MAX];

    (void)state;
    digest_of(DIGEST_SHA256, "", 0, &d);
    assert_string_equal(digest_text(&d, text), EMPTY);
    assert_int_equal(digest_parse(EMPTY, &parsed), 0);
    assert_true(digest_equal(&d, &parsed));
    digest_of(DIGEST_SHA512, "abc", 3, &d);
    assert_string_equal(digest_text(&d, text), ABC512);
    assert_int_equal(digest_parse(ABC512, &parsed), 0);
    assert_true(digest_equal(&d, &parsed));
}

static void test_malformed(void **state)
{
    static const char *const bad[] = {
        "",
        ":",
        "sha256",
        "sha256:",
        "sha256:e3b0",
        EMPTY "0",
        "SHA256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "sha256:E3B0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "sha512:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "md5:d41d8cd98f00b204e9800998ecf8427e",
        "sha256:../../../../../../../../../../etc/passwd",
    };
    const struct digest none = {0};
    struct digest d;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(digest_parse(bad[i], &d), ERR_INVALID);
        assert_memory_equal(&d, &none, sizeof(d)); /* never half a digest */
    }
}

static void test_incremental(void **state)
{
    struct digest_ctx *ctx = digest_ctx_new(DIGEST_SHA256);
    struct digest whole, pieces;

    (void)state;
    digest_ctx_update(ctx, "hello ", 6);
    digest_ctx_peek(ctx, &pieces);
    digest_of(DIGEST_SHA256, "hello ", 6, &whole);
    assert_true(digest_equal(&whole, &pieces));
    digest_ctx_update(ctx, "world", 5); /* a peek does not end it */
    digest_ctx_peek(ctx, &pieces);
    digest_of(DIGEST_SHA256, "hello world", 11, &whole);
    assert_true(digest_equal(&whole, &pieces));
    digest_ctx_free(&ctx);
    assert_null(ctx);
}

static void test_file(void **state)
{
    FILE *f = tmpfile();
    struct digest d, expected;
    char *data = calloc(1, 700000);

    (void)state;
    assert_non_null(f);
    memset(data, 'x', 700000);
    assert_int_equal(fwrite(data, 1, 700000, f), 700000);
    fflush(f);
    assert_int_equal(digest_of_file(DIGEST_SHA512, fileno(f), 699999, &d), 0);
    digest_of(DIGEST_SHA512, data, 699999, &expected);
    assert_true(digest_equal(&d, &expected));
    assert_int_equal(digest_of_file(DIGEST_SHA256, fileno(f), 700001, &d), ERR_IO);
    fclose(f);
    free(data);
}

/* Values of the authors' reference implementation: key 00..0f, input 00..(n-1). */
static void test_siphash(void **state)
{
    static const struct {
        size_t len;
        const char *hex;
    } known[] = {
        {0, "a3817f04ba25a8e66df67214c7550293"},  {1, "da87c1d86b99af44347659119b22fc45"},
        {7, "a1f1ebbed8dbc153c0b84aa61ff08239"},  {8, "3b62a9ba6258f5610f83e264f31497b4"},
        {15, "5493e99933b0a8117e08ec0f97cfc3d9"}, {16, "6ee2a4ca67b054bbfd3315bf85230577"},
    };
    uint8_t key[16], input[16];

    (void)state;
    for (int i = 0; i < 16; i++)
        key[i] = input[i] = (uint8_t)i;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        uint64_t out[2];
        uint8_t le[16];
        char hex[33];

        siphash_128(key, input, known[i].len, out);
        for (int b = 0; b < 16; b++)
            le[b] = (uint8_t)(out[b / 8] >> (8 * (b % 8)));
        str_hex(le, 16, hex);
        assert_string_equal(hex, known[i].hex);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_values), cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_incremental),  cmocka_unit_test(test_file),
        cmocka_unit_test(test_siphash),
    };

    return cmocka_run_group_tests_name("digest", tests, NULL, NULL);
}
