/*
 * health.h - how a proxy's remotes are: which are left alone, and whose pulls are to be spared.
 */
#ifndef ENTREPOT_FETCHER_HEALTH_H
#define ENTREPOT_FETCHER_HEALTH_H

#include "fetcher/fetch.h"

/* It could not be connected to. After a few in a row it is left alone for a while. */
void health_failed(struct proxy *p, size_t remote);
/* It answered, whatever. */
void health_good(struct proxy *p, size_t remote);
/* Has the remote that would be asked for a manifest few pulls left (rate_reserve)? */
bool health_spared(const struct proxy *p);
/* For how many seconds no remote may be asked so; 0: one may now. Of at least one remote. */
uint32_t health_wait_s(const struct proxy *p, enum fetch_limit kind);

#endif
