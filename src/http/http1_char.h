/*
 * http1_char.h - character classes of HTTP/1.x (RFC 9110 section 5.6.2),
 * whatever the locale.
 */
#ifndef ENTREPOT_HTTP_HTTP1_CHAR_H
#define ENTREPOT_HTTP_HTTP1_CHAR_H

#include <stdbool.h>

static inline bool http1_is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}

static inline bool http1_is_alpha(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* tchar: what methods and field names are made of. */
static inline bool http1_is_token(unsigned char c)
{
    switch (c) {
    case '!':
    case '#':
    case '$':
    case '%':
    case '&':
    case '\'':
    case '*':
    case '+':
    case '-':
    case '.':
    case '^':
    case '_':
    case '`':
    case '|':
    case '~':
        return true;
    default:
        return http1_is_digit(c) || http1_is_alpha(c);
    }
}

/* What a field value may hold: visible, obs-text, space and HTAB. */
static inline bool http1_is_value(unsigned char c)
{
    return c == '\t' || (c >= 0x20 && c != 0x7f);
}

#endif
