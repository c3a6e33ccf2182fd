/* Manifests: whatever is accepted keeps its promises. */
#include "base/must.h"
#include "oci/manifest.h"

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const types[] = {"", MANIFEST_TYPE_OCI_IMAGE, MANIFEST_TYPE_OCI_INDEX,
                                        MANIFEST_TYPE_DOCKER_LIST};
    struct mem_arena *arena = mem_arena_new();

    for (size_t t = 0; t < 4; t++) {
        struct manifest m;
        const char *reason = NULL;

        if (manifest_parse(arena, types[t], (const char *)data, size, &m, &reason) != 0) {
            MUST(reason && *reason);
            continue;
        }
        MUST(manifest_type_known(m.media_type));
        for (size_t i = 0; i < m.ref_count; i++) {
            MUST(digest_len(m.refs[i].digest.alg) > 0);
            MUST((m.refs[i].kind == MANIFEST_REF_CHILD) == m.is_index);
        }
    }
    mem_arena_free(&arena);
    return 0;
}
