/*
 * witness.c - records as lines of a journal.
 *
 * Pure functions of the catalog and entrepotctl over the database.
 */
#include "meta/witness.h"

#include "meta/codec.h"
#include "meta/keys.h"
#include "meta/records.h"

/* The record J: its first byte, then u64. */
#define NUMBER_VERSION 1

static bool manifest_line(struct key_reader *r, const char *value, size_t value_len,
                          struct journal_line *l)
{
    key_get_digest(r, &l->digest);
    if (!value) {
        l->kind = JOURNAL_MANIFEST_GONE;
        return true;
    }
    l->kind = JOURNAL_MANIFEST;
    return record_manifest_peek(value, value_len, &l->size, &l->media_type) == 0;
}

static bool tag_line(struct key_reader *r, const char *value, size_t value_len,
                     struct journal_line *l)
{
    struct record_tag record;

    l->tag = key_get_str(r);
    l->kind = value ? JOURNAL_TAG : JOURNAL_TAG_GONE;
    if (!value)
        return true;
    if (record_tag_decode(value, value_len, &record) != 0)
        return false;
    l->digest = record.digest;
    l->time = record.time;
    return true;
}

bool witness_line(const char *key, size_t key_len, const char *value, size_t value_len,
                  struct journal_line *l)
{
    struct key_reader r;
    bool good;

    if (key_len == 0 || (*key != 'M' && *key != 'T'))
        return false;
    *l = (struct journal_line){0};
    key_reader_init(&r, key + 1, key_len - 1);
    l->repo = key_get_str(&r);
    l->image = key_get_str(&r);
    good = *key == 'M' ? manifest_line(&r, value, value_len, l) : tag_line(&r, value, value_len, l);
    return key_end(&r) == 0 && good;
}

static void key_number(struct key *k, const char *store)
{
    key_begin(k, 'J');
    key_str(k, store);
}

int witness_number(struct db *db, const char *store, uint64_t *number_r)
{
    struct str value = {0};
    struct codec_reader r;
    struct key k;
    int err;

    *number_r = 0;
    key_number(&k, store);
    err = db_get(db, k.data, k.len, &value);
    if (err == 0) {
        r = codec_open(value.data, value.len, NUMBER_VERSION);
        *number_r = codec_get_u64(&r);
        err = codec_end(&r);
    }
    str_free(&value);
    return err == ERR_NOT_FOUND ? 0 : err;
}

void witness_number_put(struct db *db, const char *store, uint64_t number)
{
    struct str value = {0};
    struct key k;

    codec_put_u8(&value, NUMBER_VERSION);
    codec_put_u64(&value, number);
    key_number(&k, store);
    db_put(db, k.data, k.len, value.data, value.len);
    str_free(&value);
}
