/*
 * kv.h - what the metadata lies in: keys and values as bytes, in the order of the keys.
 *
 * The lowest of three layers: kv keeps bytes, db.h collects changes above it and reads through
 * them, records.h and key.h say what the bytes mean. An engine is a table of operations;
 * kv_leveldb.h is the one that serves, tests/unit/kv_memory.h one that only remembers.
 *
 * Keys compare as unsigned bytes, a prefix before what it is a prefix of. All operations block.
 * Reads may come from one thread while another writes; there is one writer at a time.
 */
#ifndef ENTREPOT_META_KV_H
#define ENTREPOT_META_KV_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kv;
struct kv_walk;

/* What a key is to hold; value NULL: it goes. */
struct kv_change {
    const char *key, *value;
    size_t key_len, value_len;
};

struct kv_ops {
    void (*close)(struct kv *kv);
    int (*get)(struct kv *kv, const void *key, size_t key_len, struct str *value_r);
    int (*write)(struct kv *kv, const struct kv_change *const *changes, size_t count);
    struct kv *(*snapshot)(struct kv *kv);
    uint64_t (*bytes)(struct kv *kv, char from, char to);
    struct kv_walk *(*walk)(struct kv *kv, const void *start, size_t start_len);
    bool (*walk_valid)(const struct kv_walk *walk);
    void (*walk_next)(struct kv_walk *walk);
    const char *(*walk_key)(const struct kv_walk *walk, size_t *len_r);
    const char *(*walk_value)(const struct kv_walk *walk, size_t *len_r);
    int (*walk_end)(struct kv_walk *walk);
};

/* What every engine's own begin with. */
struct kv {
    const struct kv_ops *ops;
};

struct kv_walk {
    const struct kv_ops *ops;
};

/* Walks and snapshots of it have ended. Accepts NULL inside. */
static inline void kv_close(struct kv **kv)
{
    if (*kv)
        (*kv)->ops->close(*kv);
    *kv = NULL;
}

/* NOT_FOUND, or IO with a logged reason. value_r (may be NULL) is empty, and is appended to. */
must_check static inline int kv_get(struct kv *kv, const void *key, size_t key_len,
                                    struct str *value_r)
{
    return kv->ops->get(kv, key, key_len, value_r);
}

/* All of them or none, in their order, durable when it returns. After a failure it must be closed
 * and opened again; the reason is logged: NO_SPACE (a quota, too), READ_ONLY, NO_ACCESS, NO_FILES;
 * IO: all else. */
must_check static inline int kv_write(struct kv *kv, const struct kv_change *const *changes,
                                      size_t count)
{
    return kv->ops->write(kv, changes, count);
}

/* What is there now, whatever is written later; it cannot be written. The caller closes it. */
static inline struct kv *kv_snapshot(struct kv *kv)
{
    return kv->ops->snapshot(kv);
}

/* About how much room the keys from one first byte up to another (not included) take; what was
 * written lately may be missing. */
static inline uint64_t kv_bytes(struct kv *kv, char from, char to)
{
    return kv->ops->bytes(kv, from, to);
}

/* Goes from the first key at or behind `start` to the last of all; sees what is there now. */
static inline struct kv_walk *kv_walk(struct kv *kv, const void *start, size_t start_len)
{
    return kv->ops->walk(kv, start, start_len);
}

static inline bool kv_walk_valid(const struct kv_walk *walk)
{
    return walk->ops->walk_valid(walk);
}

static inline void kv_walk_next(struct kv_walk *walk)
{
    walk->ops->walk_next(walk);
}

/* They live until the next step. */
static inline const char *kv_walk_key(const struct kv_walk *walk, size_t *len_r)
{
    return walk->ops->walk_key(walk, len_r);
}

static inline const char *kv_walk_value(const struct kv_walk *walk, size_t *len_r)
{
    return walk->ops->walk_value(walk, len_r);
}

/* Frees; IO, with a logged reason, when it ended because of an error. */
must_check static inline int kv_walk_end(struct kv_walk **walk)
{
    int err = (*walk)->ops->walk_end(*walk);

    *walk = NULL;
    return err;
}

#endif
