/*
 * hot.h - what is pulled often: small objects in memory, large ones as open files.
 *
 * One a worker. Content is named by its digest, so it is never out of date;
 * whether an image has it, the index says before anybody looks here. Bounded in
 * bytes and descriptors, least recently used first out.
 */
#ifndef ENTREPOT_API_HOT_H
#define ENTREPOT_API_HOT_H

#include "base/digest.h"
#include "base/err.h"
#include "store/store.h"

#include <stdbool.h>
#include <time.h>

/* Larger ones are sent from the page cache: many slow readers would each hold a copy, or keep
 * many of them here. */
#define HOT_SMALL_MAX 65536

struct hot_object {
    uint64_t size;
    const char *data; /* its bytes, hashed when they were read; or NULL and */
    int fd;           /* the open file; else -1 */
    bool verified;    /* the file was hashed, and has not changed since `changed` (st_ctim) */
    struct timespec changed;
};

struct hot;

struct hot *hot_new(size_t bytes_max, size_t files_max);
void hot_free(struct hot **hot);
/* The object if it is here; it stays valid until hot_release. `verify`: a file only when it was
 * hashed. */
const struct hot_object *hot_find(struct hot *hot, const struct digest *digest, uint64_t size,
                                  bool verify);
/* Reads it from the store. Blocks: for a pool thread. NOT_FOUND, DAMAGED (another
 * length), MISMATCH (bytes with another digest), NO_FILES, IO. `verify`: files are hashed, too. */
must_check int hot_read(const struct store *store, const struct digest *digest, uint64_t size,
                        bool verify, struct hot_object *object_r);
/* Takes over what was read; valid until hot_release. */
const struct hot_object *hot_add(struct hot *hot, const struct digest *digest,
                                 const struct hot_object *object);
void hot_release(const struct hot_object *object);

#endif
