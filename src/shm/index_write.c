/*
 * index_write.c - the only writer of the shared index.
 *
 * Runs in the catalog. Everything a reader may follow is complete before the
 * store that lets it: record before offset, payload before state. A crash
 * between two instructions leaves either the old or the new, and perhaps some
 * unreachable bytes of the arena.
 */
#include "shm/index_write.h"

#include "base/must.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define SLOTS_MIN 1024

static uint64_t round_up(uint64_t value, uint64_t step)
{
    return (value + step - 1) / step * step;
}

static struct index_slot *slots_of(const struct index_writer *w)
{
    return (struct index_slot *)((char *)w->header + w->header->slots_offset);
}

static int open_read_only(int fd, int *read_fd_r)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    *read_fd_r = open(path, O_RDONLY | O_CLOEXEC);
    return *read_fd_r < 0 ? err_from_errno(errno) : 0;
}

static void header_fill(struct index_header *h, uint64_t generation, uint64_t slots,
                        uint64_t arena_bytes)
{
    MUST(getrandom(h->seed, sizeof(h->seed), 0) == sizeof(h->seed));
    h->generation = generation;
    h->slot_count = slots;
    h->slots_offset = round_up(sizeof(*h), 64);
    h->arena_offset = h->slots_offset + slots * sizeof(struct index_slot);
    h->arena_size = arena_bytes;
    h->total_size = h->arena_offset + arena_bytes;
    h->magic = INDEX_MAGIC;
}

int index_writer_new(uint64_t generation, uint64_t entries, uint64_t arena_bytes,
                     struct index_writer *writer_r)
{
    struct index_header head = {0};
    uint64_t slots = SLOTS_MIN;
    void *map;
    int err;

    while (slots < 2 * entries)
        slots *= 2;
    header_fill(&head, generation, slots, round_up(arena_bytes, 4096));
    *writer_r = (struct index_writer){.fd = -1, .read_fd = -1};
    writer_r->fd = memfd_create("entrepot-index", MFD_CLOEXEC);
    if (writer_r->fd < 0)
        return err_from_errno(errno);
    if (ftruncate(writer_r->fd, (off_t)head.total_size) != 0 || fchmod(writer_r->fd, 0444) != 0) {
        err = err_from_errno(errno);
        goto fail;
    }
    err = open_read_only(writer_r->fd, &writer_r->read_fd);
    if (err != 0)
        goto fail;
    map = mmap(NULL, head.total_size, PROT_READ | PROT_WRITE, MAP_SHARED, writer_r->fd, 0);
    if (map == MAP_FAILED) {
        err = err_from_errno(errno);
        goto fail;
    }
    writer_r->header = map;
    memcpy(map, &head, sizeof(head));
    return 0;
fail:
    index_writer_close(writer_r);
    return err;
}

int index_writer_adopt(int fd, struct index_writer *writer_r)
{
    struct index_map check;
    size_t size;
    void *map;
    int err = index_map_open(fd, &check);

    *writer_r = (struct index_writer){.fd = -1, .read_fd = -1};
    if (err != 0)
        return err;
    size = check.size;
    index_map_close(&check);
    map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return err_from_errno(errno);
    writer_r->header = map;
    writer_r->fd = fd;
    return 0;
}

void index_writer_close(struct index_writer *writer)
{
    if (writer->header)
        munmap(writer->header, writer->header->total_size);
    if (writer->fd >= 0)
        close(writer->fd);
    if (writer->read_fd >= 0)
        close(writer->read_fd);
    *writer = (struct index_writer){.fd = -1, .read_fd = -1};
}

void index_writer_state(struct index_writer *writer, enum index_map_state state)
{
    atomic_store_explicit(&writer->header->state, state, memory_order_release);
}

/* The slot of a key, or the empty one where it would go; NULL when there is none. */
static struct index_slot *slot_find(struct index_writer *w, const uint64_t key[2])
{
    struct index_slot *slots = slots_of(w);
    uint64_t mask = w->header->slot_count - 1, at = key[0] & mask;

    for (uint64_t probes = 0; probes <= mask; probes++, at = (at + 1) & mask) {
        struct index_slot *slot = &slots[at];

        if (atomic_load_explicit(&slot->state, memory_order_relaxed) == INDEX_EMPTY ||
            (slot->key[0] == key[0] && slot->key[1] == key[1]))
            return slot;
    }
    return NULL;
}

static int record_add(struct index_writer *w, uint64_t size, const char *media_type,
                      const struct digest *digest, uint64_t *offset_r)
{
    struct index_header *h = w->header;
    size_t len = strlen(media_type);
    uint64_t used = atomic_load_explicit(&h->arena_used, memory_order_relaxed);
    uint64_t need = round_up(sizeof(struct index_record) + len + 1, 8);
    struct index_record *record;

    if (len > UINT16_MAX || need > h->arena_size - used)
        return ERR_NO_SPACE;
    record = (struct index_record *)((char *)h + h->arena_offset + used);
    record->size = size;
    record->digest = *digest;
    record->media_type_len = (uint16_t)len;
    memcpy(record->media_type, media_type, len + 1);
    atomic_store_explicit(&h->arena_used, used + need, memory_order_relaxed);
    *offset_r = h->arena_offset + used;
    return 0;
}

static bool record_same(const struct index_writer *w, uint64_t offset, uint64_t size,
                        const char *media_type, const struct digest *digest)
{
    const struct index_record *record =
        (const struct index_record *)((const char *)w->header + offset);

    return record->size == size && digest_equal(&record->digest, digest) &&
           strcmp(record->media_type, media_type) == 0;
}

static void count(_Atomic uint64_t *counter, int64_t by)
{
    atomic_fetch_add_explicit(counter, (uint64_t)by, memory_order_relaxed);
}

int index_put(struct index_writer *writer, enum index_kind kind, const char *repo,
              const char *image, const char *ref, uint64_t size, const char *media_type,
              const struct digest *digest)
{
    struct index_header *h = writer->header;
    struct index_slot *slot;
    uint64_t key[2], value = size;
    uint32_t state;
    int err;

    index_key(h, kind, repo, image, ref, key);
    slot = slot_find(writer, key);
    if (!slot)
        return ERR_NO_SPACE;
    state = atomic_load_explicit(&slot->state, memory_order_relaxed);
    if (state == INDEX_EMPTY &&
        atomic_load_explicit(&h->slots_used, memory_order_relaxed) >= h->slot_count / 10 * 9)
        return ERR_NO_SPACE;
    if (!index_kind_plain(kind)) {
        value = atomic_load_explicit(&slot->value, memory_order_relaxed);
        if (state == INDEX_EMPTY || !record_same(writer, value, size, media_type, digest)) {
            err = record_add(writer, size, media_type, digest, &value);
            if (err != 0)
                return err;
        }
    }
    if (state == INDEX_EMPTY) {
        slot->key[0] = key[0];
        slot->key[1] = key[1];
        count(&h->slots_used, 1);
    }
    if (state == INDEX_DEAD)
        count(&h->slots_dead, -1);
    atomic_store_explicit(&slot->value, value, memory_order_release);
    if (state != INDEX_LIVE)
        atomic_store_explicit(&slot->state, INDEX_LIVE, memory_order_release);
    return 0;
}

static bool slot_change(struct index_writer *writer, enum index_kind kind, const char *repo,
                        const char *image, const char *ref, uint32_t from, uint32_t to)
{
    struct index_slot *slot;
    uint64_t key[2];

    index_key(writer->header, kind, repo, image, ref, key);
    slot = slot_find(writer, key);
    if (!slot || atomic_load_explicit(&slot->state, memory_order_relaxed) != from)
        return false;
    atomic_store_explicit(&slot->state, to, memory_order_release);
    count(&writer->header->slots_dead, to == INDEX_DEAD ? 1 : -1);
    return true;
}

bool index_kill(struct index_writer *writer, enum index_kind kind, const char *repo,
                const char *image, const char *ref)
{
    return slot_change(writer, kind, repo, image, ref, INDEX_LIVE, INDEX_DEAD);
}

void index_revive(struct index_writer *writer, enum index_kind kind, const char *repo,
                  const char *image, const char *ref)
{
    slot_change(writer, kind, repo, image, ref, INDEX_DEAD, INDEX_LIVE);
}

bool index_writer_crowded(const struct index_writer *writer)
{
    const struct index_header *h = writer->header;

    return atomic_load(&h->slots_used) > h->slot_count / 10 * 7 ||
           atomic_load(&h->arena_used) > h->arena_size / 10 * 9 ||
           atomic_load(&h->slots_dead) > h->slot_count / 4;
}
