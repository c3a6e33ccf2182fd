/*
 * identity.c - the database's own identity and version, and the blob stores it has records of.
 *
 * Runs in the catalog and in entrepotctl. The records come first, then the file: a crash between
 * leaves a database without its file, which the next start writes.
 */
#include "meta/identity.h"

#include "base/fail.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "meta/codec.h"
#include "meta/records.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const struct meta_key version_key = {.kind = META_VERSION};

/* Of that record: u32 format, the id's letters, u64 time. Another format may hold anything behind
 * that number. format_r: 0 when there is none. */
static int version_get(struct db *db, uint32_t *format_r, struct identity *identity_r)
{
    struct str value = {0};
    struct codec_reader r;
    int err = meta_get(db, version_key, &value);

    *format_r = 0;
    if (err == 0) {
        r = codec_open(value.data, value.len, RECORD_VERSION);
        *format_r = codec_get_u32(&r);
        err = r.bad || *format_r == 0 ? ERR_DAMAGED : 0;
    }
    if (err == 0 && *format_r == META_FORMAT) {
        codec_get_raw(&r, identity_r->id, IDENTITY_ID_LEN);
        identity_r->created_s = codec_get_u64(&r);
        err = codec_end(&r);
    }
    str_free(&value);
    return err;
}

static void version_put(struct db *db, const struct identity *identity)
{
    struct str value = {0};

    codec_put_u8(&value, RECORD_VERSION);
    codec_put_u32(&value, META_FORMAT);
    str_append(&value, identity->id, IDENTITY_ID_LEN);
    codec_put_u64(&value, identity->created_s);
    meta_put(db, version_key, &value);
    str_free(&value);
}

static struct meta_key store_of(const char *id)
{
    return (struct meta_key){.kind = META_STORE, .store = id};
}

/* The name in keys, 0, what it is called. */
static bool store_value_take(const char *value, size_t len, struct identity_stores *stores,
                             size_t at)
{
    size_t name_len = strnlen(value, len), called_len = len - name_len - 1;

    if (name_len == len || name_len == 0 || name_len > IDENTITY_NAME_MAX || called_len == 0 ||
        called_len > IDENTITY_NAME_MAX)
        return false;
    memcpy(stores->at[at].name, value, name_len + 1);
    memcpy(stores->at[at].called, value + name_len + 1, called_len);
    stores->at[at].called[called_len] = 0;
    return true;
}

static int stores_get(struct db *db, struct identity_stores *stores_r)
{
    struct meta_walk *walk = meta_walk_new(db, store_of(NULL), NULL);
    struct meta_key key;
    int err = 0, walk_err;

    stores_r->count = 0;
    while (err == 0 && meta_walk_next(walk, &key)) {
        size_t value_len, at = stores_r->count;
        const char *value = meta_walk_value(walk, &value_len);

        if (strlen(key.store) != IDENTITY_ID_LEN || at == IDENTITY_STORES_MAX ||
            !store_value_take(value, value_len, stores_r, at)) {
            err = ERR_DAMAGED;
            break;
        }
        memcpy(stores_r->at[at].id, key.store, IDENTITY_ID_LEN + 1);
        stores_r->count++;
    }
    walk_err = meta_walk_end_whole(&walk);
    return err != 0 ? err : walk_err;
}

static int identity_get(struct db *db, uint32_t *format_r, struct meta_identity *m)
{
    int err;

    memset(m, 0, sizeof(*m));
    err = version_get(db, format_r, &m->identity);
    return err == 0 && *format_r == META_FORMAT ? stores_get(db, &m->stores) : err;
}

int meta_identity_get(struct db *db, struct meta_identity *m)
{
    uint32_t format;
    int err = identity_get(db, &format, m);

    return err == 0 && format != META_FORMAT ? ERR_UNSUPPORTED : err;
}

static bool is_empty(struct db *db)
{
    struct db_walk *walk = db_walk_new(db, "", 0, NULL, 0);
    bool empty = !db_walk_valid(walk); /* of whatever it may be */

    return db_walk_free(&walk) == 0 && empty;
}

static int identity_make(struct db *db, struct meta_identity *m)
{
    int err;

    memset(m, 0, sizeof(*m));
    identity_new_id(m->identity.id);
    m->identity.created_s = is_empty(db) ? (uint64_t)time(NULL) : 0;
    version_put(db, &m->identity);
    err = db_batch_commit(db);
    FAIL_POINT(catalog_identity_recorded);
    return err;
}

/* The copy beside the database. */
static int file_write(const char *path, const struct meta_identity *m)
{
    int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int err = dir < 0 ? ERR_IO : identity_write(dir, &m->identity, &m->stores);

    if (dir >= 0)
        close(dir);
    return err;
}

static bool same(const struct identity_stores *a, const struct identity_stores *b)
{
    bool equal = a->count == b->count;

    for (size_t i = 0; equal && i < a->count; i++)
        equal = strcmp(a->at[i].id, b->at[i].id) == 0 && strcmp(a->at[i].name, b->at[i].name) == 0;
    return equal;
}

/* What the file says; NOT_FOUND when there is none. */
static int file_read(const char *path, struct meta_identity *m_r)
{
    int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int err = dir < 0 ? ERR_NOT_FOUND : identity_read(dir, &m_r->identity, &m_r->stores);

    if (dir >= 0)
        close(dir);
    return err;
}

bool meta_there(const char *path)
{
    struct meta_identity *file = mem_alloc(sizeof(*file));
    bool there = file_read(path, file) != ERR_NOT_FOUND;

    free(file);
    return there;
}

bool meta_named(const char *path, const char *id)
{
    struct meta_identity *file = mem_alloc(sizeof(*file));
    bool named = file_read(path, file) != 0 || strcmp(file->identity.id, id) == 0;

    free(file);
    return named;
}

/* A daemon comes back each second: each reason is told once. */
static void tell(const char *path, int err)
{
    static int told;

    if (err == ERR_CONFLICT && err != told)
        log_error(
            "the database is not the one that its file IDENTITY names: files of two are mixed "
            "here; bring back the whole directory from a backup, or entrepotctl rebuild",
            "path=%s", log_quote(path));
    else if (err == ERR_DAMAGED && err != told)
        log_error("the database does not say who it is: it is damaged: entrepotctl "
                  "rebuild",
                  "path=%s", log_quote(path));
    told = err;
}

/* From an older format to the next. A step may die anywhere and be begun again: it writes V with
 * the new format in its last batch. */
static const struct {
    uint32_t from;
    int (*step)(struct db *db, struct meta_identity *m);
} MIGRATIONS[] = {
    {0, identity_make}, /* of before identities, or just made */
};

static int migrate(struct db *db, uint32_t format, struct meta_identity *m)
{
    const size_t count = sizeof(MIGRATIONS) / sizeof(*MIGRATIONS);
    int err = 0;

    for (size_t i = 0; err == 0 && i < count; i++)
        if (MIGRATIONS[i].from == format) {
            err = MIGRATIONS[i].step(db, m);
            format++;
        }
    if (err != 0 || format == META_FORMAT)
        return err;
    log_error("the database was written by another version of entrepotd, in a format this one does "
              "not know; use the version that wrote it, or a newer one",
              "format=%u known=%d", format, META_FORMAT);
    return ERR_UNSUPPORTED;
}

static int identity_settle(struct db *db, const char *path, int file_err,
                           const struct meta_identity *file, struct meta_identity *m)
{
    uint32_t format;
    int err = identity_get(db, &format, m);

    if (err == ERR_NOT_FOUND && file_err != ERR_NOT_FOUND)
        err = ERR_CONFLICT;
    if ((err == 0 && format != META_FORMAT) || err == ERR_NOT_FOUND)
        err = migrate(db, format, m);
    if (err == 0 && file_err == 0 && strcmp(file->identity.id, m->identity.id) != 0)
        err = ERR_CONFLICT;
    if (err == 0 && (file_err != 0 || !same(&file->stores, &m->stores)))
        err = file_write(path, m);
    return err;
}

int meta_open(const char *path, struct db **db_r, struct meta_identity *m)
{
    struct meta_identity *file = mem_alloc(sizeof(*file));
    int file_err = file_read(path, file);
    int err = db_open(path, file_err == ERR_NOT_FOUND ? KV_MAKE : KV_EXISTING, db_r);

    if (err == 0) {
        err = identity_settle(*db_r, path, file_err, file, m);
        tell(path, err);
        if (err != 0)
            db_close(db_r);
    }
    free(file);
    return err;
}

int meta_make(const char *path, const struct identity *identity, struct db **db_r,
              struct meta_identity *m)
{
    int err = db_open(path, KV_MAKE, db_r);

    if (err != 0)
        return err;
    memset(m, 0, sizeof(*m));
    m->identity = *identity;
    version_put(*db_r, identity);
    err = db_batch_commit(*db_r);
    if (err == 0)
        err = file_write(path, m);
    if (err != 0)
        db_close(db_r);
    return err;
}

int meta_store_add(struct db *db, const char *path, struct meta_identity *m, const char *id,
                   const char *name, const char *called)
{
    struct str value = {0};
    int err;

    if (!meta_store_key(m, id) && m->stores.count == IDENTITY_STORES_MAX)
        return ERR_TOO_BIG;
    MUST(strlen(name) <= IDENTITY_NAME_MAX && strlen(called) <= IDENTITY_NAME_MAX &&
         strlen(id) == IDENTITY_ID_LEN);
    str_append(&value, name, strlen(name) + 1);
    str_puts(&value, called);
    meta_put(db, store_of(id), &value);
    str_free(&value);
    err = db_batch_commit(db);
    if (err != 0)
        return err;
    FAIL_POINT(catalog_store_recorded);
    err = stores_get(db, &m->stores); /* in the order of keys, as the next open has it */
    return err != 0 ? err : file_write(path, m);
}

const char *meta_store_key(const struct meta_identity *m, const char *id)
{
    for (size_t i = 0; i < m->stores.count; i++)
        if (strcmp(m->stores.at[i].id, id) == 0)
            return m->stores.at[i].name;
    return NULL;
}

bool meta_has_blobs_of(struct db *db, const char *name)
{
    return meta_any(db, (struct meta_key){.kind = META_BLOB, .store = name});
}
