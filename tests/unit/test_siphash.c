#include "check.h"

#include "base/siphash.h"
#include "base/str.h"

#include <openssl/evp.h>
#include <openssl/params.h>

#define INPUT_MAX 300

static void hash_hex(const uint8_t key[16], const void *data, size_t len, char hex[33])
{
    uint64_t out[2];
    uint8_t le[16];

    siphash_128(key, data, len, out);
    for (int b = 0; b < 16; b++)
        le[b] = (uint8_t)(out[b / 8] >> (8 * (b % 8)));
    str_hex(le, sizeof(le), hex);
}

/* libcrypto's SipHash (2-4 rounds are its default) is the second opinion. */
static void oracle_hex(const uint8_t key[16], const void *data, size_t len, char hex[33])
{
    size_t size = 16;
    OSSL_PARAM params[] = {OSSL_PARAM_construct_size_t("size", &size), OSSL_PARAM_construct_end()};
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "SIPHASH", NULL);
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(mac);
    uint8_t out[16];

    assert_non_null(ctx);
    assert_int_equal(EVP_MAC_init(ctx, key, 16, params), 1);
    assert_int_equal(EVP_MAC_update(ctx, data, len), 1);
    assert_int_equal(EVP_MAC_final(ctx, out, &size, sizeof(out)), 1);
    assert_int_equal(size, 16);
    str_hex(out, sizeof(out), hex);
    EVP_MAC_CTX_free(ctx);
    EVP_MAC_free(mac);
}

/* Of the authors' vectors (key 00..0f, input 00..n-1), the first and the last. */
static void test_reference_vectors(void **state)
{
    uint8_t key[16], input[63];
    char hex[33];

    (void)state;
    for (int i = 0; i < 63; i++)
        input[i] = (uint8_t)i;
    memcpy(key, input, sizeof(key));
    hash_hex(key, input, 0, hex);
    assert_string_equal(hex, "a3817f04ba25a8e66df67214c7550293");
    hash_hex(key, input, 63, hex);
    assert_string_equal(hex, "5150d1772f50834a503e069a973fbd7c");
}

/* Past 255 bytes the length in the last word wraps. */
static void test_every_length_agrees(void **state)
{
    uint8_t key[16], input[INPUT_MAX];
    char mine[33], other[33];

    (void)state;
    for (size_t i = 0; i < sizeof(key); i++)
        key[i] = (uint8_t)(i * 151 + 200);
    for (size_t i = 0; i < sizeof(input); i++)
        input[i] = (uint8_t)(i * 37 + 129);
    for (size_t len = 0; len <= sizeof(input); len++) {
        hash_hex(key, input, len, mine);
        oracle_hex(key, input, len, other);
        assert_string_equal(mine, other);
    }
}

static void test_alignment_does_not_matter(void **state)
{
    static const uint8_t key[16] = "0123456789abcde";
    _Alignas(8) char buffer[64];
    char first[33], again[33];

    (void)state;
    hash_hex(key, "library/debian:12", 17, first);
    for (size_t shift = 0; shift < 8; shift++) {
        memcpy(buffer + shift, "library/debian:12", 17);
        hash_hex(key, buffer + shift, 17, again);
        assert_string_equal(again, first);
    }
}

static void test_key_matters(void **state)
{
    uint8_t key[16] = {0};
    char first[33], other[33];

    (void)state;
    hash_hex(key, "x", 1, first);
    for (int bit = 0; bit < 128; bit++) {
        key[bit / 8] ^= (uint8_t)(1 << bit % 8);
        hash_hex(key, "x", 1, other);
        assert_string_not_equal(other, first);
        key[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference_vectors),
        cmocka_unit_test(test_every_length_agrees),
        cmocka_unit_test(test_alignment_does_not_matter),
        cmocka_unit_test(test_key_matters),
    };

    return cmocka_run_group_tests_name("siphash", tests, NULL, NULL);
}
