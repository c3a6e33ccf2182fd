/*
 * warm.h - fetching images ahead of need (entrepotctl warm).
 */
#ifndef ENTREPOT_FETCHER_WARM_H
#define ENTREPOT_FETCHER_WARM_H

#include "fetcher/fetch.h"

/* WARM */
void warm_ask(struct fetch *f, struct serve_return to, const struct fetch_warm *q);
/* WARM_STATUS */
void warm_status(struct fetch *f, struct serve_return to, uint64_t id);

#endif
