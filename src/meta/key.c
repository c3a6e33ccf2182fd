/*
 * key.c - how the database's keys are spelled.
 *
 * A key is a letter, then its fields: strings end in NUL (no name holds one), digests are
 * algorithm byte + bytes, times are big-endian seconds, a kind is its letter. Pure functions of the
 * catalog and entrepotctl. What the disk gives back is checked like any foreign bytes: damage
 * yields an error, never a wrong answer.
 */
#include "meta/key.h"

#include "base/must.h"

#include <string.h>

enum field { FIELD_END, STORE, REPO, IMAGE, TAG, DIGEST, BY, HOLDS, TIME };

#define FIELDS_MAX 6

static const uint8_t layouts[META_KINDS][FIELDS_MAX] = {
    [META_BLOB] = {STORE, DIGEST},
    [META_DAMAGE] = {STORE, DIGEST},
    [META_TAG_ON] = {REPO, IMAGE, DIGEST, TAG},
    [META_IMAGE] = {REPO, IMAGE},
    [META_JOURNAL] = {STORE},
    [META_PARENT] = {REPO, IMAGE, DIGEST, BY},
    [META_LINK] = {REPO, IMAGE, DIGEST},
    [META_MANIFEST] = {REPO, IMAGE, DIGEST},
    [META_STORE] = {STORE},
    [META_SUSPECT] = {TIME, REPO, IMAGE, DIGEST},
    [META_REFERRER] = {REPO, IMAGE, DIGEST, BY},
    [META_SCRUB] = {FIELD_END},
    [META_TAG] = {REPO, IMAGE, TAG},
    [META_HOLDER] = {STORE, DIGEST, HOLDS, REPO, IMAGE},
    [META_VERSION] = {FIELD_END},
    [META_ELSEWHERE] = {STORE, REPO, IMAGE, DIGEST},
    [META_WANTED_MANIFEST] = {STORE, REPO, IMAGE, DIGEST},
    [META_WANTED_TAG] = {STORE, REPO, IMAGE, TAG},
};

static bool kind_known(uint8_t letter)
{
    return letter < META_KINDS &&
           (layouts[letter][0] != FIELD_END || letter == META_SCRUB || letter == META_VERSION);
}

static void append(struct meta_place *p, const void *data, size_t len)
{
    MUST(p->len + len <= sizeof(p->data));
    memcpy(p->data + p->len, data, len);
    p->len += len;
}

static bool text_put(struct meta_place *p, const char *text)
{
    if (!text)
        return false;
    append(p, text, strlen(text) + 1);
    return true;
}

static bool digest_put(struct meta_place *p, const struct digest *d)
{
    if (d->alg == 0)
        return false;
    append(p, &d->alg, 1);
    append(p, d->bytes, digest_len(d->alg));
    return true;
}

static bool time_put(struct meta_place *p, const struct meta_key *key)
{
    uint8_t be[8];

    if (key->time == 0 && !key->repo)
        return false;
    for (int i = 0; i < 8; i++)
        be[i] = (uint8_t)(key->time >> (56 - 8 * i));
    append(p, be, sizeof(be));
    return true;
}

/* False: it is not set. */
static bool field_put(struct meta_place *p, enum field field, const struct meta_key *key)
{
    char letter;

    switch (field) {
    case STORE:
        return text_put(p, key->store);
    case REPO:
        return text_put(p, key->repo);
    case IMAGE:
        return text_put(p, key->image);
    case TAG:
        return text_put(p, key->tag);
    case DIGEST:
        return digest_put(p, &key->digest);
    case BY:
        return digest_put(p, &key->by);
    case TIME:
        return time_put(p, key);
    case HOLDS:
        letter = (char)key->holds;
        append(p, &letter, key->holds != META_NONE);
        return key->holds != META_NONE;
    case FIELD_END:
        break;
    }
    return false;
}

void meta_place_of(const struct meta_key *key, struct meta_place *place_r)
{
    const uint8_t *fields = layouts[key->kind];
    char letter = (char)key->kind;

    MUST(kind_known((uint8_t)key->kind));
    place_r->len = 0;
    append(place_r, &letter, 1);
    for (size_t i = 0; i < FIELDS_MAX && field_put(place_r, fields[i], key); i++)
        ;
}

struct reader {
    const char *data;
    size_t len, at;
};

static bool text_get(struct reader *r, const char **text_r)
{
    const char *end = memchr(r->data + r->at, 0, r->len - r->at);

    *text_r = r->data + r->at;
    r->at = end ? (size_t)(end - r->data) + 1 : r->at;
    return end != NULL;
}

static bool digest_get(struct reader *r, struct digest *d_r)
{
    size_t len;

    if (r->at == r->len)
        return false;
    d_r->alg = (uint8_t)r->data[r->at++];
    len = digest_len(d_r->alg);
    if (len == 0 || r->len - r->at < len)
        return false;
    memcpy(d_r->bytes, r->data + r->at, len);
    r->at += len;
    return true;
}

static bool time_get(struct reader *r, uint64_t *time_r)
{
    if (r->len - r->at < 8)
        return false;
    for (int i = 0; i < 8; i++)
        *time_r = *time_r << 8 | (uint8_t)r->data[r->at++];
    return true;
}

static bool holds_get(struct reader *r, enum meta_kind *kind_r)
{
    if (r->at == r->len)
        return false;
    *kind_r = (enum meta_kind)(uint8_t)r->data[r->at++];
    return *kind_r == META_LINK || *kind_r == META_MANIFEST;
}

static bool field_get(struct reader *r, enum field field, struct meta_key *key_r)
{
    switch (field) {
    case STORE:
        return text_get(r, &key_r->store);
    case REPO:
        return text_get(r, &key_r->repo);
    case IMAGE:
        return text_get(r, &key_r->image);
    case TAG:
        return text_get(r, &key_r->tag);
    case DIGEST:
        return digest_get(r, &key_r->digest);
    case BY:
        return digest_get(r, &key_r->by);
    case HOLDS:
        return holds_get(r, &key_r->holds);
    case TIME:
        return time_get(r, &key_r->time);
    case FIELD_END:
        break;
    }
    return false;
}

bool meta_key_read(const char *data, size_t len, struct meta_key *key_r)
{
    struct reader r = {.data = data, .len = len, .at = 1};
    bool good = len > 0 && kind_known((uint8_t)*data);

    *key_r = (struct meta_key){.kind = good ? (enum meta_kind)(uint8_t)*data : META_NONE};
    for (size_t i = 0; good && i < FIELDS_MAX && layouts[key_r->kind][i] != FIELD_END; i++)
        good = field_get(&r, layouts[key_r->kind][i], key_r);
    good = good && r.at == len;
    if (!good)
        key_r->kind = META_NONE;
    return good;
}
