/*
 * sign.h - signatures (Ed25519, RFC 8032) and keyed hashes (HMAC-SHA-256, RFC
 * 2104). The only user of libcrypto's keys and MACs outside TLS.
 */
#ifndef ENTREPOT_BASE_SIGN_H
#define ENTREPOT_BASE_SIGN_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

#define SIGN_PRIVATE_BYTES 32
#define SIGN_PUBLIC_BYTES  32
#define SIGN_BYTES         64
#define SIGN_MAC_BYTES     32

/* Half of a pair. */
struct sign_key;

struct sign_key *sign_key_private(const uint8_t bytes[SIGN_PRIVATE_BYTES]);
/* NULL when the bytes are no key. */
struct sign_key *sign_key_public(const uint8_t bytes[SIGN_PUBLIC_BYTES]);
void sign_key_free(struct sign_key **key);
/* The public half of a private key. */
void sign_key_publish(const struct sign_key *key, uint8_t out[SIGN_PUBLIC_BYTES]);
void sign_make(const struct sign_key *key, const void *data, size_t len, uint8_t out[SIGN_BYTES]);
/* DENIED when the signature is not the key's over these bytes. */
must_check int sign_check(const struct sign_key *key, const void *data, size_t len,
                          const uint8_t signature[SIGN_BYTES]);

/* A keyed hash with a random key, as long as the process lives. */
struct sign_mac;
struct sign_mac *sign_mac_new(void);
void sign_mac_of(struct sign_mac *mac, const void *data, size_t len, uint8_t out[SIGN_MAC_BYTES]);

#endif
