/*
 * share.h - how much of the fetcher one proxy and one client may keep busy.
 *
 * Whatever asks a remote (a download, a HEAD, a manifest, a list) holds a share until its
 * answer is complete; whoever joins what runs already needs none. Of SHARES_MAX a proxy may
 * hold as many as are left for the others, and a client as many as are left to its proxy,
 * at most SHARES_CLIENT_MAX: so the last place is never gone, and a newcomer finds one.
 */
#ifndef ENTREPOT_FETCHER_SHARE_H
#define ENTREPOT_FETCHER_SHARE_H

#include "fetcher/fetch.h"

#define SHARES_MAX        BOARD_SLOTS_MAX
#define SHARES_CLIENT_MAX 256

/* Embedded in its holder, zero before. */
struct share {
    struct proxy *proxy; /* NULL: not held */
    struct share_client *client;
};

/* BUSY, with *why_r for the client, when there is none to be had. `client`: whoever asks, a
 * user or an address; "": ourselves, whom only the proxy's bound binds. */
must_check int share_take(struct share *s, struct proxy *p, const char *client,
                          const struct fetch_failure **why_r);
/* Harmless when it is not held. */
void share_give(struct share *s);

#endif
