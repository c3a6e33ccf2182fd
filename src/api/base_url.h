/*
 * base_url.h - what clients call this connector.
 */
#ifndef ENTREPOT_API_BASE_URL_H
#define ENTREPOT_API_BASE_URL_H

#include "api/api.h"

/* Appends "https://host:port" without a slash behind it, for what must be an
 * absolute URL (the realm of a challenge): the connector's external_url, or
 * scheme and Host of the request, as corrected by trusted proxies. The latter, too, where the
 * request names one of the connector's hosts: external_url leads to another repository. */
void api_base_url(struct api_call *call, struct str *out);

/* What Location and Link begin with (RFC 9110, 10.2.2; RFC 8288): route.base, a path, or an
 * absolute URL that ends with it, as the connector's absolute_location says. Lives as long as the
 * request. */
const char *api_location_base(struct api_call *call);

#endif
