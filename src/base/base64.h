/*
 * base64.h - RFC 4648: base64 (section 4, with padding) as Basic credentials use
 * it, and base64url (section 5, without) as tokens do.
 */
#ifndef ENTREPOT_BASE_BASE64_H
#define ENTREPOT_BASE_BASE64_H

#include "base/err.h"
#include "base/str.h"

/* Decodes all of `text` into `out` (cap bytes). Strict: only the alphabet, no
 * left-over bits, padding exactly as the form has it. INVALID, TOO_BIG. */
must_check int base64_decode(const char *text, size_t len, void *out, size_t cap, size_t *len_r);
must_check int base64url_decode(const char *text, size_t len, void *out, size_t cap, size_t *len_r);
/* Appends. */
void base64url_append(struct str *s, const void *data, size_t len);

#endif
