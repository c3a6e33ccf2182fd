/*
 * filled.h - names of what tests/bench/fill makes, for whoever asks for it later.
 */
#ifndef ENTREPOT_BENCH_FILLED_H
#define ENTREPOT_BENCH_FILLED_H

#include "base/digest.h"

#include <stdio.h>
#include <string.h>

#define FILLED_IMAGES 1000
#define FILLED_TAGGED "bench/tags"

/* The image that has blob number `n`. */
static inline void filled_image(size_t n, char out[32])
{
    snprintf(out, 32, "bench/image%04zu", n % FILLED_IMAGES);
}

/* `kind`: 'b' blob, 'm' manifest. */
static inline struct digest filled_digest(char kind, size_t n)
{
    struct digest digest;
    char text[32];

    snprintf(text, sizeof(text), "%c%zu", kind, n);
    digest_of(DIGEST_SHA256, text, strlen(text), &digest);
    return digest;
}

#endif
