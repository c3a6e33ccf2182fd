/*
 * keys.h - the database's keys.
 *
 * A key is a letter, then its fields: strings end in NUL (no name holds one),
 * digests are algorithm byte + bytes, times are big-endian seconds.
 *
 *   B store digest                    blob: size, time
 *   L repo image digest               link, "this image has that blob": size, time
 *   M repo image digest               manifest: size, time, contents
 *   T repo image tag                  tag: digest, size, media type, time
 *   G repo image digest tag           back-reference: a tag on a manifest
 *   K repo image child manifest       back-reference: a manifest names this child: is it an index
 *   R repo image subject manifest     back-reference: a manifest has this subject: what lists show
 *   U store digest kind repo image    back-reference: who keeps these bytes; kind L or M
 *   I repo image                      image: time of its first content
 *   Q time repo image digest          may be garbage since then: nobody referred to it
 *   D store digest                    damaged: its bytes had changed; held by images all the same
 *   S                                 scrub: since when, up to which key
 *   J store                           number of the last line of its journal (witness.h)
 *   N store-id                        a blob store of ours: its names here and in the configuration
 *   V                                 version of all this, and whose it is (identity.h)
 *
 * What the values hold: records.h.
 */
#ifndef ENTREPOT_META_KEYS_H
#define ENTREPOT_META_KEYS_H

#include "base/digest.h"
#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

#define KEY_MAX 1024

struct key {
    size_t len;
    char data[KEY_MAX];
};

/* Each call appends a field; fields are bounded by their grammars, MUST otherwise. */
void key_begin(struct key *k, char letter);
void key_str(struct key *k, const char *text);
/* A string without its end: for prefixes and seeks. */
void key_part(struct key *k, const char *text);
void key_digest(struct key *k, const struct digest *d);
void key_char(struct key *k, char c);
void key_time(struct key *k, uint64_t seconds);
/* letter, repo, image */
void key_image(struct key *k, char letter, const char *repo, const char *image);

/* B */
void key_blob(struct key *k, const char *store, const struct digest *digest);
/* U of all who keep these bytes: a prefix. */
void key_holders(struct key *k, const char *store, const struct digest *digest);
/* U. kind: 'L' or 'M' */
void key_holder(struct key *k, const char *store, const struct digest *digest, char kind,
                const char *repo, const char *image);
/* Q */
void key_suspect(struct key *k, uint64_t seconds, const char *repo, const char *image,
                 const struct digest *digest);
/* D */
void key_damage(struct key *k, const char *store, const struct digest *digest);

/* Reading keys that a walk yields. A malformed key makes every get fail. */
struct key_reader {
    const char *data;
    size_t len, at;
    bool bad;
};

void key_reader_init(struct key_reader *r, const char *data, size_t len);
char key_get_char(struct key_reader *r);
uint64_t key_get_time(struct key_reader *r);
const char *key_get_str(struct key_reader *r); /* points into the key; "" when bad */
void key_get_digest(struct key_reader *r, struct digest *d_r);
/* 0 when all was consumed and well-formed, DAMAGED otherwise. */
must_check int key_end(const struct key_reader *r);

#endif
