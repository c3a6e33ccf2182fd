/*
 * base_url.h - what clients call this connector.
 */
#ifndef ENTREPOT_API_BASE_URL_H
#define ENTREPOT_API_BASE_URL_H

#include "api/api.h"

/* Appends "https://host:port" without a slash behind it, for what must be an
 * absolute URL (the realm of a challenge). */
void api_base_url(struct api_call *call, struct str *out);

#endif
