/*
 * range.h - Range, If-Range, If-None-Match (RFC 9110 sections 13 and 14).
 */
#ifndef ENTREPOT_HTTP_RANGE_H
#define ENTREPOT_HTTP_RANGE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RANGE_MAX 64

struct range {
    uint64_t first, last; /* inclusive, clamped to size - 1 */
};

enum range_result {
    RANGE_NONE, /* no header, another unit, syntax error, too many or overlapping: send all (200) */
    RANGE_SATISFIABLE,  /* 206 */
    RANGE_UNSATISFIABLE /* 416: nothing within the size, or first > last */
};

/* `header`: value of Range or NULL. Ranges beyond the end are dropped as long as
 * one remains. doc/protocol.md, "Blobs". */
enum range_result range_parse(const char *header, uint64_t size, struct range ranges[RANGE_MAX],
                              size_t *count_r);
/* Does a list of entity tags (quoted, weak, bare or `*`) name `etag` (without quotes)? */
bool range_etag_matches(const char *header, const char *etag);

#endif
