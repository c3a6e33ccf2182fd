/*
 * fuzz_http1_chunked.c - any bytes as a chunked body: the same payload and the
 * same end whether the bytes come at once or in pieces (the first byte says how
 * large those are).
 */
#include "base/must.h"
#include "http/http1.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    struct str payload;
    size_t used;
    bool done;
    int err;
};

static void decode(const char *data, size_t size, size_t piece, struct outcome *out)
{
    struct http1_chunked c = {0};
    size_t end = 0;

    while (!out->done && out->err == 0 && out->used < size) {
        const char *run;
        size_t used, run_len;

        if (end <= out->used)
            end = size - out->used > piece ? out->used + piece : size;
        out->err = http1_chunked_decode(&c, data + out->used, end - out->used, &used, &run,
                                        &run_len, &out->done);
        MUST(used <= end - out->used && run_len <= used);
        MUST(out->err != 0 || used > 0);
        MUST(run_len == 0 || (run >= data + out->used && run + run_len <= data + end));
        if (run_len > 0)
            str_append(&out->payload, run, run_len);
        out->used += used;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct outcome whole = {0}, pieces = {0};

    if (size < 1)
        return 0;
    decode((const char *)data + 1, size - 1, SIZE_MAX, &whole);
    decode((const char *)data + 1, size - 1, (size_t)data[0] % 32 + 1, &pieces);
    MUST(whole.err == pieces.err && whole.done == pieces.done);
    MUST(whole.err != 0 || whole.used == pieces.used);
    MUST(whole.payload.len == pieces.payload.len);
    MUST(whole.payload.len == 0 ||
         memcmp(whole.payload.data, pieces.payload.data, whole.payload.len) == 0);
    str_free(&whole.payload);
    str_free(&pieces.payload);
    return 0;
}
