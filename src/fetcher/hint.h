/*
 * hint.h - which challenge a remote answered with last for an image, so that the next
 * request brings its token along.
 */
#ifndef ENTREPOT_FETCHER_HINT_H
#define ENTREPOT_FETCHER_HINT_H

#include "fetcher/challenge.h"
#include "fetcher/fetch.h"

void hint_set(struct proxy *p, size_t remote, const char *image, const struct challenge *c);
/* Strings live until the next hint_set. */
bool hint_get(struct proxy *p, size_t remote, const char *image, struct challenge *c_r);

#endif
