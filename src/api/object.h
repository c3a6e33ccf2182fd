/*
 * object.h - the bytes of a blob or manifest for a request.
 */
#ifndef ENTREPOT_API_OBJECT_H
#define ENTREPOT_API_OBJECT_H

#include "api/api.h"

/* Finds an object of the repository's store and calls next with call->object
 * set, or with what went wrong (hot_read's errors): at once when it is in memory,
 * else when a thread of the pool has fetched it. `verify`: a large one was hashed, too. */
void api_object(struct api_call *call, const struct digest *digest, uint64_t size, bool verify,
                void (*next)(struct api_call *call, int err));
/* Tells the catalog that a blob could not be served, so that it looks at it. */
void api_tell_damaged(struct api_call *call, const struct digest *digest);

#endif
