/*
 * json.h - reading and writing JSON (RFC 8259). The only user of yajl.
 */
#ifndef ENTREPOT_BASE_JSON_H
#define ENTREPOT_BASE_JSON_H

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum json_type { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

#define JSON_DEPTH_MAX  32
#define JSON_VALUES_MAX 1000000

/* A parsed value; lives in the arena given to json_parse. Children of arrays
 * and objects are a list in document order. */
struct json_value {
    enum json_type type;
    bool boolean;
    const char *text; /* string (NUL-terminated, may hold no NUL) or number as written */
    size_t len;
    const char *key; /* when a member of an object */
    size_t key_len;
    struct json_value *first, *next;
    size_t count; /* children */
};

/* Parses exactly one document of `len` bytes. INVALID with a short reason in
 * *reason_r (static or arena text) for malformed JSON, invalid UTF-8, NUL in
 * strings, trailing bytes, depth over JSON_DEPTH_MAX or more than
 * JSON_VALUES_MAX values. The caller bounds `len`. */
must_check int json_parse(struct mem_arena *arena, const char *data, size_t len,
                          struct json_value **value_r, const char **reason_r);

/* The member `key` of an object in *member_r, NULL when absent (then 0). null counts as absent:
 * encoders of Go write it for lists and maps that were never made. INVALID when the key stands
 * there twice, whatever its values. */
must_check int json_member(const struct json_value *object, const char *key,
                           const struct json_value **member_r);
/* A non-negative integer without fraction or exponent that fits int64. */
must_check int json_integer(const struct json_value *value, int64_t *value_r);

/* Appends `text` as a JSON string with quotes; bytes that are not valid UTF-8
 * become U+FFFD. */
void json_append_string(struct str *s, const char *text);

#endif
