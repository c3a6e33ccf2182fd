/*
 * url.h - absolute http and https URLs: taken apart, compared, resolved against.
 * RFC 3986 sections 3 and 5, as far as Location and realm need it. Pure.
 */
#ifndef ENTREPOT_FETCHER_URL_H
#define ENTREPOT_FETCHER_URL_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

#define URL_MAX      8192
#define URL_HOST_MAX 255

struct url {
    bool tls;
    char host[URL_HOST_MAX + 1]; /* lower case; [IPv6] in brackets */
    uint16_t port;
    const char *rest; /* path and query within the text, "" or from '/' or '?' */
};

/* INVALID: another scheme, user information, a bad host or port, control bytes, too long. */
must_check int url_parse(const char *text, struct url *url_r);
/* Appends `ref` (absolute, //host, /path or relative) resolved against `base`. */
must_check int url_resolve(const char *base, const char *ref, struct str *out);
/* The same scheme, host and port. */
bool url_same_origin(const struct url *a, const struct url *b);

#endif
