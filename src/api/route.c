/*
 * route.c - routing from the right: a name may itself hold components such as
 * "tags" or "blobs", so what is asked stands in the last segments.
 *
 * Runs in workers; pure. The path is percent-decoded once and then only ever
 * matched against grammars, never cleaned up.
 */
#include "api/route.h"

#include "oci/name.h"

#include <string.h>
#include <strings.h>

struct segments {
    char *last, *second, *third;       /* "" when absent */
    char *before_last, *before_second; /* the slash that begins them; NULL when absent */
};

static bool fail(struct route_failure *why_r, enum problem problem, const char *text)
{
    *why_r = (struct route_failure){problem, text};
    return false;
}

const struct conf_repo *route_repo_by_host(const struct conf *conf, const struct http_request *r)
{
    const struct conf_connector *connector = &conf->connectors[r->listener];
    const struct conf_host *host = conf_host_by_name(connector, r->host);

    return host ? host->repo : connector->repo;
}

/* Takes "/v2/", "/repository/NAME/v2/" off; rest_r is what follows. */
static bool take_prefix(const struct conf *conf, struct http_request *r, char *path,
                        struct route *route, char **rest_r, struct route_failure *why_r)
{
    static const char repository[] = "/repository/";
    char *name, *end;

    if (strncmp(path, repository, sizeof(repository) - 1) == 0) {
        name = path + sizeof(repository) - 1;
        end = strchr(name, '/');
        if (!end || (strncmp(end, "/v2/", 4) != 0 && strcmp(end, "/v2") != 0))
            return fail(why_r, PROBLEM_NAME_UNKNOWN,
                        "no such path; a repository is at /repository/NAME/v2/");
        route->repo = conf_repo_by_name(conf, name, (size_t)(end - name));
        if (!route->repo)
            return fail(why_r, PROBLEM_NAME_UNKNOWN, "no such repository");
        route->base = mem_arena_printf(r->arena, "/repository/%s/v2/", route->repo->name);
        path = end;
    } else {
        route->repo = route_repo_by_host(conf, r);
        route->base = "/v2/";
    }
    if (strcmp(path, "/v2") == 0) {
        *rest_r = path + 3;
        return true;
    }
    if (strncmp(path, "/v2/", 4) != 0)
        return fail(why_r, PROBLEM_NAME_UNKNOWN, "no such path; the registry is at /v2/");
    *rest_r = path + 4;
    return true;
}

static void split(char *rest, struct segments *s)
{
    static char none[1] = "";
    char *slash = strrchr(rest, '/'), *p;

    s->last = slash ? slash + 1 : rest;
    s->before_last = slash;
    s->second = s->third = none;
    s->before_second = NULL;
    if (!slash)
        return;
    for (p = slash; p > rest && p[-1] != '/';)
        p--;
    s->second = p;
    if (p == rest)
        return;
    s->before_second = p - 1;
    for (p = s->before_second; p > rest && p[-1] != '/';)
        p--;
    s->third = p;
}

static bool segment_is(const char *segment, const char *text)
{
    size_t len = strlen(text);

    return strncmp(segment, text, len) == 0 && (segment[len] == 0 || segment[len] == '/');
}

/* Finds what is asked; cuts the image's name out of `rest` (NULL: no such path). */
static char *match(char *rest, struct route *route)
{
    struct segments s;
    char *image_end = NULL;

    split(rest, &s);
    route->ref = s.last;
    if (segment_is(s.second, "tags") && strcmp(s.last, "list") == 0) {
        route->kind = ROUTE_TAGS;
        image_end = s.before_second;
    } else if (segment_is(s.second, "manifests")) {
        route->kind = ROUTE_MANIFEST;
        image_end = s.before_second;
    } else if (segment_is(s.second, "referrers")) {
        route->kind = ROUTE_REFERRERS;
        image_end = s.before_second;
    } else if (segment_is(s.second, "uploads") && segment_is(s.third, "blobs")) {
        route->kind = *s.last ? ROUTE_UPLOAD : ROUTE_UPLOADS;
        image_end = s.third > rest ? s.third - 1 : NULL;
    } else if (segment_is(s.second, "blobs")) {
        route->kind = strcmp(s.last, "uploads") == 0 ? ROUTE_UPLOADS : ROUTE_BLOB;
        image_end = s.before_second;
    }
    if (!image_end)
        return NULL;
    *image_end = 0;
    return rest;
}

/* On a connector without a repository the first component names it. */
static bool take_repository(const struct conf *conf, struct http_request *r, struct route *route,
                            char **image, struct route_failure *why_r)
{
    char *slash = strchr(*image, '/');
    size_t len = slash ? (size_t)(slash - *image) : strlen(*image);

    route->repo = conf_repo_by_name(conf, *image, len);
    if (!route->repo || !slash)
        return fail(why_r, PROBLEM_NAME_UNKNOWN,
                    "no such repository; names here are REPOSITORY/IMAGE");
    route->base = mem_arena_printf(r->arena, "/v2/%s/", route->repo->name);
    *image = slash + 1;
    return true;
}

static bool answers_for(const struct conf_repo *repo, const char *ns)
{
    if (repo->kind != CONF_PROXY)
        return false;
    for (size_t i = 0; i < repo->proxy->namespace_count; i++)
        if (strcasecmp(repo->proxy->namespaces[i], ns) == 0)
            return true;
    return repo->proxy->docker_hub &&
           (strcmp(ns, "docker.io") == 0 || strcmp(ns, "index.docker.io") == 0 ||
            strcmp(ns, "registry-1.docker.io") == 0);
}

/* The proxy for that namespace among `repo` and its members. */
static const struct conf_repo *proxy_within(const struct conf_repo *repo, const char *ns)
{
    const struct conf_repo *found = answers_for(repo, ns) ? repo : NULL;

    for (size_t i = 0; repo->kind == CONF_GROUP && i < repo->group->member_count && !found; i++)
        found = proxy_within(repo->group->members[i], ns);
    return found;
}

/* Mirrors are told whose names they are asked for (doc/protocol.md, "Mirrors and ns"). It chooses
 * among what is configured here and nothing else; a mirror of one registry must not answer for
 * another. */
static bool take_namespace(const struct conf *conf, struct http_request *r, struct route *route,
                           struct route_failure *why_r)
{
    const struct conf_repo *found = NULL;
    const char *ns;

    if ((r->method != HTTP_GET && r->method != HTTP_HEAD) ||
        (route->repo && route->repo->kind == CONF_HOSTED))
        return true;
    if (http_query_get(r, "ns", 0, &ns) != 0)
        return fail(why_r, PROBLEM_PARAMETER, "parameter ns is not properly encoded");
    if (!ns || !*ns || strcasecmp(ns, r->authority) == 0 || strcasecmp(ns, r->host) == 0)
        return true;
    if (route->repo)
        found = proxy_within(route->repo, ns);
    for (size_t i = 0; !route->repo && i < conf->repo_count && !found; i++)
        found = proxy_within(&conf->repos[i], ns);
    if (!found)
        return fail(why_r, PROBLEM_NAME_UNKNOWN,
                    "no proxy here answers for this namespace; see `namespaces`");
    route->repo = found;
    for (size_t i = 0; i < found->proxy->namespace_count; i++)
        if (strcasecmp(found->proxy->namespaces[i], ns) == 0)
            route->ns = found->proxy->namespaces[i];
    if (!route->ns)
        route->ns = "docker.io";
    return true;
}

bool route_find(const struct conf *conf, struct http_request *r, struct route *route_r,
                struct route_failure *why_r)
{
    size_t len = strlen(r->path);
    char *path = mem_arena_alloc(r->arena, len + 1);
    char *rest, *image;

    *route_r = (struct route){0};
    if (str_percent_decode(r->path, len, false, path, len + 1) != 0)
        return fail(why_r, PROBLEM_NAME_INVALID, "the path is not properly encoded");
    if (!take_prefix(conf, r, path, route_r, &rest, why_r))
        return false;
    if (!*rest) {
        route_r->kind = ROUTE_PING;
        return true;
    }
    if (strcmp(rest, "_catalog") == 0) {
        route_r->kind = ROUTE_CATALOG;
        return true;
    }
    if (strcmp(rest, "_oci/ext/discover") == 0) {
        route_r->kind = ROUTE_DISCOVER;
        return true;
    }
    if (conf->auth.on && strcmp(rest, "token") == 0) {
        route_r->kind = ROUTE_TOKEN;
        return true;
    }
    image = match(rest, route_r);
    if (!image)
        return fail(why_r, PROBLEM_NAME_UNKNOWN, "no such path");
    if (!name_image_ok(image, strlen(image)))
        return fail(why_r, PROBLEM_NAME_INVALID, NULL);
    if (!take_namespace(conf, r, route_r, why_r))
        return false;
    if (!route_r->repo && !take_repository(conf, r, route_r, &image, why_r))
        return false;
    route_r->image = image;
    return true;
}
