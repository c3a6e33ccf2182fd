/*
 * adopt.h - a manifest is pushed into a group, and what it names lies in another
 * member: the client was told so and has not uploaded it.
 */
#ifndef ENTREPOT_API_ADOPT_H
#define ENTREPOT_API_ADOPT_H

#include "api/api.h"

/* Links those blobs to the image in the repository that takes the push (call->route.repo), as
 * far as members of call->group have them in the same store, then calls next. Uses call->ask. */
void adopt_blobs(struct api_call *call, const struct digest *missing, size_t count,
                 void (*next)(struct api_call *call));

#endif
