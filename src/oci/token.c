/*
 * token.c - tokens as text. Pure; AUTH writes, workers read.
 *
 * The signature is checked before anything within is looked at. The header is
 * compared with the only one we write: an `alg` of the sender's choice has no say.
 */
#include "oci/token.h"

#include "base/base64.h"
#include "base/json.h"

#include <stdio.h>
#include <string.h>

#define HEADER "{\"alg\":\"EdDSA\",\"typ\":\"JWT\"}"
/* Clocks of one machine, but they may be set. */
#define FUTURE_S 60

static void append_scope(struct str *json, const struct token_scope *scope)
{
    char rights[RIGHTS_TEXT_MAX];

    str_puts(json, "{\"type\":\"repository\",\"name\":");
    json_append_string(json, scope->name);
    str_puts(json, ",\"actions\":[");
    rights_text(scope->rights, rights);
    for (const char *p = rights; *p;) {
        int len = (int)strcspn(p, ",");

        str_printf(json, "%s\"%.*s\"", p == rights ? "" : ",", len, p);
        p += len;
        p += *p == ',';
    }
    str_puts(json, "]}");
}

void token_write(const struct token *token, const struct sign_key *key, struct str *out)
{
    struct str json = {0};
    uint8_t signature[SIGN_BYTES];
    size_t begin = out->len;

    str_puts(&json, "{\"iss\":\"entrepot\",\"sub\":");
    json_append_string(&json, token->user);
    str_printf(&json,
               ",\"iat\":%llu,\"exp\":%llu,\"stamp\":\"%016llx\",\"epoch\":\"%016llx\","
               "\"access\":[",
               (unsigned long long)token->issued_s, (unsigned long long)token->expires_s,
               (unsigned long long)token->stamp, (unsigned long long)token->epoch);
    for (size_t i = 0; i < token->scope_count; i++) {
        if (i > 0)
            str_putc(&json, ',');
        append_scope(&json, &token->scopes[i]);
    }
    if (token->catalog)
        str_printf(&json, "%s{\"type\":\"registry\",\"name\":\"catalog\",\"actions\":[\"*\"]}",
                   token->scope_count > 0 ? "," : "");
    str_puts(&json, "]}");
    base64url_append(out, HEADER, strlen(HEADER));
    str_putc(out, '.');
    base64url_append(out, json.data, json.len);
    sign_make(key, out->data + begin, out->len - begin, signature);
    str_putc(out, '.');
    base64url_append(out, signature, sizeof(signature));
    str_free(&json);
}

static const struct json_value *member(const struct json_value *object, const char *key,
                                       enum json_type type)
{
    const struct json_value *value;

    if (object->type != JSON_OBJECT || json_member(object, key, &value) != 0 || !value ||
        value->type != type)
        return NULL;
    return value;
}

static bool read_hex(const struct json_value *object, const char *key, uint64_t *value_r)
{
    const struct json_value *value = member(object, key, JSON_STRING);
    uint8_t bytes[8];

    if (!value || str_unhex(value->text, value->len, bytes, sizeof(bytes)) != 0)
        return false;
    *value_r = 0;
    for (size_t i = 0; i < sizeof(bytes); i++)
        *value_r = *value_r << 8 | bytes[i];
    return true;
}

static bool read_seconds(const struct json_value *object, const char *key, uint64_t *value_r)
{
    const struct json_value *value = member(object, key, JSON_NUMBER);
    int64_t number;

    if (!value || json_integer(value, &number) != 0)
        return false;
    *value_r = (uint64_t)number;
    return true;
}

static unsigned read_actions(const struct json_value *entry)
{
    const struct json_value *actions = member(entry, "actions", JSON_ARRAY);
    unsigned rights = 0;

    for (const struct json_value *v = actions ? actions->first : NULL; v; v = v->next)
        if (v->type == JSON_STRING)
            rights |= right_by_word(v->text, strlen(v->text));
    return rights;
}

static int read_access(const struct json_value *access, struct token *token)
{
    for (const struct json_value *v = access->first; v; v = v->next) {
        const struct json_value *type = member(v, "type", JSON_STRING);
        const struct json_value *name = member(v, "name", JSON_STRING);

        if (!type || !name)
            return ERR_DENIED;
        if (strcmp(type->text, "registry") == 0) {
            token->catalog = true;
            continue;
        }
        if (token->scope_count == TOKEN_SCOPES_MAX)
            return ERR_DENIED;
        token->scopes[token->scope_count].name = name->text;
        token->scopes[token->scope_count++].rights = read_actions(v);
    }
    return 0;
}

static int read_claims(const struct json_value *claims, struct token *token)
{
    const struct json_value *user = member(claims, "sub", JSON_STRING);
    const struct json_value *access = member(claims, "access", JSON_ARRAY);

    if (!user || !access || !read_seconds(claims, "iat", &token->issued_s) ||
        !read_seconds(claims, "exp", &token->expires_s) ||
        !read_hex(claims, "stamp", &token->stamp) || !read_hex(claims, "epoch", &token->epoch))
        return ERR_DENIED;
    token->user = user->text;
    return read_access(access, token);
}

int token_read(struct mem_arena *arena, const char *text, const struct sign_key *key,
               uint64_t now_s, struct token *token_r)
{
    size_t len = strlen(text), json_len, signature_len;
    const char *first = strchr(text, '.'), *last = strrchr(text, '.'), *reason;
    uint8_t signature[SIGN_BYTES];
    struct json_value *claims;
    char header[64], *json;
    int err;

    *token_r = (struct token){0};
    if (len > TOKEN_TEXT_MAX || !first || first == last)
        return ERR_DENIED;
    if (base64url_decode(last + 1, strlen(last + 1), signature, sizeof(signature),
                         &signature_len) != 0 ||
        signature_len != SIGN_BYTES || sign_check(key, text, (size_t)(last - text), signature) != 0)
        return ERR_DENIED;
    if (base64url_decode(text, (size_t)(first - text), header, sizeof(header), &json_len) != 0 ||
        json_len != strlen(HEADER) || memcmp(header, HEADER, json_len) != 0)
        return ERR_DENIED;
    json = mem_arena_alloc(arena, len);
    if (base64url_decode(first + 1, (size_t)(last - first) - 1, json, len, &json_len) != 0 ||
        json_parse(arena, json, json_len, &claims, &reason) != 0)
        return ERR_DENIED;
    err = read_claims(claims, token_r);
    if (err == 0 && (now_s >= token_r->expires_s || token_r->issued_s > now_s + FUTURE_S))
        err = ERR_TIMEOUT;
    return err;
}
