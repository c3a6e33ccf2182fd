/*
 * tag.h - manifests: by tag, asked again when their time is over; by digest.
 */
#ifndef ENTREPOT_FETCHER_TAG_H
#define ENTREPOT_FETCHER_TAG_H

#include "fetcher/fetch.h"

/* One answer to a question about a manifest, for whoever asked inside the fetcher. */
struct tag_wait {
    /* Once, never from inside tag_get. err 0: `m`; else `why`. */
    void (*done)(struct tag_wait *wait, int err, const struct fetch_manifest *m,
                 const struct fetch_failure *why);
    TAILQ_ENTRY(tag_wait) entry;
};

/* FETCH_MANIFEST */
void tag_ask(struct fetch *f, struct serve_return to, const struct fetch_wanted *q,
             const char *client);
/* `ref`: tag or digest. */
void tag_get(struct fetch *f, const char *repo, const char *image, const char *ref,
             const char *client, struct tag_wait *wait);

#endif
