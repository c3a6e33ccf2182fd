/*
 * codec.h - how values stand on the disk: fields one after the other, numbers little-endian.
 *
 * Not the encoding of messages (ipc/msg.h), which may change with any release: what is written
 * here is read by the releases of years to come. tests/unit/test_records.c holds the bytes.
 *
 *   u8, u32, u64   little-endian
 *   bytes          u32 count, the bytes
 *   text           bytes, the last of them a NUL, no other
 *   digest         u8 enum digest_alg (0: none), its bytes
 */
#ifndef ENTREPOT_META_CODEC_H
#define ENTREPOT_META_CODEC_H

#include "base/digest.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void codec_put_u8(struct str *out, uint8_t v);
void codec_put_u32(struct str *out, uint32_t v);
void codec_put_u64(struct str *out, uint64_t v);
void codec_put_bytes(struct str *out, const void *data, size_t len);
void codec_put_text(struct str *out, const char *text); /* NULL as "" */
void codec_put_digest(struct str *out, const struct digest *d);

/* Once a field is not there or malformed all that follow are 0, "" or no digest. */
struct codec_reader {
    const char *data;
    size_t len, at;
    bool bad;
};

/* Begins behind the version byte that every value starts with; bad when it is another one. */
struct codec_reader codec_open(const void *data, size_t len, uint8_t version);
uint8_t codec_get_u8(struct codec_reader *r);
uint32_t codec_get_u32(struct codec_reader *r);
uint64_t codec_get_u64(struct codec_reader *r);
/* So many bytes without a count before them; zeroes when they are not there. */
void codec_get_raw(struct codec_reader *r, void *out, size_t len);
/* These point into the value. More than max bytes, the NUL of a text not counted, is malformed. */
const void *codec_get_bytes(struct codec_reader *r, size_t max, size_t *len_r);
const char *codec_get_text(struct codec_reader *r, size_t max);
/* optional: algorithm 0 is well-formed. */
void codec_get_digest(struct codec_reader *r, bool optional, struct digest *d_r);
/* 0 when all was consumed and well-formed, DAMAGED otherwise. */
must_check int codec_end(const struct codec_reader *r);

#endif
