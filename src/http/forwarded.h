/*
 * forwarded.h - what proxies in front of us say about a request.
 */
#ifndef ENTREPOT_HTTP_FORWARDED_H
#define ENTREPOT_HTTP_FORWARDED_H

#include "http/http.h"

/* Takes X-Forwarded-For, -Proto and -Host into r->client, r->https, r->authority
 * and r->host when the request comes from one of `proxies`; otherwise, and for
 * whatever is malformed in them, the request stays as it is. */
void forwarded_apply(struct http_request *r, const struct net_prefix *proxies, size_t count);

#endif
