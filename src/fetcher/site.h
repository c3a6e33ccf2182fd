/*
 * site.h - which hosts belong to one owner, by the public suffix list (publicsuffix.org).
 */
#ifndef ENTREPOT_FETCHER_SITE_H
#define ENTREPOT_FETCHER_SITE_H

#include <stdbool.h>

/* May credentials meant for host `home` go to `host`? The same name, or names below the same
 * registrable one: what stands before a public suffix such as com, co.uk or github.io. Never
 * two addresses, nor two customers of one cloud. */
bool site_same(const char *home, const char *host);

#endif
