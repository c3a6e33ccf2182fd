/*
 * index_read.h - looking things up in the shared index: any process, no locks,
 * no messages. About 50 ns a call.
 */
#ifndef ENTREPOT_SHM_INDEX_READ_H
#define ENTREPOT_SHM_INDEX_READ_H

#include "base/err.h"
#include "shm/index_format.h"

#include <stdbool.h>
#include <stddef.h>

/* What an entry is about; part of its key. */
enum index_kind {
    INDEX_BLOB = 'B',
    INDEX_MANIFEST = 'M',
    INDEX_TAG = 'T',
    /* of proxies only; both are hints */
    INDEX_CHECKED = 'C', /* ref is a tag; size: when the remote last confirmed it, seconds */
    INDEX_NAMED = 'N'    /* ref is a digest that a manifest here names; size: as it says */
};

/* Kinds whose slot holds a number and no record. */
static inline bool index_kind_plain(enum index_kind kind)
{
    return kind == INDEX_BLOB || kind == INDEX_CHECKED || kind == INDEX_NAMED;
}

/* A read-only map. */
struct index_map {
    const struct index_header *header;
    size_t size;
};

struct index_entry {
    uint64_t size;               /* of blob or manifest */
    const char *media_type;      /* manifest, tag: points into the map */
    const struct digest *digest; /* tag, manifest: points into the map */
};

/* Maps a descriptor (kept by the caller). Checks the header against the file's
 * size: DAMAGED when they disagree. */
must_check int index_map_open(int fd, struct index_map *map_r);
void index_map_close(struct index_map *map);
/* A new one from the catalog takes the place of *map; closes fd (-1: none came). When it cannot be
 * used, which is logged, *map stays. */
must_check int index_map_take(struct index_map *map, int fd);

/* `ref`: tag text for INDEX_TAG, digest text otherwise. Existence is per
 * repository and image: the same digest elsewhere is not seen. Returns 0,
 * NOT_FOUND (final); BUSY: there is no map, or it is not complete, or superseded
 * (a hit, too), so whoever asks takes the new one or comes again; or INCOMPLETE:
 * it is not here and nobody can say that it is not there, for the map was made of
 * a database that lacks something (INDEX_PARTIAL). Pointers in entry_r live until
 * index_map_close. */
must_check int index_find(const struct index_map *map, enum index_kind kind, const char *repo,
                          const char *image, const char *ref, struct index_entry *entry_r);

/* The key of an entry in a map (also for the writer). */
void index_key(const struct index_header *header, enum index_kind kind, const char *repo,
               const char *image, const char *ref, uint64_t key_r[2]);

#endif
