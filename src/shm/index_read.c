/*
 * index_read.c - lookups in the shared index.
 *
 * Any process, any thread, no locks. The map is another process's memory: offsets
 * are checked against its size before they are followed, so that damage there
 * cannot end this process. Changes nothing.
 */
#include "shm/index_read.h"

#include "base/log.h"
#include "base/must.h"
#include "base/siphash.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* kind, repository, image, reference and their end marks. */
#define KEY_TEXT_MAX 1024

static bool header_ok(const struct index_header *h, size_t size)
{
    return h->magic == INDEX_MAGIC && h->total_size == size && h->slot_count > 0 &&
           (h->slot_count & (h->slot_count - 1)) == 0 && h->slots_offset >= sizeof(*h) &&
           h->slots_offset <= size && h->slots_offset % 64 == 0 &&
           h->slot_count <= (size - h->slots_offset) / sizeof(struct index_slot) &&
           h->arena_offset <= size && h->arena_size <= size - h->arena_offset;
}

int index_map_open(int fd, struct index_map *map_r)
{
    struct stat st;
    void *p;

    *map_r = (struct index_map){0};
    if (fstat(fd, &st) != 0)
        return err_from_errno(errno);
    if (st.st_size < (off_t)sizeof(struct index_header))
        return ERR_DAMAGED;
    p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        return err_from_errno(errno);
    if (!header_ok(p, (size_t)st.st_size)) {
        munmap(p, (size_t)st.st_size);
        return ERR_DAMAGED;
    }
    map_r->header = p;
    map_r->size = (size_t)st.st_size;
    return 0;
}

void index_map_close(struct index_map *map)
{
    if (map->header)
        munmap((void *)(uintptr_t)map->header, map->size);
    *map = (struct index_map){0};
}

int index_map_take(struct index_map *map, int fd)
{
    struct index_map next;
    int err = fd < 0 ? ERR_PROTOCOL : index_map_open(fd, &next);

    if (fd >= 0)
        close(fd);
    if (err != 0) {
        log_error("the catalog sent an index that cannot be used", "err=%s",
                  log_quote(err_text(err)));
        return err;
    }
    index_map_close(map);
    *map = next;
    return 0;
}

void index_key(const struct index_header *header, enum index_kind kind, const char *repo,
               const char *image, const char *ref, uint64_t key_r[2])
{
    const char *const parts[] = {repo, image, ref};
    char text[KEY_TEXT_MAX];
    size_t len = 0;

    text[len++] = (char)kind;
    for (size_t i = 0; i < 3; i++) {
        size_t part = strlen(parts[i]) + 1; /* the end mark separates */

        MUST(len + part <= sizeof(text));
        memcpy(text + len, parts[i], part);
        len += part;
    }
    siphash_128(header->seed, text, len, key_r);
}

static const struct index_record *record_at(const struct index_map *map, uint64_t offset)
{
    const struct index_header *h = map->header;
    const struct index_record *record;

    if (offset % 8 != 0 || offset < h->arena_offset ||
        offset > h->arena_offset + h->arena_size - sizeof(*record) ||
        h->arena_size < sizeof(*record))
        return NULL;
    record = (const struct index_record *)((const char *)h + offset);
    if (record->media_type_len >= h->arena_offset + h->arena_size - offset - sizeof(*record))
        return NULL;
    return record;
}

static int take_entry(const struct index_map *map, enum index_kind kind,
                      const struct index_slot *slot, struct index_entry *entry_r)
{
    uint64_t value = atomic_load_explicit(&slot->value, memory_order_acquire);
    const struct index_record *record;

    *entry_r = (struct index_entry){0};
    if (index_kind_plain(kind)) {
        entry_r->size = value;
        return 0;
    }
    record = record_at(map, value);
    if (!record)
        return ERR_BUSY; /* damage, which says nothing of what is there */
    entry_r->size = record->size;
    entry_r->digest = &record->digest;
    entry_r->media_type = record->media_type;
    return 0;
}

int index_find(const struct index_map *map, enum index_kind kind, const char *repo,
               const char *image, const char *ref, struct index_entry *entry_r)
{
    const struct index_header *h = map->header;
    const struct index_slot *slots;
    uint64_t key[2], mask, at;
    int result = ERR_NOT_FOUND;

    if (!h)
        return ERR_BUSY;
    slots = (const struct index_slot *)((const char *)h + h->slots_offset);
    mask = h->slot_count - 1;
    index_key(h, kind, repo, image, ref, key);
    at = key[0] & mask;
    for (uint64_t probes = 0; probes <= mask; probes++, at = (at + 1) & mask) {
        uint32_t state = atomic_load_explicit(&slots[at].state, memory_order_acquire);

        if (state == INDEX_EMPTY)
            break;
        if (slots[at].key[0] != key[0] || slots[at].key[1] != key[1])
            continue;
        if (state == INDEX_LIVE)
            result = take_entry(map, kind, &slots[at], entry_r);
        break;
    }
    switch (atomic_load_explicit(&h->state, memory_order_acquire)) {
    case INDEX_COMPLETE:
        return result;
    case INDEX_BUILDING:
        return result == ERR_NOT_FOUND ? ERR_BUSY : result;
    case INDEX_PARTIAL:
        return result == ERR_NOT_FOUND ? ERR_INCOMPLETE : result;
    default:
        return ERR_BUSY;
    }
}
