/*
 * values.h - the database's values (key.h has the keys): a version byte, then fields as codec.h
 * writes them.
 */
#ifndef ENTREPOT_META_VALUES_H
#define ENTREPOT_META_VALUES_H

#include "base/digest.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "oci/manifest.h"

#include <stddef.h>
#include <stdint.h>

/* The first byte of every value. */
#define RECORD_VERSION 1

/* Encoding replaces what `out` held. Decoding fails with DAMAGED. */
struct record_blob { /* B and L */
    uint64_t size, time;
};
struct record_tag {
    struct digest digest;
    uint64_t size, time;
    const char *media_type; /* points into the value */
};
struct record_manifest {
    uint64_t size, time;
    struct manifest contents; /* strings point into the value, arrays into the arena */
};

/* R: what a list of referrers shows, so that it need not read their manifests. It follows from the
 * manifest's record alone. Before there was such a value it was empty, and is so still where
 * nobody put the manifest again: then the manifest's record tells. */
void record_referrer_encode(struct str *out, const struct record_manifest *m);
/* size, and of the contents media type, artifact type and annotations; DAMAGED also when empty. */
must_check int record_referrer_decode(const char *data, size_t len, struct mem_arena *arena,
                                      struct record_manifest *m_r);

/* K: is the manifest that names the child an index? So that a delete of the child need not read
 * all that name it. Follows from the manifest's record; empty of before, as in R. */
void record_parent_encode(struct str *out, bool is_index);
must_check int record_parent_decode(const char *data, size_t len, bool *is_index_r);

void record_blob_encode(struct str *out, const struct record_blob *b);
must_check int record_blob_decode(const char *data, size_t len, struct record_blob *b_r);
void record_tag_encode(struct str *out, const struct record_tag *t);
must_check int record_tag_decode(const char *data, size_t len, struct record_tag *t_r);
void record_manifest_encode(struct str *out, const struct record_manifest *m);
must_check int record_manifest_decode(const char *data, size_t len, struct mem_arena *arena,
                                      struct record_manifest *m_r);
/* Only what the index needs, without the arrays. */
must_check int record_manifest_peek(const char *data, size_t len, uint64_t *size_r,
                                    const char **media_type_r);

#endif
