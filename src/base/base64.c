/*
 * base64.c - RFC 4648. Pure. OpenSSL's decoder takes white space and wrong
 * padding; what stands between a client and its rights is read strictly.
 */
#include "base/base64.h"

#include <string.h>

static const char url_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static int value_of(char c, const char last_two[2])
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == last_two[0])
        return 62;
    return c == last_two[1] ? 63 : -1;
}

static int decode(const char *text, size_t len, const char last_two[2], unsigned char *out,
                  size_t cap, size_t *len_r)
{
    uint32_t bits = 0;
    unsigned count = 0; /* of bits not yet written out */
    size_t done = 0;

    if (len % 4 == 1)
        return ERR_INVALID;
    for (size_t i = 0; i < len; i++) {
        int value = value_of(text[i], last_two);

        if (value < 0)
            return ERR_INVALID;
        bits = bits << 6 | (uint32_t)value;
        count += 6;
        if (count < 8)
            continue;
        count -= 8;
        if (done == cap)
            return ERR_TOO_BIG;
        out[done++] = (unsigned char)(bits >> count);
        bits &= (1U << count) - 1;
    }
    *len_r = done;
    return bits == 0 ? 0 : ERR_INVALID;
}

int base64_decode(const char *text, size_t len, void *out, size_t cap, size_t *len_r)
{
    size_t padding = 0;

    if (len % 4 != 0)
        return ERR_INVALID;
    while (padding < 2 && padding < len && text[len - 1 - padding] == '=')
        padding++;
    return decode(text, len - padding, "+/", out, cap, len_r);
}

int base64url_decode(const char *text, size_t len, void *out, size_t cap, size_t *len_r)
{
    return decode(text, len, "-_", out, cap, len_r);
}

void base64url_append(struct str *s, const void *data, size_t len)
{
    const unsigned char *bytes = data;
    uint32_t bits = 0;
    unsigned count = 0;

    for (size_t i = 0; i < len; i++) {
        bits = bits << 8 | bytes[i];
        for (count += 8; count >= 6; count -= 6)
            str_putc(s, url_alphabet[bits >> (count - 6) & 63]);
    }
    if (count > 0)
        str_putc(s, url_alphabet[bits << (6 - count) & 63]);
}
