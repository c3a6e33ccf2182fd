/*
 * forwarded.h - what proxies in front of us say about a request.
 */
#ifndef ENTREPOT_API_FORWARDED_H
#define ENTREPOT_API_FORWARDED_H

#include "conf/conf.h"
#include "http/http.h"

/* Takes X-Forwarded-For, -Proto and -Host into r->client, r->https, r->authority
 * and r->host when the request comes from a trusted proxy; otherwise, and for
 * whatever is malformed in them, the request stays as it is. */
void forwarded_apply(const struct conf_connector *connector, struct http_request *r);

#endif
