/*
 * str.h - growing strings, numbers, hex and percent coding.
 */
#ifndef ENTREPOT_BASE_STR_H
#define ENTREPOT_BASE_STR_H

#include "base/err.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A growing byte string on the heap. Zero-initialise; `data` is NUL-terminated
 * whenever it is not NULL. The owner calls str_free(). */
struct str {
    char *data;
    size_t len;
    size_t cap;
};

void str_free(struct str *s);
void str_reset(struct str *s); /* length 0, keeps the memory */
/* Room for `more` bytes at once, where many small pieces are to come. */
void str_reserve(struct str *s, size_t more);
void str_append(struct str *s, const void *data, size_t len);
void str_puts(struct str *s, const char *text);
void str_putc(struct str *s, char c);
__attribute__((format(printf, 2, 3))) void str_printf(struct str *s, const char *format, ...);
__attribute__((format(printf, 2, 0))) void str_vprintf(struct str *s, const char *format,
                                                       va_list args);
/* The same as "%llu", many times as fast. */
void str_put_u64(struct str *s, uint64_t value);

/* Decimal digits only, no sign, no space, no overflow; `len` bytes all used. */
must_check int str_parse_u64(const char *text, size_t len, uint64_t *value_r);

/* Lower-case hex. `out` gets 2*len bytes and a NUL. */
void str_hex(const void *data, size_t len, char *out);
/* Lower-case hex only; exactly 2*len digits. */
must_check int str_unhex(const char *hex, size_t hex_len, uint8_t *out, size_t out_len);

/* Percent-decodes once into `out` (cap bytes with NUL). Fails with INVALID on a
 * broken escape, on %00 and other control bytes, and when it does not fit.
 * RFC 3986 section 2.1. `plus_is_space` is for query strings. */
must_check int str_percent_decode(const char *text, size_t len, bool plus_is_space, char *out,
                                  size_t cap);
/* Appends with everything but unreserved characters escaped. */
void str_percent_encode(struct str *s, const char *text);

/* True if a and b (same length) are equal; time does not depend on the content. */
bool str_equal_constant_time(const void *a, const void *b, size_t len);
/* ASCII-only case folding, whatever the locale. */
bool str_equal_nocase(const char *a, const char *b);

#endif
