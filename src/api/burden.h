/*
 * burden.h - memory of requests whose clients take, or send, their time.
 *
 * What is built for an answer (lists), or comes in whole (manifests), stays until the client has
 * read or sent the last byte. Of what a worker has for that a client, user or address, may hold as
 * much as is left for the others: so a newcomer finds something, however much one takes.
 */
#ifndef ENTREPOT_API_BURDEN_H
#define ENTREPOT_API_BURDEN_H

#include "api/api.h"

/* A request that holds less than this is not counted. */
#define BURDEN_FREE 16384

struct burden *burden_new(size_t bytes_max);
/* Counts what the request's body and arena are now, and `more` bytes elsewhere. False: that is
 * too much, and it is answered: 429. */
bool burden_fits(struct api_call *call, size_t more);
/* At the request's end. */
void burden_release(struct api_call *call);

#endif
