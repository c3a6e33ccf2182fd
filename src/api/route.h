/*
 * route.h - which repository, image and thing a request is about.
 * doc/protocol.md, "Names", "Which repository".
 */
#ifndef ENTREPOT_API_ROUTE_H
#define ENTREPOT_API_ROUTE_H

#include "api/problem.h"
#include "conf/conf.h"

enum route_kind {
    ROUTE_PING,     /* /v2/ */
    ROUTE_CATALOG,  /* _catalog */
    ROUTE_DISCOVER, /* _oci/ext/discover */
    ROUTE_TOKEN,    /* token: only with logins */
    ROUTE_BLOB,     /* N/blobs/D: ref is the digest */
    ROUTE_UPLOADS,  /* N/blobs/uploads/ */
    ROUTE_UPLOAD,   /* N/blobs/uploads/ID: ref is the id */
    ROUTE_MANIFEST, /* N/manifests/R: ref is tag or digest */
    ROUTE_TAGS,     /* N/tags/list */
    ROUTE_REFERRERS /* N/referrers/D: ref is the digest */
};

struct route {
    enum route_kind kind;
    const struct conf_repo *repo; /* NULL: none named (ping, catalog over all) */
    const char *image;            /* valid name; NULL for ping, catalog, discover */
    const char *ref;              /* not yet checked */
    const char *ns;               /* ?ns= that chose the repository; NULL: none did */
    const char *base; /* what Locations begin with: "/v2/", "/v2/NAME/", "/repository/NAME/v2/" */
};

/* The repository of the connector or of the host that the request names; NULL:
 * the connector has none, image names begin with one. */
const struct conf_repo *route_repo_by_host(const struct conf *conf, const struct http_request *r);
/* Why a path is no route. */
struct route_failure {
    enum problem problem;
    const char *text; /* NULL: the problem's own */
};

/* Fills route_r (strings in the request's arena) and returns true, or returns false with *why_r. */
bool route_find(const struct conf *conf, struct http_request *r, struct route *route_r,
                struct route_failure *why_r);

#endif
