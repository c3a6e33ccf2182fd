/*
 * token.c - the token endpoint: credentials in, a short-lived token out
 * (distribution's token authentication and its OAuth2 form; doc/protocol.md, "Tokens").
 *
 * Runs in workers. What is asked for but not allowed is left out of the token,
 * not refused: the client finds out where it uses it. AUTH checks the password
 * itself before it signs, so a worker cannot issue tokens for whom it likes. A crash here costs
 * requests; a token that was signed and not answered is known to nobody.
 */
#include "api/api.h"

#include "api/challenge.h"
#include "api/credentials.h"
#include "api/login.h"
#include "api/rights.h"
#include "base/json.h"
#include "base/mem.h"
#include "ipc/msg_auth.h"
#include "oci/name.h"
#include "oci/scope.h"

#include <string.h>
#include <strings.h>
#include <time.h>

#define FORM_MAX 16384
/* At most so many parameters `scope` are read. */
#define PARAMETERS_MAX 64

struct token_op {
    struct credentials credentials;
    struct auth_question question;
    struct str granted;     /* as text, for the answer to POST */
    const char *parameters; /* the query, or the form of a POST */
};

static void token_finish(struct api_call *call)
{
    struct token_op *op = call->op;

    str_free(&op->granted);
}

/* The image a client means by a name, as route.c would. */
static const struct conf_repo *resolve(const struct api_call *call, const char **name)
{
    const struct conf_repo *repo = call->route.repo;
    const char *slash;

    if (!repo) {
        slash = strchr(*name, '/');
        repo = slash ? conf_repo_by_name(call->api->conf, *name, (size_t)(slash - *name)) : NULL;
        *name = slash ? slash + 1 : *name;
    }
    return name_image_ok(*name, strlen(*name)) ? repo : NULL;
}

static void grant(struct api_call *call, const struct scope *scope)
{
    struct token_op *op = call->op;
    struct auth_question *q = &op->question;
    const char *image = scope->name;
    const struct conf_repo *repo;
    char text[RIGHTS_TEXT_MAX];
    unsigned rights;

    if (scope->registry) {
        if (strcmp(scope->name, "catalog") == 0)
            q->catalog = true;
        return;
    }
    repo = resolve(call, &image);
    if (!repo || q->scope_count == TOKEN_SCOPES_MAX)
        return;
    rights = scope->actions &
             conf_rights(call->api->conf, call->user->known ? call->user->name : NULL, repo, image);
    if (rights == 0)
        return;
    q->scopes[q->scope_count++] = (struct token_scope){
        .name = mem_arena_printf(call->r->arena, "%s:%s", repo->name, image), .rights = rights};
    str_printf(&op->granted, "%srepository:%s:%s", op->granted.len > 0 ? " " : "", scope->name,
               rights_text(rights, text));
}

/* Scopes come as repeated parameters, joined by spaces, or both. */
static bool take_scopes(struct api_call *call)
{
    const struct token_op *op = call->op;

    for (size_t nth = 0; nth < PARAMETERS_MAX; nth++) {
        const char *p;
        struct scope scope;

        if (!api_parameter(call, op->parameters, "scope", nth, &p))
            return false;
        if (!p)
            return true;
        while (*p) {
            size_t len = strcspn(p, " ");

            if (len > 0 && scope_parse(p, len, &scope) == ERR_INVALID) {
                problem_answer(call->r, PROBLEM_PARAMETER,
                               "a scope is TYPE:NAME:ACTION, like repository:team/app:pull,push");
                return false;
            }
            if (len > 0)
                grant(call, &scope);
            p += len + (p[len] != 0);
        }
    }
    return true;
}

static void append_time(struct str *s, uint64_t seconds)
{
    time_t t = (time_t)seconds;
    char text[32];
    struct tm tm;

    gmtime_r(&t, &tm);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
    str_puts(s, text);
}

static void token_done(struct ask *ask, int err, struct msg_reader *reply, int fd)
{
    struct api_call *call = api_call_of_ask(ask);
    struct token_op *op = call->op;
    struct str *body = &call->body;
    struct auth_issued issued = {0};

    err = api_reply_err(err, reply, fd);
    if (err == 0) {
        auth_issued_get(reply, &issued);
        err = msg_end(reply);
    }
    if (err == ERR_DENIED) {
        challenge_answer(call, CHALLENGE_WRONG); /* changed since it was checked */
        return;
    }
    if (err != 0) {
        login_answer_err(call, err);
        return;
    }
    str_puts(body, "{\"token\":");
    json_append_string(body, issued.token);
    str_puts(body, ",\"access_token\":");
    json_append_string(body, issued.token);
    str_printf(body, ",\"expires_in\":%u,\"issued_at\":\"", issued.ttl_s);
    append_time(body, issued.issued_s);
    str_puts(body, "\"");
    if (call->r->method == HTTP_POST) {
        str_puts(body, ",\"token_type\":\"Bearer\",\"scope\":");
        json_append_string(body, op->granted.data ? op->granted.data : "");
    }
    str_puts(body, "}");
    http_header_add(call->r, "Cache-Control", "no-store");
    api_answer_json(call, "application/json");
}

static void token_ask(struct api_call *call)
{
    struct token_op *op = call->op;
    struct link *link = login_link(call->api->logins);
    char peer[NET_ADDR_TEXT_MAX];

    if (!take_scopes(call))
        return;
    op->question.user = call->user->known ? op->credentials.user : "";
    op->question.password = call->user->known ? op->credentials.password : "";
    op->question.peer = login_peer(call, peer);
    auth_question_put(link_ask_begin(link, &call->ask, MSG_AUTH_TOKEN), &op->question);
    call->ask.done = token_done;
    link_ask_send(link, &call->ask);
}

static void token_form(struct api_call *call)
{
    struct token_op *op = call->op;
    const char *grant_type;

    if (!api_parameter(call, op->parameters, "grant_type", 0, &grant_type) ||
        !api_parameter(call, op->parameters, "username", 0, &op->credentials.user) ||
        !api_parameter(call, op->parameters, "password", 0, &op->credentials.password))
        return;
    if (!grant_type || strcmp(grant_type, "password") != 0) {
        /* Refresh tokens are never given out, so one that comes back is none of ours. */
        if (grant_type && strcmp(grant_type, "refresh_token") == 0)
            challenge_answer(call, CHALLENGE_INVALID_TOKEN);
        else
            problem_answer(call->r, PROBLEM_PARAMETER, "grant_type must be password");
        return;
    }
    if (!op->credentials.user || !op->credentials.password) {
        problem_answer(call->r, PROBLEM_PARAMETER, "username and password are needed");
        return;
    }
    op->credentials.kind = CREDENTIALS_BASIC;
    login_password(call, &op->credentials, token_ask);
}

static int form_data(struct http_request *r, const void *data, size_t len)
{
    struct api_call *call = r->handler_data;

    if (call->body.len + len > FORM_MAX) {
        problem_answer(r, PROBLEM_TOO_BIG, "a form for a token has at most %d bytes", FORM_MAX);
        return ERR_TOO_BIG;
    }
    str_append(&call->body, data, len);
    return 0;
}

static void form_end(struct http_request *r, int err)
{
    struct api_call *call = r->handler_data;
    struct token_op *op = call->op;

    if (err != 0)
        return;
    if (call->body.len > 0) {
        op->parameters = mem_arena_strndup(r->arena, call->body.data, call->body.len);
        explicit_bzero(call->body.data, call->body.len);
    }
    str_free(&call->body);
    token_form(call);
}

static bool form_type_ok(const struct http_request *r)
{
    static const char form[] = "application/x-www-form-urlencoded";
    const char *type = http_header_get(r, "Content-Type");

    return type && strncasecmp(type, form, sizeof(form) - 1) == 0 &&
           (type[sizeof(form) - 1] == 0 || strchr("; ", type[sizeof(form) - 1]));
}

static void token_post(struct api_call *call)
{
    if (!form_type_ok(call->r)) {
        problem_answer(call->r, PROBLEM_BAD_REQUEST,
                       "the body must be a form: application/x-www-form-urlencoded");
        return;
    }
    call->r->on_body = form_data;
    call->r->on_body_end = form_end;
    http_body_start(call->r);
}

void api_token(struct api_call *call)
{
    struct token_op *op = mem_arena_alloc(call->r->arena, sizeof(*op));

    call->op = op;
    call->finish = token_finish;
    if (call->r->method == HTTP_POST) {
        token_post(call);
        return;
    }
    if (call->r->method != HTTP_GET) {
        problem_method(call->r, "GET, POST");
        return;
    }
    op->parameters = call->r->query;
    credentials_parse(http_header_get(call->r, "Authorization"), call->r->arena, &op->credentials);
    if (op->credentials.kind == CREDENTIALS_BEARER ||
        http_header_count(call->r, "Authorization") > 1)
        op->credentials.kind = CREDENTIALS_BAD; /* a token does not beget another */
    login_password(call, &op->credentials, token_ask);
}
