/* Messages: a worker's bytes are hostile to the catalog. First byte: which question. */
#include "base/must.h"
#include "ipc/msg_list.h"
#include "ipc/msg_push.h"
#include "meta/key.h"
#include "meta/values.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mem_arena *arena = mem_arena_new();
    struct list_referrers referrers;
    struct push_manifest manifest;
    struct record_manifest record;
    struct push_mount mount;
    struct list_names list;
    struct list_search search;
    struct meta_place place;
    struct meta_key key;
    struct msg_reader r;

    if (size > 0) {
        uint8_t which = *data++;

        size--;
        if (msg_reader_init(&r, data, size) == 0) {
            if (which % 5 == 0)
                push_manifest_get(&r, arena, &manifest);
            else if (which % 5 == 1)
                list_referrers_get(&r, &referrers);
            else if (which % 5 == 2)
                push_mount_get(&r, &mount);
            else if (which % 5 == 3)
                list_names_get(&r, &list);
            else
                list_search_get(&r, &search);
            if (which % 5 == 0 && msg_end(&r) == 0)
                MUST(manifest.tag_count <= PUSH_TAGS_MAX && strlen(manifest.target.repo) <= 255);
        }
        (void)!record_manifest_decode((const char *)data, size, arena, &record);
        if (size <= META_PLACE_MAX && meta_key_read((const char *)data, size, &key)) {
            meta_place_of(&key, &place); /* the same bytes again */
            MUST(place.len == size && memcmp(place.data, data, size) == 0);
        }
    }
    mem_arena_free(&arena);
    return 0;
}
