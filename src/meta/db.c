/*
 * db.c - LevelDB behind a batch with an overlay.
 *
 * Runs in the catalog. Owns the database handle; nobody else may open its path
 * (a second leveldb_open in one process even drops the first one's file lock).
 * A crash leaves LevelDB's log, which the next open replays up to the last
 * synced batch.
 */
#include "meta/db.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "base/siphash.h"
#include "meta/db_log.h"

#include <errno.h>
#include <leveldb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

/* Keys are made of names that strangers choose. */
static uint8_t overlay_seed[16];
static unsigned overlay_hash(const void *key, size_t len)
{
    uint64_t out[2];

    siphash_128(overlay_seed, key, len, out);
    return (unsigned)out[0];
}
#define HASH_FUNCTION(key, len, hashv) ((hashv) = overlay_hash((key), (len)))
#include <uthash.h>

#define WRITE_BUFFER_BYTES (4u << 20)
#define CACHE_BYTES        (4u << 20)

struct overlay {
    bool deleted;
    char *value;
    size_t value_len;
    size_t key_len;
    UT_hash_handle hh;
    char key[];
};

struct db_batch {
    leveldb_writebatch_t *writes;
};

struct db {
    leveldb_t *handle;
    leveldb_options_t *options;
    leveldb_cache_t *cache;
    leveldb_filterpolicy_t *filter;
    leveldb_readoptions_t *read;
    leveldb_writeoptions_t *sync;
    struct overlay *overlay;
    leveldb_writebatch_t *writes; /* NULL: nothing collected */
    size_t bytes;                 /* of keys and values in it */
    bool read_failed;
};

#define TOLD_AGAIN_S 60

/* Of a database that is tried again and again each reason is told once a minute. */
static void read_failed(const char *reason)
{
    static char told[256];
    static struct timespec when;
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    if (strncmp(reason, told, sizeof(told) - 1) == 0 && now.tv_sec - when.tv_sec < TOLD_AGAIN_S)
        return;
    log_error("cannot read the database", "reason=%s", log_quote(reason));
    snprintf(told, sizeof(told), "%s", reason);
    when = now;
}

struct db_walk {
    leveldb_iterator_t *it;
    size_t prefix_len;
    char prefix[];
};

/* It is tried again and again: each reason is told once. */
static void open_failed(const char *path, const char *reason)
{
    static char told[256];

    if (strncmp(reason, told, sizeof(told) - 1) == 0)
        return;
    log_error("cannot open the database", "path=%s reason=%s", path, log_quote(reason));
    snprintf(told, sizeof(told), "%s", reason);
}

int db_open(const char *path, enum db_how how, struct db **db_r)
{
    int err = how == DB_VIEW ? 0 : db_log_check(path);
    char *reason = NULL;
    struct db *db;

    if (err != 0)
        return err;
    db = mem_alloc(sizeof(*db));
    MUST(getrandom(overlay_seed, sizeof(overlay_seed), 0) == sizeof(overlay_seed));
    db->options = leveldb_options_create();
    leveldb_options_set_create_if_missing(db->options, how == DB_MAKE);
    /* Else damage in tables drops records without a word, in compactions for good. */
    leveldb_options_set_paranoid_checks(db->options, how != DB_VIEW);
    leveldb_options_set_write_buffer_size(db->options, WRITE_BUFFER_BYTES);
    leveldb_options_set_max_open_files(db->options, 256);
    db->cache = leveldb_cache_create_lru(CACHE_BYTES);
    leveldb_options_set_cache(db->options, db->cache);
    db->filter = leveldb_filterpolicy_create_bloom(10);
    leveldb_options_set_filter_policy(db->options, db->filter);
    db->read = leveldb_readoptions_create();
    leveldb_readoptions_set_verify_checksums(db->read, 1);
    db->sync = leveldb_writeoptions_create();
    leveldb_writeoptions_set_sync(db->sync, 1);

    db->handle = leveldb_open(db->options, path, &reason);
    if (!db->handle) {
        open_failed(path, reason);
        leveldb_free(reason);
        db_close(&db);
        return ERR_IO;
    }
    *db_r = db;
    return 0;
}

static void overlay_clear(struct db *db)
{
    struct overlay *o, *next;

    HASH_ITER(hh, db->overlay, o, next) {
        HASH_DEL(db->overlay, o);
        free(o->value);
        free(o);
    }
}

void db_close(struct db **db_p)
{
    struct db *db = *db_p;

    if (!db)
        return;
    *db_p = NULL;
    overlay_clear(db);
    if (db->writes)
        leveldb_writebatch_destroy(db->writes);
    if (db->handle)
        leveldb_close(db->handle);
    leveldb_writeoptions_destroy(db->sync);
    leveldb_readoptions_destroy(db->read);
    leveldb_options_destroy(db->options);
    leveldb_filterpolicy_destroy(db->filter);
    leveldb_cache_destroy(db->cache);
    free(db);
}

int db_get(struct db *db, const void *key, size_t key_len, struct str *value_r)
{
    struct overlay *o;
    char *value, *reason = NULL;
    size_t len = 0;

    if (value_r)
        str_reset(value_r);
    HASH_FIND(hh, db->overlay, key, key_len, o);
    if (o) {
        if (o->deleted)
            return ERR_NOT_FOUND;
        if (value_r)
            str_append(value_r, o->value, o->value_len);
        return 0;
    }
    value = leveldb_get(db->handle, db->read, key, key_len, &len, &reason);
    if (reason) {
        read_failed(reason);
        leveldb_free(reason);
        db->read_failed = true;
        return ERR_IO;
    }
    if (!value)
        return ERR_NOT_FOUND;
    if (value_r)
        str_append(value_r, value, len);
    leveldb_free(value);
    return 0;
}

static struct overlay *overlay_at(struct db *db, const void *key, size_t key_len)
{
    struct overlay *o;

    HASH_FIND(hh, db->overlay, key, key_len, o);
    if (o) {
        free(o->value);
        o->value = NULL;
        o->value_len = 0;
        return o;
    }
    o = mem_alloc(sizeof(*o) + key_len);
    memcpy(o->key, key, key_len);
    o->key_len = key_len;
    HASH_ADD_KEYPTR(hh, db->overlay, o->key, key_len, o);
    return o;
}

void db_put_unseen(struct db *db, const void *key, size_t key_len, const void *value,
                   size_t value_len)
{
    if (!db->writes)
        db->writes = leveldb_writebatch_create();
    leveldb_writebatch_put(db->writes, key, key_len, value, value_len);
    db->bytes += key_len + value_len;
}

void db_delete_unseen(struct db *db, const void *key, size_t key_len)
{
    if (!db->writes)
        db->writes = leveldb_writebatch_create();
    leveldb_writebatch_delete(db->writes, key, key_len);
    db->bytes += key_len;
}

void db_put(struct db *db, const void *key, size_t key_len, const void *value, size_t value_len)
{
    struct overlay *o = overlay_at(db, key, key_len);

    db_put_unseen(db, key, key_len, value, value_len);
    o->deleted = false;
    o->value = mem_alloc(value_len + 1);
    if (value_len)
        memcpy(o->value, value, value_len);
    o->value_len = value_len;
}

void db_delete(struct db *db, const void *key, size_t key_len)
{
    db_delete_unseen(db, key, key_len);
    overlay_at(db, key, key_len)->deleted = true;
}

bool db_batch_empty(const struct db *db)
{
    return db->writes == NULL;
}

size_t db_batch_bytes(const struct db *db)
{
    return db->bytes;
}

void db_batch_each(struct db *db,
                   void (*each)(void *ctx, const char *key, size_t key_len, const char *value,
                                size_t value_len),
                   void *ctx)
{
    struct overlay *o, *next;

    HASH_ITER(hh, db->overlay, o, next)
        each(ctx, o->key, o->key_len, o->deleted ? NULL : o->value, o->value_len);
}

bool db_read_failed(const struct db *db)
{
    return db->read_failed;
}

void db_batch_discard(struct db *db)
{
    overlay_clear(db);
    if (db->writes)
        leveldb_writebatch_destroy(db->writes);
    db->writes = NULL;
    db->bytes = 0;
    db->read_failed = false;
}

struct db_batch *db_batch_take(struct db *db)
{
    struct db_batch *batch = mem_alloc(sizeof(*batch));

    batch->writes = db->writes;
    db->writes = NULL;
    db->bytes = 0;
    return batch;
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

int db_write(struct db *db, struct db_batch *batch)
{
    char *reason = NULL;
    int err;

    leveldb_write(db->handle, db->sync, batch->writes, &reason);
    if (!reason)
        return 0;
    log_error("cannot write the database", "reason=%s", log_quote(reason));
    err = err_of_reason(reason);
    leveldb_free(reason);
    return err;
}

void db_batch_done(struct db *db, struct db_batch *batch)
{
    MUST(!db->writes);
    overlay_clear(db);
    leveldb_writebatch_destroy(batch->writes);
    free(batch);
}

int db_repair(const char *path)
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

uint64_t db_bytes(struct db *db, char from, char to)
{
    const char *first = &from, *limit = &to;
    const size_t len = 1;
    uint64_t bytes = 0;

    leveldb_approximate_sizes(db->handle, 1, &first, &len, &limit, &len, &bytes);
    return bytes;
}

struct db_walk *db_walk_new(struct db *db, const void *prefix, size_t prefix_len, const void *start,
                            size_t start_len)
{
    struct db_walk *walk = mem_alloc(sizeof(*walk) + prefix_len);

    memcpy(walk->prefix, prefix, prefix_len);
    walk->prefix_len = prefix_len;
    walk->it = leveldb_create_iterator(db->handle, db->read);
    if (start)
        leveldb_iter_seek(walk->it, start, start_len);
    else
        leveldb_iter_seek(walk->it, prefix, prefix_len);
    return walk;
}

bool db_walk_valid(const struct db_walk *walk)
{
    size_t len;
    const char *key;

    if (!leveldb_iter_valid(walk->it))
        return false;
    key = leveldb_iter_key(walk->it, &len);
    return len >= walk->prefix_len && memcmp(key, walk->prefix, walk->prefix_len) == 0;
}

void db_walk_next(struct db_walk *walk)
{
    leveldb_iter_next(walk->it);
}

const char *db_walk_key(const struct db_walk *walk, size_t *len_r)
{
    return leveldb_iter_key(walk->it, len_r);
}

const char *db_walk_value(const struct db_walk *walk, size_t *len_r)
{
    return leveldb_iter_value(walk->it, len_r);
}

int db_walk_free(struct db_walk **walk_p)
{
    struct db_walk *walk = *walk_p;
    char *reason = NULL;
    int err = 0;

    *walk_p = NULL;
    leveldb_iter_get_error(walk->it, &reason);
    if (reason) {
        read_failed(reason);
        leveldb_free(reason);
        err = ERR_IO;
    }
    leveldb_iter_destroy(walk->it);
    free(walk);
    return err;
}
