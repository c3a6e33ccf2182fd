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
/* Fills route_r (strings in the request's arena) and returns true, or returns
 * false with *problem_r and a message in *text_r (NULL: the table's). */
bool route_find(const struct conf *conf, struct http_request *r, struct route *route_r,
                enum problem *problem_r, const char **text_r);

#endif
