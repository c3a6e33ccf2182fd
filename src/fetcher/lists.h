/*
 * lists.h - tags, catalog, referrers and searches of upstreams, asked once for all and kept
 * for half a minute.
 */
#ifndef ENTREPOT_FETCHER_LISTS_H
#define ENTREPOT_FETCHER_LISTS_H

#include "fetcher/fetch.h"

/* FETCH_LIST */
void lists_ask(struct fetch *f, struct serve_return to, const struct fetch_list *q,
               const char *client);
/* FETCH_SEARCH */
void lists_search(struct fetch *f, struct serve_return to, const struct fetch_search *q,
                  const char *client);

#endif
