/*
 * slice.h - how much of the database one answer may look at.
 *
 * The catalog is one thread: while it walks for one asker, every other waits, pushes too. So
 * a list is answered in slices; each ends at a place where the next question goes on.
 * What is counted are looks, not time: the same question costs the same on every machine.
 */
#ifndef ENTREPOT_CATALOG_SLICE_H
#define ENTREPOT_CATALOG_SLICE_H

#include <stdbool.h>
#include <stddef.h>

/* About a millisecond of walking, and as much of copying. */
#define SLICE_KEYS  1024
#define SLICE_BYTES (256u << 10)
/* Going to a key costs what that many steps from key to key cost. */
#define SLICE_SEEK 16

struct slice {
    size_t keys, bytes; /* looked at so far */
};

static inline void slice_look(struct slice *s, size_t keys, size_t bytes)
{
    s->keys += keys;
    s->bytes += bytes;
}

/* Asked before each look but the first: whatever that costs, a slice gets on. */
static inline bool slice_over(const struct slice *s)
{
    return s->keys >= SLICE_KEYS || s->bytes >= SLICE_BYTES;
}

#endif
