/* Ranges: within the size, in order, not overlapping. First byte: which size. */
#include "base/mem.h"
#include "base/must.h"
#include "http/range.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint64_t sizes[] = {0, 1, 10, 1000, UINT64_MAX};
    struct range r[RANGE_MAX];
    uint64_t of;
    size_t count;
    char *text;

    if (size == 0)
        return 0;
    of = sizes[data[0] % 5];
    text = mem_strndup((const char *)data + 1, size - 1);
    if (range_parse(text, of, r, &count) == RANGE_SATISFIABLE) {
        MUST(count >= 1 && count <= RANGE_MAX);
        for (size_t i = 0; i < count; i++) {
            MUST(r[i].first <= r[i].last && r[i].last < of);
            for (size_t j = 0; j < i; j++)
                MUST(r[i].first > r[j].last || r[j].first > r[i].last);
        }
    }
    (void)range_etag_matches(text, "sha256:x");
    free(text);
    return 0;
}
