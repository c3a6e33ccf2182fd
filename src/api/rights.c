/*
 * rights.c - rights of requests. Runs in workers; pure but for its answers.
 */
#include "api/rights.h"

#include "api/challenge.h"
#include "api/login.h"
#include "base/mem.h"
#include "oci/token.h"

#include <string.h>

static bool scope_is(const struct token_scope *scope, const char *repo, const char *image)
{
    size_t len = strlen(repo);

    return strncmp(scope->name, repo, len) == 0 && scope->name[len] == ':' &&
           strcmp(scope->name + len + 1, image) == 0;
}

static unsigned scoped(const struct api_user *user, const char *repo, const char *image)
{
    unsigned rights = 0;

    for (size_t i = 0; i < user->scope_count; i++)
        if (scope_is(&user->scopes[i], repo, image))
            rights |= user->scopes[i].rights;
    return rights;
}

static unsigned by_conf(const struct api_call *call, const struct conf_repo *repo,
                        const char *image)
{
    return conf_rights(call->api->conf, call->user && call->user->known ? call->user->name : NULL,
                       repo, image);
}

/* A token is for what the client asks by name: within a group its scope names the
 * group, and a list of everything has the scope of the list. */
static bool by_scope(const struct api_call *call, const struct conf_repo *repo, const char *image,
                     unsigned rights)
{
    const struct api_user *user = call->user;
    const struct conf_repo *named;

    if (!user || !user->token || !call->route.image)
        return true;
    named = call->group ? call->group : call->route.repo;
    return ((scoped(user, repo->name, image) | scoped(user, named->name, image)) & rights) ==
           rights;
}

bool api_may(struct api_call *call, const struct conf_repo *repo, const char *image,
             unsigned rights)
{
    if (!call->api->conf->auth.on)
        return true;
    return (by_conf(call, repo, image) & rights) == rights && by_scope(call, repo, image, rights);
}

bool api_may_read_all(struct api_call *call)
{
    const struct conf *conf = call->api->conf;

    if (!conf->auth.on)
        return true;
    if (call->user->token)
        return false;
    if (call->user->known && conf->role_count == 0)
        return true;
    for (size_t i = 0; i < conf->repo_count; i++)
        if (conf->repos[i].force_basic_auth || !(conf->auth.anonymous_may & RIGHT_PULL))
            return false;
    return true;
}

unsigned rights_required(const struct api_call *call)
{
    switch (call->r->method) {
    case HTTP_GET:
    case HTTP_HEAD:
        /* An upload's state is its owner's business. */
        return call->route.kind == ROUTE_UPLOAD ? RIGHT_PULL | RIGHT_PUSH : RIGHT_PULL;
    case HTTP_DELETE:
        return call->route.kind == ROUTE_UPLOAD ? RIGHT_PUSH : RIGHT_DELETE;
    case HTTP_POST:
    case HTTP_PUT:
    case HTTP_PATCH:
        return RIGHT_PULL | RIGHT_PUSH;
    default:
        return RIGHT_PULL; /* answered with 405 anyway */
    }
}

const char *rights_client_name(const struct api_call *call)
{
    const char *base = call->route.base;

    if (!call->route.image)
        return NULL;
    if (base[1] == 'v' && strcmp(base, "/v2/") != 0) /* /v2/REPOSITORY/ */
        return mem_arena_printf(call->r->arena, "%s%s", base + 4, call->route.image);
    return call->route.image;
}

static bool refuse(struct api_call *call, enum challenge why)
{
    challenge_answer(call, why);
    return false;
}

/* Without an image: whoever has logged in, and everybody where the connector is
 * open; clients that were told 200 here would never offer their credentials. */
static bool admit_connector(struct api_call *call, unsigned open)
{
    const struct conf *conf = call->api->conf;
    unsigned all = conf_connector_open(conf, &conf->connectors[call->r->listener]);

    if (call->user->known || call->user->token || (all & open) == open)
        return true;
    return refuse(call, CHALLENGE_ANONYMOUS);
}

static bool admit_catalog(struct api_call *call)
{
    if (!call->user->token)
        return admit_connector(call, RIGHT_PULL);
    return call->user->catalog || refuse(call, CHALLENGE_INSUFFICIENT_SCOPE);
}

/* containerd 1.6 asks HEAD for the tag before it pushes, and cannot repeat the
 * body of the PUT that is refused then: where the anonymous may read and not
 * write, this is the request that tells it to bring its credentials. A client
 * without any comes back with a token for the anonymous. */
static bool before_a_push(struct api_call *call, const struct conf_repo *repo, const char *image)
{
    return call->r->method == HTTP_HEAD && call->route.kind == ROUTE_MANIFEST &&
           !strchr(call->route.ref, ':') && !http_header_get(call->r, "Authorization") &&
           !(by_conf(call, repo, image) & RIGHT_PUSH) && !challenge_basic(call);
}

bool rights_admit(struct api_call *call)
{
    const struct conf_repo *repo = call->route.repo;
    const char *image = call->route.image;
    unsigned rights;

    if (call->route.kind == ROUTE_CATALOG)
        return admit_catalog(call);
    if (!image)
        return admit_connector(call, RIGHT_PULL | RIGHT_PUSH);
    rights = rights_required(call);
    if ((by_conf(call, repo, image) & rights) != rights) {
        if (!call->user->known)
            return refuse(call,
                          call->user->token ? CHALLENGE_INSUFFICIENT_SCOPE : CHALLENGE_ANONYMOUS);
        problem_answer(call->r, PROBLEM_DENIED, "user %s lacks a right on %s", call->user->name,
                       rights_client_name(call));
        return false;
    }
    if (before_a_push(call, repo, image))
        return refuse(call, CHALLENGE_ANONYMOUS);
    return by_scope(call, repo, image, rights) || refuse(call, CHALLENGE_INSUFFICIENT_SCOPE);
}
