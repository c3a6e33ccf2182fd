/*
 * status.h - FETCH_STATUS and PROXY_STATUS.
 */
#ifndef ENTREPOT_FETCHER_STATUS_H
#define ENTREPOT_FETCHER_STATUS_H

#include "fetcher/fetch.h"

void status_fetches(struct fetch *f, struct serve_return to);
void status_proxies(struct fetch *f, struct serve_return to);

#endif
