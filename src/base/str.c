/*
 * str.c - growing strings, numbers, hex and percent coding. Pure; any process.
 */
#include "base/str.h"

#include "base/mem.h"
#include "base/must.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void str_free(struct str *s)
{
    free(s->data);
    *s = (struct str){0};
}

void str_reset(struct str *s)
{
    s->len = 0;
    if (s->data)
        s->data[0] = 0;
}

void str_reserve(struct str *s, size_t more)
{
    size_t need = s->len + more + 1;

    MUST(need > s->len);
    if (need <= s->cap)
        return;
    if (need < s->cap * 2)
        need = s->cap * 2;
    if (need < 64)
        need = 64;
    s->data = mem_grow(s->data, need);
    s->cap = need;
}

void str_append(struct str *s, const void *data, size_t len)
{
    str_reserve(s, len);
    if (len)
        memcpy(s->data + s->len, data, len);
    s->len += len;
    s->data[s->len] = 0;
}

void str_puts(struct str *s, const char *text)
{
    str_append(s, text, strlen(text));
}

void str_putc(struct str *s, char c)
{
    str_append(s, &c, 1);
}

/* Formatted once where it fits into what is there, which is the rule. */
void str_vprintf(struct str *s, const char *format, va_list args)
{
    size_t room = s->cap - s->len;
    va_list again;
    int len;

    va_copy(again, args);
    len = vsnprintf(s->data ? s->data + s->len : NULL, room, format, args);
    MUST(len >= 0);
    if ((size_t)len >= room) {
        str_reserve(s, (size_t)len);
        vsnprintf(s->data + s->len, (size_t)len + 1, format, again);
    }
    va_end(again);
    s->len += (size_t)len;
}

void str_printf(struct str *s, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    str_vprintf(s, format, args);
    va_end(args);
}

void str_put_u64(struct str *s, uint64_t value)
{
    char digits[20];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    str_append(s, digits + at, sizeof(digits) - at);
}

int str_parse_u64(const char *text, size_t len, uint64_t *value_r)
{
    uint64_t value = 0;

    if (len == 0)
        return ERR_INVALID;
    for (size_t i = 0; i < len; i++) {
        unsigned digit = (unsigned)(unsigned char)text[i] - '0';

        if (digit > 9 || value > (UINT64_MAX - digit) / 10)
            return ERR_INVALID;
        value = value * 10 + digit;
    }
    *value_r = value;
    return 0;
}

void str_hex(const void *data, size_t len, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *bytes = data;

    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * len] = 0;
}

static int hex_value(char c, bool upper_too)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (upper_too && c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int str_unhex(const char *hex, size_t hex_len, uint8_t *out, size_t out_len)
{
    if (hex_len != 2 * out_len)
        return ERR_INVALID;
    for (size_t i = 0; i < out_len; i++) {
        int high = hex_value(hex[2 * i], false), low = hex_value(hex[2 * i + 1], false);

        if (high < 0 || low < 0)
            return ERR_INVALID;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return 0;
}

int str_percent_decode(const char *text, size_t len, bool plus_is_space, char *out, size_t cap)
{
    size_t at = 0;

    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];

        if (c == '%') {
            int high = len - i > 2 ? hex_value(text[i + 1], true) : -1;
            int low = len - i > 2 ? hex_value(text[i + 2], true) : -1;

            if (high < 0 || low < 0)
                return ERR_INVALID;
            c = (unsigned char)(high << 4 | low);
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        if (c < 0x20 || c == 0x7f || at + 1 >= cap)
            return ERR_INVALID;
        out[at++] = (char)c;
    }
    if (cap == 0)
        return ERR_INVALID;
    out[at] = 0;
    return 0;
}

void str_percent_encode(struct str *s, const char *text)
{
    static const char unreserved[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";

    for (; *text; text++) {
        if (strchr(unreserved, *text))
            str_putc(s, *text);
        else
            str_printf(s, "%%%02X", (unsigned)(unsigned char)*text);
    }
}

bool str_equal_constant_time(const void *a, const void *b, size_t len)
{
    const volatile uint8_t *x = a, *y = b;
    uint8_t difference = 0;

    for (size_t i = 0; i < len; i++)
        difference |= x[i] ^ y[i];
    return difference == 0;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

bool str_equal_nocase(const char *a, const char *b)
{
    while (*a && lower(*a) == lower(*b)) {
        a++;
        b++;
    }
    return lower(*a) == lower(*b);
}
