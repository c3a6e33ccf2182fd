/*
 * problem.c - error answers. Runs in workers; owns nothing.
 */
#include "api/problem.h"

#include "base/json.h"
#include "base/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MESSAGE_MAX   512
#define RETRY_AFTER_S 5

static const struct problem_entry {
    const char *code;
    int status;
    const char *text;
} table[PROBLEM_COUNT] = {
#define X(name, code, status, text) {code, status, text},
    PROBLEM_TABLE(X)
#undef X
};

static void append_error(struct str *body, const char *code, const char *message,
                         const char *detail)
{
    str_puts(body, "{\"code\":");
    json_append_string(body, code);
    str_puts(body, ",\"message\":");
    json_append_string(body, message);
    if (detail) {
        str_puts(body, ",\"detail\":");
        json_append_string(body, detail);
    }
    str_puts(body, "}");
}

static void send_body(struct http_request *r, int status, struct str *body, unsigned retry_s)
{
    const char *copy = mem_arena_strndup(r->arena, body->data, body->len);

    http_header_add(r, "Content-Type", "application/json");
    if (status == 503 || status == 429)
        http_header_add(r, "Retry-After", "%u", retry_s > 0 ? retry_s : RETRY_AFTER_S);
    http_answer_memory(r, status, copy, body->len);
    str_free(body);
}

static void answer(struct http_request *r, const char *code, int status, const char *message,
                   unsigned retry_s)
{
    struct str body = {0};

    str_puts(&body, "{\"errors\":[");
    append_error(&body, code, message, NULL);
    str_puts(&body, "]}");
    send_body(r, status, &body, retry_s);
}

void problem_answer(struct http_request *r, enum problem problem, const char *format, ...)
{
    char message[MESSAGE_MAX];
    va_list args;

    if (!format) {
        answer(r, table[problem].code, table[problem].status, table[problem].text, 0);
        return;
    }
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    answer(r, table[problem].code, table[problem].status, message, 0);
}

void problem_answer_retry(struct http_request *r, enum problem problem, unsigned retry_s,
                          const char *message)
{
    answer(r, table[problem].code, table[problem].status, message, retry_s);
}

void problem_answer_status(struct http_request *r, int status, const char *message)
{
    const char *code = "UNSUPPORTED";

    if (status >= 500)
        code = status == 503 ? "UNAVAILABLE" : "UNKNOWN";
    else if (status == 403)
        code = "DENIED";
    else if (status == 413)
        code = "SIZE_INVALID";
    answer(r, code, status, message, 0);
}

void problem_method(struct http_request *r, const char *allow)
{
    http_header_add(r, "Allow", "%s", allow);
    problem_answer(r, PROBLEM_UNSUPPORTED, "method not allowed here; allowed: %s", allow);
}

void problem_answer_each(struct http_request *r, enum problem problem,
                         const struct problem_about *about, size_t count)
{
    const struct problem_entry *entry = &table[problem];
    struct str body = {0};
    char text[DIGEST_TEXT_MAX];

    str_puts(&body, "{\"errors\":[");
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            str_puts(&body, ",");
        append_error(&body, entry->code, about[i].text ? about[i].text : entry->text,
                     digest_text(&about[i].digest, text));
    }
    str_puts(&body, "]}");
    send_body(r, entry->status, &body, 0);
}

enum problem problem_from_err(int err)
{
    switch (err) {
    case ERR_NO_SPACE:
        return PROBLEM_NO_SPACE;
    case ERR_INCOMPLETE:
        return PROBLEM_INCOMPLETE;
    case ERR_QUOTA:
    case ERR_DENIED:
        return PROBLEM_DENIED;
    case ERR_NO_FILES:
    case ERR_BUSY:
    case ERR_TIMEOUT:
    case ERR_CLOSED:
    case ERR_UNAVAILABLE:
    case ERR_READ_ONLY:
    case ERR_NO_ACCESS:
        return PROBLEM_UNAVAILABLE;
    default:
        return PROBLEM_INTERNAL;
    }
}
