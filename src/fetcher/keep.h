/*
 * keep.h - a manifest that came: checked, stored, given to the catalog.
 */
#ifndef ENTREPOT_FETCHER_KEEP_H
#define ENTREPOT_FETCHER_KEEP_H

#include "fetcher/collect.h"

struct keep {
    /* set by the owner, all of it living until done */
    struct fetch *f;
    struct proxy *proxy;
    const char *image, *tag;         /* tag NULL: none */
    struct digest want;              /* alg 0: whatever it is */
    const char *said, *content_type; /* headers; only read inside keep_manifest */
    const struct str *body;
    /* Once; may come from inside keep_manifest. err 0: *m. */
    void (*done)(struct keep *keep, int err, const struct fetch_manifest *m, const char *reason);

    struct digest digest;
    struct mem_arena *arena;
    struct push_manifest put;
    struct pool_job job;
    struct ask ask;
    int err;
};

void keep_manifest(struct keep *keep);

#endif
