/*
 * index_write.h - the index's only writer: the catalog.
 */
#ifndef ENTREPOT_SHM_INDEX_WRITE_H
#define ENTREPOT_SHM_INDEX_WRITE_H

#include "shm/index_read.h"

struct index_writer {
    struct index_header *header; /* mapped writable */
    int fd;                      /* read-write; owned */
    int read_fd;                 /* the same file opened read-only, to pass on; owned */
};

/* Makes a memfd (mode 0444) with room for `entries` below 50 % load and
 * arena_bytes of records, state BUILDING. */
must_check int index_writer_new(uint64_t generation, uint64_t entries, uint64_t arena_bytes,
                                struct index_writer *writer_r);
/* Takes over a map left by an earlier catalog, only to supersede it. The descriptor is owned then.
 */
must_check int index_writer_adopt(int fd, struct index_writer *writer_r);
void index_writer_close(struct index_writer *writer);

void index_writer_state(struct index_writer *writer, enum index_map_state state);
/* Adds, revives or changes an entry. Blobs: only `size`. NO_SPACE: the map is
 * full (the caller makes a new one; see index_writer_crowded). */
must_check int index_put(struct index_writer *writer, enum index_kind kind, const char *repo,
                         const char *image, const char *ref, uint64_t size, const char *media_type,
                         const struct digest *digest);
/* LIVE -> DEAD; nothing when it is not there. Returns whether it was LIVE. */
bool index_kill(struct index_writer *writer, enum index_kind kind, const char *repo,
                const char *image, const char *ref);
/* DEAD -> LIVE with its old payload, to take back an index_kill. */
void index_revive(struct index_writer *writer, enum index_kind kind, const char *repo,
                  const char *image, const char *ref);
/* 70 % of slots or 90 % of the arena used, or a quarter of the slots dead: time for a new map. */
bool index_writer_crowded(const struct index_writer *writer);

#endif
