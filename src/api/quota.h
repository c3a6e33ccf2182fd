/*
 * quota.h - what a blob store may hold, as workers see it.
 *
 * The catalog alone decides, and counts bytes once however many images have them. What a worker
 * refuses beforehand, so that nobody sends gigabytes in vain, is only what the catalog would refuse
 * for certain: bytes that the store has not, of a known digest, or more than the whole quota.
 */
#ifndef ENTREPOT_API_QUOTA_H
#define ENTREPOT_API_QUOTA_H

#include "api/api.h"

/* Would so many bytes more, which no image of the store has yet, be let in? */
bool quota_fits(const struct api_call *call, uint64_t bytes);
/* Will a blob of `size` bytes or more be refused whatever it is? `wanted`: its digest; alg 0: not
 * known yet. Looks whether the store has its file. */
bool quota_refuses(const struct api_call *call, uint64_t size, const struct digest *wanted);
/* That it is used up, and what can be done about it; in the arena. */
const char *quota_text(struct api_call *call);
/* DENIED with that. */
void quota_answer(struct api_call *call);

#endif
