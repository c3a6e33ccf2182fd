/*
 * fsck.h - entrepotctl fsck: what is kept, checked; beside a running daemon it only looks.
 *
 * Files first (fsck_files.c: every blob's record against its bytes), then records against each
 * other (fsck_records.c, fsck_images.c, fsck_garbage.c), the journals against them
 * (fsck_journal.c), and files without a record last. Repairs collect in one batch, written at the
 * end, and only then are files moved. A crash of fsck itself leaves what was there, or all repairs
 * of records and damaged files and orphans in their old places, which the next run finds.
 */
#ifndef ENTREPOT_TOOLS_FSCK_H
#define ENTREPOT_TOOLS_FSCK_H

#include "conf/conf.h"
#include "meta/db.h"
#include "meta/records.h"
#include "store/identity.h"
#include "store/store.h"

/* Exit statuses, as of fsck(8). */
enum {
    FSCK_GOOD = 0,
    FSCK_REPAIRED = 1,
    FSCK_DAMAGED = 4, /* something is wrong and stays so */
    FSCK_FAILED = 8,  /* could not look */
    FSCK_USAGE = 16
};

struct fsck_blob {
    size_t store; /* place in conf->stores */
    struct digest digest;
    uint64_t size;
    enum fsck_state {
        FSCK_BLOB_GOOD,
        FSCK_BLOB_CHANGED,
        FSCK_BLOB_MISSING,
        FSCK_BLOB_UNREADABLE
    } state;
    bool marked; /* damaged, and known to be (META_DAMAGE) */
    bool gone;   /* collected while we looked */
};

struct fsck {
    const struct conf *conf;
    struct db *db;
    struct store **stores;    /* by place in conf->stores */
    struct identity database; /* zero: of before identities */
    uint64_t store_created_s[IDENTITY_STORES_MAX];
    struct mem_arena *arena;
    struct mem_arena *names; /* lives as long as this */
    bool repair, json, progress;
    const char *command; /* of which this is the beginning, when it is not fsck */
    bool online;         /* `db` is a copy, files change: fsck_online.c */
    int online_fd;
    uint64_t copied_ms; /* when the copy was begun, monotonic */
    bool told;          /* a problem was printed */
    bool notes_told;    /* a back-reference is missing: who holds what is not known */
    struct fsck_blob *blobs;
    size_t blob_count;
    uint64_t blob_bytes, records, skipped; /* skipped: of what is not configured now */
    uint64_t problems, repaired;
    struct fsck_orphan {
        size_t store;
        struct digest digest;
    } * orphans;
    size_t orphan_count;
    struct {
        uint64_t files, orphans;
        bool lacks; /* the database lacks changes that the store's journal has */
    } in_store[IDENTITY_STORES_MAX];
};

/* Prints a problem; those of kind "orphan" and "note" are none. `kind`: a word for programs;
 * `mended`: --repair takes care of it. */
__attribute__((format(printf, 4, 5))) void fsck_tell(struct fsck *f, const char *kind, bool mended,
                                                     const char *format, ...);
/* Calls for each record of a kind. What is no key and a failing call (DAMAGED) are told. 0, or IO
 * when the database cannot be read. */
must_check int fsck_each(struct fsck *f, enum meta_kind kind,
                         int (*check)(struct fsck *f, const struct meta_key *key, const char *value,
                                      size_t value_len));
/* -1: not configured. */
int fsck_store_place(const struct fsck *f, const char *name);

/* fsck_files.c. Blobs are hashed by a thread a CPU. */
must_check int fsck_files(struct fsck *f);
/* Files that no record knows; after all repairs of records were collected. */
must_check int fsck_orphans(struct fsck *f);
/* Is something to be told of it? */
bool fsck_blob_odd(const struct fsck_blob *b);
/* Reads `marked` from the database, `state` from the file. */
void fsck_blob_mark(struct fsck *f, struct fsck_blob *b);
void fsck_blob_look(const struct fsck *f, struct fsck_blob *b);
/* Does a blob's file hold what its digest says? */
bool fsck_file_good(const struct fsck *f, size_t store, const struct digest *digest, uint64_t size);
/* After the batch: damaged files to the quarantine, orphans to the trash. */
must_check int fsck_files_move(struct fsck *f);
/* fsck_records.c: holders, images, marks of damage, the queue of garbage. */
must_check int fsck_records(struct fsck *f);
/* fsck_images.c: links, manifests, tags and their back-references. */
must_check int fsck_images(struct fsck *f);
/* fsck_garbage.c: what nothing refers to and the queue of garbage does not know;
 * after fsck_images(). */
must_check int fsck_garbage(struct fsck *f);

/* fsck_journal.c: the stores' journals against the database. */
must_check int fsck_journals(struct fsck *f);

/* fsck.c: for other commands that change a stopped daemon's data: the lock, the owner's account,
 * the stores, the database. Told why not. Then to be let go, whatever it returned. */
must_check int fsck_hold(struct fsck *f, int *lock_fd_r);
void fsck_let_go(struct fsck *f, int lock_fd);

/* fsck.c: of the database that was just opened, and the names that stores have in its keys. */
must_check int fsck_identity(struct fsck *f);

/* fsck_online.c. All tell why they failed. BUSY: another fsck is at it. */
must_check int fsck_online_begin(struct fsck *f);
/* A new copy of the database in place of `db`. */
must_check int fsck_online_copy(struct fsck *f);
/* Looks again at blobs that seem odd, against newer copies. */
must_check int fsck_online_confirm(struct fsck *f);
/* A newer copy, which knows of every file that was in its place before the call. */
must_check int fsck_online_settle(struct fsck *f);
uint64_t fsck_online_age_ms(const struct fsck *f);
void fsck_online_end(struct fsck *f);

#endif
