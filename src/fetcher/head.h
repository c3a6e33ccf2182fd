/*
 * head.h - does the upstream have a blob for an image? FETCH_HEAD, and the proof before an
 * image may share another one's download.
 */
#ifndef ENTREPOT_FETCHER_HEAD_H
#define ENTREPOT_FETCHER_HEAD_H

#include "fetcher/fetch.h"

/* `join`: the question is FETCH_BLOB, and goes on with job_ask. Else FETCH_HEAD. */
void head_ask(struct fetch *f, struct serve_return to, const struct push_target *t,
              const char *client, bool join);

#endif
