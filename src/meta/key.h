/*
 * key.h - the database's keys, as values with named fields.
 *
 * How they are spelled is the business of key.c alone: outside of meta/ a record is named by the
 * kind of what it is and its fields. tests/unit/test_records.c holds the bytes.
 *
 * META_         letter, fields in the order of the database
 *   BLOB        B store digest            bytes that lie in a store: size, time
 *   LINK        L repo image digest       an image has that blob: size, time
 *   MANIFEST    M repo image digest       size, time, contents
 *   TAG         T repo image tag          digest, size, media type, time
 *   TAG_ON      G repo image digest tag   back-reference: a tag on a manifest
 *   PARENT      K repo image digest by    back-reference: manifest `by` names it: is it an index
 *   REFERRER    R repo image digest by    back-reference: manifest `by` has this subject: what
 *                                         lists show of it
 *   HOLDER      U store digest holds repo image
 *                                         back-reference: who keeps these bytes, as LINK or as
 *                                         MANIFEST
 *   IMAGE       I repo image              time of its first content
 *   SUSPECT     Q time repo image digest  may be garbage since then: nobody referred to it
 *   DAMAGE      D store digest            its bytes had changed; held all the same
 *   SCRUB       S                         the scrub: since when, up to which blob
 *   JOURNAL     J store                   number of the last line of its journal (witness.h)
 *   STORE       N store                   a blob store of ours, by its identity: its names here
 *                                         and in the configuration
 *   VERSION     V                         of all this, and whose it is (identity.h)
 *
 * Of the database that entrepotctl rebuild makes of what should be there (tools/rebuild.h):
 *   WANTED_MANIFEST  m store repo image digest
 *   WANTED_TAG       t store repo image tag
 *   ELSEWHERE        e store repo image digest  a journal names it, and the configuration has the
 *                                               repository in another store
 *
 * `store` is a name that never changes (conf.h: conf_store.key). What the values hold: values.h.
 */
#ifndef ENTREPOT_META_KEY_H
#define ENTREPOT_META_KEY_H

#include "base/digest.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum meta_kind {
    META_NONE = 0,
    META_BLOB = 'B',
    META_DAMAGE = 'D',
    META_TAG_ON = 'G',
    META_IMAGE = 'I',
    META_JOURNAL = 'J',
    META_PARENT = 'K',
    META_LINK = 'L',
    META_MANIFEST = 'M',
    META_STORE = 'N',
    META_SUSPECT = 'Q',
    META_REFERRER = 'R',
    META_SCRUB = 'S',
    META_TAG = 'T',
    META_HOLDER = 'U',
    META_VERSION = 'V',
    META_ELSEWHERE = 'e',
    META_WANTED_MANIFEST = 'm',
    META_WANTED_TAG = 't',
};

/* All are below: room of a table by kind. */
#define META_KINDS 128

/* Of the fields that its kind has, those from the first on that is not set may be missing: then it
 * is what all keys begin with that have the others. Not set: NULL, algorithm 0, META_NONE; time 0
 * where nothing comes behind it. Strings are not owned. */
struct meta_key {
    enum meta_kind kind;
    enum meta_kind holds; /* META_LINK or META_MANIFEST */
    const char *store, *repo, *image, *tag;
    struct digest digest, by;
    uint64_t time; /* seconds since 1970 */
};

static inline struct meta_key meta_blob(const char *store, const struct digest *digest)
{
    return (struct meta_key){.kind = META_BLOB, .store = store, .digest = *digest};
}

static inline struct meta_key meta_damage(const char *store, const struct digest *digest)
{
    return (struct meta_key){.kind = META_DAMAGE, .store = store, .digest = *digest};
}

/* All who hold these bytes. */
static inline struct meta_key meta_holders(const char *store, const struct digest *digest)
{
    return (struct meta_key){.kind = META_HOLDER, .store = store, .digest = *digest};
}

static inline struct meta_key meta_holder(const char *store, const struct digest *digest,
                                          enum meta_kind holds, const char *repo, const char *image)
{
    return (struct meta_key){.kind = META_HOLDER,
                             .store = store,
                             .digest = *digest,
                             .holds = holds,
                             .repo = repo,
                             .image = image};
}

/* All of a kind that an image has. */
static inline struct meta_key meta_of_image(enum meta_kind kind, const char *repo,
                                            const char *image)
{
    return (struct meta_key){.kind = kind, .repo = repo, .image = image};
}

static inline struct meta_key meta_image(const char *repo, const char *image)
{
    return meta_of_image(META_IMAGE, repo, image);
}

/* META_LINK, META_MANIFEST; and all of META_TAG_ON, META_PARENT and META_REFERRER for a digest. */
static inline struct meta_key meta_at(enum meta_kind kind, const char *repo, const char *image,
                                      const struct digest *digest)
{
    return (struct meta_key){.kind = kind, .repo = repo, .image = image, .digest = *digest};
}

static inline struct meta_key meta_tag(const char *repo, const char *image, const char *tag)
{
    return (struct meta_key){.kind = META_TAG, .repo = repo, .image = image, .tag = tag};
}

static inline struct meta_key meta_tag_on(const char *repo, const char *image,
                                          const struct digest *digest, const char *tag)
{
    return (struct meta_key){
        .kind = META_TAG_ON, .repo = repo, .image = image, .digest = *digest, .tag = tag};
}

/* META_PARENT, META_REFERRER */
static inline struct meta_key meta_by(enum meta_kind kind, const char *repo, const char *image,
                                      const struct digest *digest, const struct digest *by)
{
    return (struct meta_key){
        .kind = kind, .repo = repo, .image = image, .digest = *digest, .by = *by};
}

static inline struct meta_key meta_suspect(uint64_t time, const char *repo, const char *image,
                                           const struct digest *digest)
{
    return (struct meta_key){
        .kind = META_SUSPECT, .time = time, .repo = repo, .image = image, .digest = *digest};
}

#define META_PLACE_MAX 1024

/* A key in the database's order: where a walk stands. Nobody but meta/ looks into it; it may be
 * kept, on the disk also. len 0: before all. */
struct meta_place {
    size_t len;
    char data[META_PLACE_MAX];
};

/* Fields are bounded by their grammars, MUST otherwise. */
void meta_place_of(const struct meta_key *key, struct meta_place *place_r);
/* What the disk gives back. False: it is no whole key of any kind, and kind META_NONE. Strings
 * point into data. */
bool meta_key_read(const char *data, size_t len, struct meta_key *key_r);

#endif
