/*
 * kv_memory.c - a sorted array of pairs. A walk, like a snapshot, has a copy of its own.
 */
#include "kv_memory.h"

#include "base/mem.h"
#include "base/must.h"

#include <stdlib.h>
#include <string.h>

struct pair {
    struct str key, value;
};

struct engine {
    struct kv kv;
    struct pair *pairs;
    size_t count;
    int fails;
    bool snapshot;
};

struct walk {
    struct kv_walk walk;
    struct engine *copy;
    size_t at;
};

static int compare(const struct pair *pair, const void *key, size_t len)
{
    int order = memcmp(pair->key.data, key, pair->key.len < len ? pair->key.len : len);

    return order != 0 ? order : (pair->key.len > len) - (pair->key.len < len);
}

static size_t place(const struct engine *e, const void *key, size_t len, bool *there_r)
{
    size_t at = 0;

    while (at < e->count && compare(&e->pairs[at], key, len) < 0)
        at++;
    *there_r = at < e->count && compare(&e->pairs[at], key, len) == 0;
    return at;
}

static void insert(struct engine *e, size_t at, const void *key, size_t len)
{
    e->pairs = mem_resize_array(e->pairs, e->count + 1, sizeof(*e->pairs));
    memmove(e->pairs + at + 1, e->pairs + at, (e->count - at) * sizeof(*e->pairs));
    e->pairs[at] = (struct pair){{0}, {0}};
    str_append(&e->pairs[at].key, key, len);
    e->count++;
}

static void erase(struct engine *e, size_t at)
{
    str_free(&e->pairs[at].key);
    str_free(&e->pairs[at].value);
    e->count--;
    memmove(e->pairs + at, e->pairs + at + 1, (e->count - at) * sizeof(*e->pairs));
}

static int engine_get(struct kv *kv, const void *key, size_t key_len, struct str *value_r)
{
    struct engine *e = (struct engine *)kv;
    bool there;
    size_t at = place(e, key, key_len, &there);

    if (e->fails != 0)
        return e->fails;
    if (!there)
        return ERR_NOT_FOUND;
    if (value_r)
        str_append(value_r, e->pairs[at].value.data, e->pairs[at].value.len);
    return 0;
}

static int engine_write(struct kv *kv, const struct kv_change *const *changes, size_t count)
{
    struct engine *e = (struct engine *)kv;

    MUST(!e->snapshot);
    if (e->fails != 0)
        return e->fails;
    for (size_t i = 0; i < count; i++) {
        const struct kv_change *c = changes[i];
        bool there;
        size_t at = place(e, c->key, c->key_len, &there);

        if (there && !c->value)
            erase(e, at);
        if (!there && c->value)
            insert(e, at, c->key, c->key_len);
        if (c->value) {
            str_reset(&e->pairs[at].value);
            str_append(&e->pairs[at].value, c->value, c->value_len);
        }
    }
    return 0;
}

static void engine_close(struct kv *kv)
{
    struct engine *e = (struct engine *)kv;

    while (e->count > 0)
        erase(e, e->count - 1);
    free(e->pairs);
    free(e);
}

static struct kv *engine_snapshot(struct kv *kv)
{
    const struct engine *e = (const struct engine *)kv;
    struct engine *copy = (struct engine *)kv_memory_new();

    for (size_t i = 0; i < e->count; i++) {
        insert(copy, i, e->pairs[i].key.data, e->pairs[i].key.len);
        str_append(&copy->pairs[i].value, e->pairs[i].value.data, e->pairs[i].value.len);
    }
    copy->fails = e->fails;
    copy->snapshot = true;
    return &copy->kv;
}

static uint64_t engine_bytes(struct kv *kv, char from, char to)
{
    const struct engine *e = (const struct engine *)kv;
    uint64_t bytes = 0;

    for (size_t i = 0; i < e->count; i++)
        if (compare(&e->pairs[i], &from, 1) >= 0 && compare(&e->pairs[i], &to, 1) < 0)
            bytes += e->pairs[i].key.len + e->pairs[i].value.len;
    return bytes;
}

static struct kv_walk *engine_walk(struct kv *kv, const void *start, size_t start_len)
{
    struct walk *w = mem_alloc(sizeof(*w));
    bool there;

    w->walk.ops = kv->ops;
    w->copy = (struct engine *)engine_snapshot(kv);
    w->at = place(w->copy, start, start_len, &there);
    return &w->walk;
}

static bool walk_valid(const struct kv_walk *walk)
{
    const struct walk *w = (const struct walk *)walk;

    return w->copy->fails == 0 && w->at < w->copy->count;
}

static void walk_next(struct kv_walk *walk)
{
    MUST(walk_valid(walk));
    ((struct walk *)walk)->at++;
}

static const char *walk_key(const struct kv_walk *walk, size_t *len_r)
{
    const struct walk *w = (const struct walk *)walk;

    *len_r = w->copy->pairs[w->at].key.len;
    return w->copy->pairs[w->at].key.data;
}

static const char *walk_value(const struct kv_walk *walk, size_t *len_r)
{
    const struct walk *w = (const struct walk *)walk;

    *len_r = w->copy->pairs[w->at].value.len;
    return *len_r > 0 ? w->copy->pairs[w->at].value.data : "";
}

static int walk_end(struct kv_walk *walk)
{
    struct walk *w = (struct walk *)walk;
    int err = w->copy->fails;

    engine_close(&w->copy->kv);
    free(w);
    return err;
}

struct kv *kv_memory_new(void)
{
    static const struct kv_ops ops = {.close = engine_close,
                                      .get = engine_get,
                                      .write = engine_write,
                                      .snapshot = engine_snapshot,
                                      .bytes = engine_bytes,
                                      .walk = engine_walk,
                                      .walk_valid = walk_valid,
                                      .walk_next = walk_next,
                                      .walk_key = walk_key,
                                      .walk_value = walk_value,
                                      .walk_end = walk_end};
    struct engine *e = mem_alloc(sizeof(*e));

    e->kv.ops = &ops;
    return &e->kv;
}

void kv_memory_fail(struct kv *kv, int err)
{
    ((struct engine *)kv)->fails = err;
}
