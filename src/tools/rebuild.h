/*
 * rebuild.h - entrepotctl rebuild: a database anew from what is left of it and of its witnesses.
 *
 * rebuild_sources.c collects what is wanted: manifests and tags that the remains of the database
 * and the stores' journals name. rebuild_make.c makes the records of those whose bytes are there.
 * Everything comes to be in DATA_DIR/rebuild and is renamed at the end (rebuild.c).
 */
#ifndef ENTREPOT_TOOLS_REBUILD_H
#define ENTREPOT_TOOLS_REBUILD_H

#include "conf/conf.h"
#include "meta/db.h"
#include "meta/identity.h"
#include "meta/records.h"
#include "oci/manifest.h"
#include "store/belong.h"
#include "store/journal.h"
#include "store/store.h"

/* Exit statuses; CTL_EXIT_NO without a yes. */
enum {
    REBUILD_SURE = 0,
    REBUILD_GUESSED = 1, /* something is a guess, or is lost */
    REBUILD_FAILED = 8,  /* nothing was changed, unless it says so */
    REBUILD_USAGE = 16
};

/* Whose word counts for a store. */
enum rebuild_trust {
    REBUILD_NOBODY,   /* no journal, no remains */
    REBUILD_JOURNAL,  /* it is whole and not older than the remains */
    REBUILD_DATABASE, /* there is no journal */
    REBUILD_EITHER, /* the journal lacks something: what one of them names; it tells where tags are
                     */
    REBUILD_NEWER,  /* the same, and the remains are newer: they tell where tags are */
};

/* What speaks for a manifest or tag. */
enum { REBUILD_BY_JOURNAL = 1, REBUILD_BY_DATABASE = 2, REBUILD_BY_NAME = 4 /* others name it */ };

struct rebuild_store {
    enum rebuild_trust trust;
    struct journal_file journal; /* zero: there is none of ours */
    uint64_t number;             /* of the last line, as the remains have it */
    struct identity identity;
};

struct rebuild_counts {
    uint64_t images, manifests, tags, blobs;
    uint64_t guessed;  /* of manifests and tags: one witness names them, and it is not whole */
    uint64_t lost;     /* of manifests and tags: named, and the manifest's bytes are not there */
    uint64_t missing;  /* blobs that a manifest names and that are not there */
    uint64_t unnamed;  /* files that are manifests and that nobody names */
    uint64_t doubtful; /* of those: where the journal, had it been whole, might have */
    uint64_t gone;     /* in the remains, and gone by the journal */
};

struct rebuild {
    const struct conf *conf;
    bool list, json, told;
    struct belong *belong;
    struct store **stores;       /* by place in conf->stores */
    struct rebuild_store *about; /* the same */
    struct identity database;    /* of the new one */
    struct db *remains;          /* NULL: nothing is left */
    struct db *wanted;           /* as rebuild_wanted has it */
    struct db *made;
    struct meta_identity meta; /* of the new one */
    size_t collected;          /* changes in the batch of the database that is written now */
    struct rebuild_counts counts;
};

/* A wanted manifest or tag. */
struct rebuild_wanted {
    uint8_t by;             /* REBUILD_BY_... */
    uint64_t time;          /* of a tag */
    struct digest digest;   /* that a tag points to */
    const char *media_type; /* of a manifest; "": its own */
};

/* Tells what a person should know; `kind`: guess, lost, missing, unnamed. The rest of `--list` is
 * counted alone without it. */
__attribute__((format(printf, 3, 4))) void rebuild_tell(struct rebuild *r, const char *kind,
                                                        const char *format, ...);
/* A change was collected in the batch of `db`: writes them now and then; `now`: all there are. */
must_check int rebuild_write(struct rebuild *r, struct db *db, bool now);
/* The path of something in DATA_DIR/rebuild. */
void rebuild_path(const struct rebuild *r, const char *name, struct str *path);

/* rebuild_ground.c. All tell why they failed. The data directory's lock; the stores, each what it
 * should be, and their locks. */
must_check int rebuild_lock(const struct rebuild *r);
must_check int rebuild_ground(struct rebuild *r);
/* Who the new database is: who the old one was, by its file, its remains, or the stores. */
must_check int rebuild_identity(struct rebuild *r, const struct identity *remains);
/* Stores that do not say whose they are say it from now on. */
must_check int rebuild_bind(struct rebuild *r);

/* rebuild_sources.c. What is left of the database in the directory `source` (NULL: nothing), and
 * who it was: *identity_r, id "": it does not tell. */
must_check int rebuild_remains(struct rebuild *r, const char *source, struct identity *identity_r);
/* Fills `wanted`. */
must_check int rebuild_collect(struct rebuild *r);
/* META_WANTED_MANIFEST; `store`: place in conf->stores. */
struct meta_key rebuild_manifest_key(const struct rebuild *r, size_t store, const char *repo,
                                     const char *image, const struct digest *digest);
/* The place of a key's store. */
size_t rebuild_store_of(const struct rebuild *r, const struct meta_key *key);
must_check int rebuild_wanted_get(const char *value, size_t len, struct rebuild_wanted *w_r);
void rebuild_wanted_put(struct rebuild *r, const struct meta_key *key,
                        const struct rebuild_wanted *w);

/* rebuild_make.c. Fills `made`. */
must_check int rebuild_make(struct rebuild *r);
/* Counts files that are manifests and that `made` does not have. */
must_check int rebuild_unnamed(struct rebuild *r);

/* rebuild_read.c. A manifest's file, its digest checked. `type` "": as it says itself. NOT_FOUND;
 * DAMAGED: it has changed, or is no manifest. Results live in the arena. */
struct rebuild_manifest {
    uint64_t size, time;
    struct manifest contents;
};
must_check int rebuild_read(const struct rebuild *r, size_t store, const struct digest *digest,
                            const char *type, struct mem_arena *arena,
                            struct rebuild_manifest *m_r);

#endif
