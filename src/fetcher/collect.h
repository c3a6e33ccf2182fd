/*
 * collect.h - a request whose whole body is wanted in memory: manifests, lists.
 */
#ifndef ENTREPOT_FETCHER_COLLECT_H
#define ENTREPOT_FETCHER_COLLECT_H

#include "fetcher/remote.h"

struct collect {
    struct remote_request request; /* its upper part is the owner's; callbacks are not */
    size_t max;                    /* bytes; more: TOO_BIG */
    /* Once. head and why as remote.h says. The body is in `body`, which the owner frees. */
    void (*done)(struct collect *c, int err, const struct upstream_head *head,
                 const struct fetch_failure *why);
    struct str body;
    bool too_big, again;
};

void collect_start(struct collect *c);

#endif
