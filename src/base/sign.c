/*
 * sign.c - Ed25519 and HMAC through OpenSSL. Any process; owns its keys in memory.
 *
 * A crash leaves nothing.
 */
#include "base/sign.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/must.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

struct sign_key {
    EVP_PKEY *pkey;
};

struct sign_mac {
    EVP_MAC_CTX *ctx; /* keyed; begun anew for each message */
};

static struct sign_key *key_of(EVP_PKEY *pkey)
{
    struct sign_key *key = mem_alloc(sizeof(*key));

    key->pkey = pkey;
    return key;
}

struct sign_key *sign_key_private(const uint8_t bytes[SIGN_PRIVATE_BYTES])
{
    EVP_PKEY *pkey =
        EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, bytes, SIGN_PRIVATE_BYTES);

    MUST(pkey); /* any 32 bytes are one */
    return key_of(pkey);
}

struct sign_key *sign_key_public(const uint8_t bytes[SIGN_PUBLIC_BYTES])
{
    EVP_PKEY *pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, bytes, SIGN_PUBLIC_BYTES);

    return pkey ? key_of(pkey) : NULL;
}

void sign_key_free(struct sign_key **key)
{
    if (!*key)
        return;
    EVP_PKEY_free((*key)->pkey);
    free(*key);
    *key = NULL;
}

void sign_key_publish(const struct sign_key *key, uint8_t out[SIGN_PUBLIC_BYTES])
{
    size_t len = SIGN_PUBLIC_BYTES;

    MUST(EVP_PKEY_get_raw_public_key(key->pkey, out, &len) == 1 && len == SIGN_PUBLIC_BYTES);
}

void sign_make(const struct sign_key *key, const void *data, size_t len, uint8_t out[SIGN_BYTES])
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t out_len = SIGN_BYTES;

    MUST(ctx && EVP_DigestSignInit(ctx, NULL, NULL, NULL, key->pkey) == 1);
    MUST(EVP_DigestSign(ctx, out, &out_len, data, len) == 1 && out_len == SIGN_BYTES);
    EVP_MD_CTX_free(ctx);
}

int sign_check(const struct sign_key *key, const void *data, size_t len,
               const uint8_t signature[SIGN_BYTES])
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    int good;

    MUST(ctx && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, key->pkey) == 1);
    good = EVP_DigestVerify(ctx, signature, SIGN_BYTES, data, len);
    EVP_MD_CTX_free(ctx);
    return good == 1 ? 0 : ERR_DENIED;
}

struct sign_mac *sign_mac_new(void)
{
    struct sign_mac *mac = mem_alloc(sizeof(*mac));
    EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    char name[] = "SHA256";
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0),
                           OSSL_PARAM_construct_end()};
    uint8_t key[SIGN_MAC_BYTES];

    file_random(key, sizeof(key));
    MUST(hmac);
    mac->ctx = EVP_MAC_CTX_new(hmac);
    EVP_MAC_free(hmac);
    MUST(mac->ctx && EVP_MAC_init(mac->ctx, key, sizeof(key), params) == 1);
    explicit_bzero(key, sizeof(key));
    return mac;
}

void sign_mac_of(struct sign_mac *mac, const void *data, size_t len, uint8_t out[SIGN_MAC_BYTES])
{
    size_t out_len;

    MUST(EVP_MAC_init(mac->ctx, NULL, 0, NULL) == 1); /* the same key again */
    MUST(EVP_MAC_update(mac->ctx, data, len) == 1);
    MUST(EVP_MAC_final(mac->ctx, out, &out_len, SIGN_MAC_BYTES) == 1);
}
