/*
 * codec.c - fields of the database's values, as bytes on the disk.
 *
 * Pure functions of the catalog and of entrepotctl. What the disk gives back is checked like any
 * foreign bytes: damage yields an error, never a wrong answer.
 */
#include "meta/codec.h"

#include "base/must.h"

#include <string.h>

static void put_number(struct str *out, uint64_t v, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        str_putc(out, (char)(uint8_t)(v >> (8 * i)));
}

void codec_put_u8(struct str *out, uint8_t v)
{
    put_number(out, v, 1);
}

void codec_put_u32(struct str *out, uint32_t v)
{
    put_number(out, v, 4);
}

void codec_put_u64(struct str *out, uint64_t v)
{
    put_number(out, v, 8);
}

void codec_put_bytes(struct str *out, const void *data, size_t len)
{
    MUST(len <= UINT32_MAX);
    codec_put_u32(out, (uint32_t)len);
    str_append(out, data, len);
}

void codec_put_text(struct str *out, const char *text)
{
    if (!text)
        text = "";
    codec_put_bytes(out, text, strlen(text) + 1);
}

void codec_put_digest(struct str *out, const struct digest *d)
{
    codec_put_u8(out, d->alg);
    str_append(out, d->bytes, digest_len(d->alg));
}

struct codec_reader codec_open(const void *data, size_t len, uint8_t version)
{
    struct codec_reader r = {.data = data, .len = len};

    if (codec_get_u8(&r) != version)
        r.bad = true;
    return r;
}

static const char *take(struct codec_reader *r, size_t len)
{
    const char *p;

    if (r->bad || r->len - r->at < len) {
        r->bad = true;
        return NULL;
    }
    p = r->data + r->at;
    r->at += len;
    return p;
}

static uint64_t get_number(struct codec_reader *r, size_t bytes)
{
    const char *p = take(r, bytes);
    uint64_t v = 0;

    for (size_t i = bytes; p && i-- > 0;)
        v = v << 8 | (uint8_t)p[i];
    return v;
}

uint8_t codec_get_u8(struct codec_reader *r)
{
    return (uint8_t)get_number(r, 1);
}

uint32_t codec_get_u32(struct codec_reader *r)
{
    return (uint32_t)get_number(r, 4);
}

uint64_t codec_get_u64(struct codec_reader *r)
{
    return get_number(r, 8);
}

void codec_get_raw(struct codec_reader *r, void *out, size_t len)
{
    const char *p = take(r, len);

    if (p)
        memcpy(out, p, len);
    else
        memset(out, 0, len);
}

const void *codec_get_bytes(struct codec_reader *r, size_t max, size_t *len_r)
{
    size_t len = codec_get_u32(r);
    const char *p = len <= max ? take(r, len) : NULL;

    if (!p) {
        r->bad = true;
        *len_r = 0;
        return "";
    }
    *len_r = len;
    return p;
}

const char *codec_get_text(struct codec_reader *r, size_t max)
{
    size_t len;
    const char *p = codec_get_bytes(r, max + 1, &len);

    if (len == 0 || memchr(p, 0, len) != p + len - 1) {
        r->bad = true;
        return "";
    }
    return p;
}

void codec_get_digest(struct codec_reader *r, bool optional, struct digest *d_r)
{
    const char *p;
    size_t len;

    *d_r = (struct digest){.alg = codec_get_u8(r)};
    len = digest_len(d_r->alg);
    if (len == 0 && !(optional && d_r->alg == 0))
        r->bad = true;
    p = take(r, len);
    if (p)
        memcpy(d_r->bytes, p, len);
    else
        d_r->alg = 0;
}

int codec_end(const struct codec_reader *r)
{
    return r->bad || r->at != r->len ? ERR_DAMAGED : 0;
}
