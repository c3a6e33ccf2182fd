/*
 * json.c - JSON into a tree in an arena, and strings out. Any process; the only
 * user of yajl.
 *
 * yajl calls back for each token; a stack of open containers, bounded by
 * JSON_DEPTH_MAX, says where the next value goes. Bytes and values are bounded,
 * so hostile documents cost what honest ones of their length cost. Owns nothing.
 */
#include "base/json.h"

#include "base/must.h"

#include <string.h>
#include <yajl/yajl_parse.h>

struct reader {
    struct mem_arena *arena;
    struct json_value *open[JSON_DEPTH_MAX];   /* containers being filled */
    struct json_value **tails[JSON_DEPTH_MAX]; /* where their next child goes */
    size_t depth, count;
    const char *key; /* of the next member */
    size_t key_len;
    struct json_value *root;
    const char *reason;
};

/* Length of the valid UTF-8 sequence at p (RFC 3629), 0 when there is none. */
static size_t utf8_length(const unsigned char *p)
{
    unsigned char low = 0x80, high = 0xbf;
    size_t len;

    if (p[0] < 0x80)
        return 1;
    if (p[0] >= 0xc2 && p[0] <= 0xdf)
        len = 2;
    else if (p[0] >= 0xe0 && p[0] <= 0xef)
        len = 3;
    else if (p[0] >= 0xf0 && p[0] <= 0xf4)
        len = 4;
    else
        return 0;
    if (p[0] == 0xe0)
        low = 0xa0; /* no overlong forms */
    else if (p[0] == 0xed)
        high = 0x9f; /* no surrogates */
    else if (p[0] == 0xf0)
        low = 0x90;
    else if (p[0] == 0xf4)
        high = 0x8f;
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++)
        if (p[i] < 0x80 || p[i] > 0xbf)
            return 0;
    return len;
}

/* yajl lets overlong forms pass. */
static bool utf8_ok(const char *text)
{
    const unsigned char *p = (const unsigned char *)text;

    while (*p) {
        size_t len = utf8_length(p);

        if (len == 0)
            return false;
        p += len;
    }
    return true;
}

static int refuse(struct reader *r, const char *reason)
{
    r->reason = reason;
    return 0;
}

/* NULL when a limit is passed. */
static struct json_value *value_add(struct reader *r, enum json_type type)
{
    struct json_value *value;

    if (++r->count > JSON_VALUES_MAX) {
        refuse(r, "too many values");
        return NULL;
    }
    value = mem_arena_alloc(r->arena, sizeof(*value));
    value->type = type;
    if (r->depth == 0) {
        r->root = value;
        return value;
    }
    value->key = r->key;
    value->key_len = r->key_len;
    r->key = NULL;
    *r->tails[r->depth - 1] = value;
    r->tails[r->depth - 1] = &value->next;
    r->open[r->depth - 1]->count++;
    return value;
}

static int on_null(void *ctx)
{
    return value_add(ctx, JSON_NULL) != NULL;
}

static int on_boolean(void *ctx, int boolean)
{
    struct json_value *value = value_add(ctx, JSON_BOOL);

    if (value)
        value->boolean = boolean != 0;
    return value != NULL;
}

static int add_text(struct reader *r, enum json_type type, const char *text, size_t len)
{
    struct json_value *value;

    if (memchr(text, 0, len))
        return refuse(r, "a string holds NUL");
    value = value_add(r, type);
    if (!value)
        return 0;
    value->text = mem_arena_strndup(r->arena, text, len);
    value->len = len;
    return utf8_ok(value->text) ? 1 : refuse(r, "a string is not valid UTF-8");
}

static int on_number(void *ctx, const char *text, size_t len)
{
    return add_text(ctx, JSON_NUMBER, text, len);
}

static int on_string(void *ctx, const unsigned char *text, size_t len)
{
    return add_text(ctx, JSON_STRING, (const char *)text, len);
}

static int container_open(struct reader *r, enum json_type type)
{
    struct json_value *value;

    if (r->depth == JSON_DEPTH_MAX)
        return refuse(r, "nested too deeply");
    value = value_add(r, type);
    if (!value)
        return 0;
    r->open[r->depth] = value;
    r->tails[r->depth] = &value->first;
    r->depth++;
    return 1;
}

static int on_object(void *ctx)
{
    return container_open(ctx, JSON_OBJECT);
}

static int on_array(void *ctx)
{
    return container_open(ctx, JSON_ARRAY);
}

static int on_key(void *ctx, const unsigned char *text, size_t len)
{
    struct reader *r = ctx;

    if (memchr(text, 0, len))
        return refuse(r, "a key holds NUL");
    r->key = mem_arena_strndup(r->arena, (const char *)text, len);
    r->key_len = len;
    return utf8_ok(r->key) ? 1 : refuse(r, "a key is not valid UTF-8");
}

static int on_close(void *ctx)
{
    struct reader *r = ctx;

    MUST(r->depth > 0);
    r->depth--;
    return 1;
}

int json_parse(struct mem_arena *arena, const char *data, size_t len, struct json_value **value_r,
               const char **reason_r)
{
    static const yajl_callbacks callbacks = {.yajl_null = on_null,
                                             .yajl_boolean = on_boolean,
                                             .yajl_number = on_number,
                                             .yajl_string = on_string,
                                             .yajl_start_map = on_object,
                                             .yajl_map_key = on_key,
                                             .yajl_end_map = on_close,
                                             .yajl_start_array = on_array,
                                             .yajl_end_array = on_close};
    struct reader r = {.arena = arena};
    yajl_handle handle;
    yajl_status status;

    /* yajl takes these for white space; JSON has them nowhere, in strings only escaped. */
    if (len > 0 && (memchr(data, '\f', len) || memchr(data, '\v', len))) {
        *reason_r = "not well-formed JSON";
        return ERR_INVALID;
    }
    handle = yajl_alloc(&callbacks, NULL, &r);
    MUST(handle);
    status = yajl_parse(handle, (const unsigned char *)data, len);
    if (status == yajl_status_ok)
        status = yajl_complete_parse(handle);
    yajl_free(handle);
    if (status != yajl_status_ok || !r.root || r.depth > 0) {
        *reason_r = r.reason ? r.reason : "not well-formed JSON";
        return ERR_INVALID;
    }
    *value_r = r.root;
    return 0;
}

int json_member(const struct json_value *object, const char *key,
                const struct json_value **member_r)
{
    const struct json_value *found = NULL;
    size_t len = strlen(key);

    *member_r = NULL;
    if (object->type != JSON_OBJECT)
        return 0;
    for (const struct json_value *m = object->first; m; m = m->next) {
        if (m->key_len != len || memcmp(m->key, key, len) != 0)
            continue;
        if (found)
            return ERR_INVALID;
        found = m;
    }
    if (found && found->type != JSON_NULL)
        *member_r = found;
    return 0;
}

int json_integer(const struct json_value *value, int64_t *value_r)
{
    uint64_t number;

    if (!value || value->type != JSON_NUMBER ||
        str_parse_u64(value->text, value->len, &number) != 0 || number > INT64_MAX)
        return ERR_INVALID;
    *value_r = (int64_t)number;
    return 0;
}

void json_append_string(struct str *s, const char *text)
{
    const unsigned char *p = (const unsigned char *)text;

    str_putc(s, '"');
    while (*p) {
        size_t len = utf8_length(p);

        if (len == 0) {
            str_puts(s, "\xef\xbf\xbd");
            len = 1;
        } else if (*p == '"' || *p == '\\') {
            str_printf(s, "\\%c", *p);
        } else if (*p < 0x20) {
            str_printf(s, "\\u%04x", *p);
        } else {
            str_append(s, p, len);
        }
        p += len;
    }
    str_putc(s, '"');
}
