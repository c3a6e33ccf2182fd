/*
 * keys.c - encoding and decoding of the database's keys.
 *
 * Pure functions of the catalog. What the disk gives back is checked like any
 * foreign bytes: damage yields an error, never a wrong answer.
 */
#include "meta/keys.h"

#include "base/must.h"

#include <string.h>

static void key_append(struct key *k, const void *data, size_t len)
{
    MUST(k->len + len <= KEY_MAX);
    memcpy(k->data + k->len, data, len);
    k->len += len;
}

void key_begin(struct key *k, char letter)
{
    k->len = 0;
    key_append(k, &letter, 1);
}

void key_str(struct key *k, const char *text)
{
    key_append(k, text, strlen(text) + 1);
}

void key_part(struct key *k, const char *text)
{
    key_append(k, text, strlen(text));
}

void key_digest(struct key *k, const struct digest *d)
{
    key_append(k, &d->alg, 1);
    key_append(k, d->bytes, digest_len(d->alg));
}

void key_char(struct key *k, char c)
{
    key_append(k, &c, 1);
}

void key_time(struct key *k, uint64_t seconds)
{
    uint8_t be[8];

    for (int i = 0; i < 8; i++)
        be[i] = (uint8_t)(seconds >> (56 - 8 * i));
    key_append(k, be, sizeof(be));
}

void key_image(struct key *k, char letter, const char *repo, const char *image)
{
    key_begin(k, letter);
    key_str(k, repo);
    key_str(k, image);
}

static void key_in_store(struct key *k, char letter, const char *store, const struct digest *digest)
{
    key_begin(k, letter);
    key_str(k, store);
    key_digest(k, digest);
}

void key_holders(struct key *k, const char *store, const struct digest *digest)
{
    key_in_store(k, 'U', store, digest);
}

void key_holder(struct key *k, const char *store, const struct digest *digest, char kind,
                const char *repo, const char *image)
{
    key_holders(k, store, digest);
    key_char(k, kind);
    key_str(k, repo);
    key_str(k, image);
}

void key_blob(struct key *k, const char *store, const struct digest *digest)
{
    key_in_store(k, 'B', store, digest);
}

void key_damage(struct key *k, const char *store, const struct digest *digest)
{
    key_in_store(k, 'D', store, digest);
}

void key_suspect(struct key *k, uint64_t seconds, const char *repo, const char *image,
                 const struct digest *digest)
{
    key_begin(k, 'Q');
    key_time(k, seconds);
    key_str(k, repo);
    key_str(k, image);
    key_digest(k, digest);
}

void key_reader_init(struct key_reader *r, const char *data, size_t len)
{
    *r = (struct key_reader){.data = data, .len = len};
}

uint64_t key_get_time(struct key_reader *r)
{
    uint64_t seconds = 0;

    for (int i = 0; i < 8; i++)
        seconds = seconds << 8 | (uint8_t)key_get_char(r);
    return seconds;
}

char key_get_char(struct key_reader *r)
{
    if (r->bad || r->at >= r->len) {
        r->bad = true;
        return 0;
    }
    return r->data[r->at++];
}

const char *key_get_str(struct key_reader *r)
{
    const char *text = r->data + r->at;
    const char *end = r->bad ? NULL : memchr(text, 0, r->len - r->at);

    if (!end) {
        r->bad = true;
        return "";
    }
    r->at += (size_t)(end - text) + 1;
    return text;
}

void key_get_digest(struct key_reader *r, struct digest *d_r)
{
    size_t len;

    *d_r = (struct digest){.alg = (uint8_t)key_get_char(r)};
    len = digest_len(d_r->alg);
    if (r->bad || len == 0 || r->len - r->at < len) {
        r->bad = true;
        return;
    }
    memcpy(d_r->bytes, r->data + r->at, len);
    r->at += len;
}

int key_end(const struct key_reader *r)
{
    return r->bad || r->at != r->len ? ERR_DAMAGED : 0;
}
