/*
 * kv_leveldb.c - LevelDB as an engine.
 *
 * Runs in the catalog and in entrepotctl. Owns the database handle; nobody else may open its path.
 * A crash leaves LevelDB's log, which the next open replays up to the last synced batch.
 */
#include "meta/kv_leveldb.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "meta/db_log.h"

#include <errno.h>
#include <leveldb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WRITE_BUFFER_BYTES (4u << 20)
#define CACHE_BYTES        (4u << 20)
#define TOLD_AGAIN_S       60

struct engine {
    struct kv kv;
    leveldb_t *handle;
    leveldb_options_t *options;
    leveldb_cache_t *cache;
    leveldb_filterpolicy_t *filter;
    leveldb_readoptions_t *read;
    leveldb_writeoptions_t *sync;
    const leveldb_snapshot_t *snapshot; /* then `handle` is another one's and the rest NULL */
};

struct walk {
    struct kv_walk walk;
    leveldb_iterator_t *it;
};

static struct engine *engine_of(struct kv *kv)
{
    return (struct engine *)kv;
}

/* Of a database that is tried again and again each reason is told once a minute. */
static int read_failed(char *reason)
{
    static char told[256];
    static struct timespec when;
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    if (strncmp(reason, told, sizeof(told) - 1) != 0 || now.tv_sec - when.tv_sec >= TOLD_AGAIN_S) {
        log_error("cannot read the database", "reason=%s", log_quote(reason));
        snprintf(told, sizeof(told), "%s", reason);
        when = now;
    }
    leveldb_free(reason);
    return ERR_IO;
}

static int engine_get(struct kv *kv, const void *key, size_t key_len, struct str *value_r)
{
    struct engine *e = engine_of(kv);
    char *reason = NULL;
    size_t len = 0;
    char *value = leveldb_get(e->handle, e->read, key, key_len, &len, &reason);

    if (reason)
        return read_failed(reason);
    if (!value)
        return ERR_NOT_FOUND;
    if (value_r)
        str_append(value_r, value, len);
    leveldb_free(value);
    return 0;
}

/* LevelDB tells what the system says as text alone, behind the file's path. */
static int err_of_reason(const char *reason)
{
    static const int known[] = {ENOSPC, EDQUOT, EROFS, EACCES, EPERM, EMFILE, ENFILE};
    size_t len = strlen(reason);

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        const char *text = strerror(known[i]);

        if (len >= strlen(text) && strcmp(reason + len - strlen(text), text) == 0)
            return err_from_errno(known[i]);
    }
    return ERR_IO;
}

static int engine_write(struct kv *kv, const struct kv_change *const *changes, size_t count)
{
    struct engine *e = engine_of(kv);
    leveldb_writebatch_t *batch = leveldb_writebatch_create();
    char *reason = NULL;
    int err;

    MUST(!e->snapshot);
    for (size_t i = 0; i < count; i++) {
        const struct kv_change *change = changes[i];

        if (change->value)
            leveldb_writebatch_put(batch, change->key, change->key_len, change->value,
                                   change->value_len);
        else
            leveldb_writebatch_delete(batch, change->key, change->key_len);
    }
    leveldb_write(e->handle, e->sync, batch, &reason);
    leveldb_writebatch_destroy(batch);
    if (!reason)
        return 0;
    log_error("cannot write the database", "reason=%s", log_quote(reason));
    err = err_of_reason(reason);
    leveldb_free(reason);
    return err;
}

static uint64_t engine_bytes(struct kv *kv, char from, char to)
{
    const char *first = &from, *limit = &to;
    const size_t len = 1;
    uint64_t bytes = 0;

    leveldb_approximate_sizes(engine_of(kv)->handle, 1, &first, &len, &limit, &len, &bytes);
    return bytes;
}

static bool walk_valid(const struct kv_walk *walk)
{
    return leveldb_iter_valid(((const struct walk *)walk)->it);
}

static void walk_next(struct kv_walk *walk)
{
    leveldb_iter_next(((struct walk *)walk)->it);
}

static const char *walk_key(const struct kv_walk *walk, size_t *len_r)
{
    return leveldb_iter_key(((const struct walk *)walk)->it, len_r);
}

static const char *walk_value(const struct kv_walk *walk, size_t *len_r)
{
    return leveldb_iter_value(((const struct walk *)walk)->it, len_r);
}

static int walk_end(struct kv_walk *walk)
{
    struct walk *w = (struct walk *)walk;
    char *reason = NULL;

    leveldb_iter_get_error(w->it, &reason);
    leveldb_iter_destroy(w->it);
    free(w);
    return reason ? read_failed(reason) : 0;
}

static struct kv_walk *engine_walk(struct kv *kv, const void *start, size_t start_len)
{
    struct engine *e = engine_of(kv);
    struct walk *w = mem_alloc(sizeof(*w));

    w->walk.ops = kv->ops;
    w->it = leveldb_create_iterator(e->handle, e->read);
    leveldb_iter_seek(w->it, start, start_len);
    return &w->walk;
}

static void engine_close(struct kv *kv)
{
    struct engine *e = engine_of(kv);

    if (e->snapshot)
        leveldb_release_snapshot(e->handle, e->snapshot);
    else if (e->handle)
        leveldb_close(e->handle);
    leveldb_readoptions_destroy(e->read);
    if (!e->snapshot) {
        leveldb_writeoptions_destroy(e->sync);
        leveldb_options_destroy(e->options);
        leveldb_filterpolicy_destroy(e->filter);
        leveldb_cache_destroy(e->cache);
    }
    free(e);
}

static struct kv *engine_snapshot(struct kv *kv);

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

static leveldb_readoptions_t *read_options(void)
{
    leveldb_readoptions_t *read = leveldb_readoptions_create();

    leveldb_readoptions_set_verify_checksums(read, 1);
    return read;
}

static struct kv *engine_snapshot(struct kv *kv)
{
    struct engine *e = mem_alloc(sizeof(*e));

    MUST(!engine_of(kv)->snapshot);
    e->kv.ops = &ops;
    e->handle = engine_of(kv)->handle;
    e->snapshot = leveldb_create_snapshot(e->handle);
    e->read = read_options();
    leveldb_readoptions_set_snapshot(e->read, e->snapshot);
    return &e->kv;
}

/* It is tried again and again: each reason is told once. */
static void open_failed(const char *path, const char *reason)
{
    static char told[256];

    if (strncmp(reason, told, sizeof(told) - 1) == 0)
        return;
    log_error("cannot open the database", "path=%s reason=%s", path, log_quote(reason));
    snprintf(told, sizeof(told), "%s", reason);
}

static void options_make(struct engine *e, enum kv_how how)
{
    e->options = leveldb_options_create();
    leveldb_options_set_create_if_missing(e->options, how == KV_MAKE);
    /* Else damage in tables drops records without a word, in compactions for good. */
    leveldb_options_set_paranoid_checks(e->options, how != KV_VIEW);
    leveldb_options_set_write_buffer_size(e->options, WRITE_BUFFER_BYTES);
    leveldb_options_set_max_open_files(e->options, 256);
    e->cache = leveldb_cache_create_lru(CACHE_BYTES);
    leveldb_options_set_cache(e->options, e->cache);
    e->filter = leveldb_filterpolicy_create_bloom(10);
    leveldb_options_set_filter_policy(e->options, e->filter);
    e->read = read_options();
    e->sync = leveldb_writeoptions_create();
    leveldb_writeoptions_set_sync(e->sync, 1);
}

int kv_leveldb_open(const char *path, enum kv_how how, struct kv **kv_r)
{
    int err = how == KV_VIEW ? 0 : db_log_check(path);
    char *reason = NULL;
    struct engine *e;

    if (err != 0)
        return err;
    e = mem_alloc(sizeof(*e));
    e->kv.ops = &ops;
    options_make(e, how);
    e->handle = leveldb_open(e->options, path, &reason);
    if (!e->handle) {
        open_failed(path, reason);
        leveldb_free(reason);
        engine_close(&e->kv);
        return ERR_IO;
    }
    *kv_r = &e->kv;
    return 0;
}

int kv_leveldb_repair(const char *path)
{
    leveldb_options_t *options = leveldb_options_create();
    char *reason = NULL;

    /* Else a table whose checksums do not fit is kept as it is, and cannot be read afterwards. */
    leveldb_options_set_paranoid_checks(options, 1);
    leveldb_repair_db(options, path, &reason);
    leveldb_options_destroy(options);
    if (!reason)
        return 0;
    log_error("cannot repair the database", "path=%s reason=%s", log_quote(path),
              log_quote(reason));
    leveldb_free(reason);
    return ERR_IO;
}
