/*
 * siphash.h - SipHash-2-4 with 128-bit output: keyed hashing of names that
 * strangers choose. (Aumasson, Bernstein: "SipHash: a fast short-input PRF".)
 * OpenSSL's EVP_MAC does the same at ten times the price a call, and this sits
 * in every index lookup.
 */
#ifndef ENTREPOT_BASE_SIPHASH_H
#define ENTREPOT_BASE_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

void siphash_128(const uint8_t key[16], const void *data, size_t len, uint64_t out[2]);

#endif
