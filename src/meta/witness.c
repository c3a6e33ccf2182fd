/*
 * witness.c - records as lines of a journal.
 *
 * Pure functions of the catalog and entrepotctl over the database.
 */
#include "meta/witness.h"

#include "meta/codec.h"
#include "meta/records.h"

/* The record J: its first byte, then u64. */
#define NUMBER_VERSION 1

static bool manifest_line(const struct meta_key *key, const char *value, size_t value_len,
                          struct journal_line *l)
{
    l->digest = key->digest;
    l->kind = value ? JOURNAL_MANIFEST : JOURNAL_MANIFEST_GONE;
    return !value || record_manifest_peek(value, value_len, &l->size, &l->media_type) == 0;
}

static bool tag_line(const struct meta_key *key, const char *value, size_t value_len,
                     struct journal_line *l)
{
    struct record_tag record;

    l->tag = key->tag;
    l->kind = value ? JOURNAL_TAG : JOURNAL_TAG_GONE;
    if (!value)
        return true;
    if (record_tag_decode(value, value_len, &record) != 0)
        return false;
    l->digest = record.digest;
    l->time = record.time;
    return true;
}

bool witness_line(const struct meta_key *key, const char *value, size_t value_len,
                  struct journal_line *l)
{
    *l = (struct journal_line){.repo = key->repo, .image = key->image};
    if (key->kind == META_MANIFEST)
        return manifest_line(key, value, value_len, l);
    return key->kind == META_TAG && tag_line(key, value, value_len, l);
}

struct meta_key witness_key(const struct journal_line *l)
{
    return l->tag ? meta_tag(l->repo, l->image, l->tag)
                  : meta_at(META_MANIFEST, l->repo, l->image, &l->digest);
}

static struct meta_key number_of(const char *store)
{
    return (struct meta_key){.kind = META_JOURNAL, .store = store};
}

int witness_number(struct db *db, const char *store, uint64_t *number_r)
{
    struct str value = {0};
    struct codec_reader r;
    int err = meta_get(db, number_of(store), &value);

    *number_r = 0;
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

    codec_put_u8(&value, NUMBER_VERSION);
    codec_put_u64(&value, number);
    meta_put(db, number_of(store), &value);
    str_free(&value);
}
