/*
 * catalog.h - what the files of the catalog's room share.
 *
 * One thread runs the loop and touches the database's overlay and the index. A pool of
 * threads writes batches, looks for files (files.h), looks through directories and reads blobs; one
 * more writes the journals (journal.h).
 */
#ifndef ENTREPOT_CATALOG_CATALOG_H
#define ENTREPOT_CATALOG_CATALOG_H

#include "base/loop.h"
#include "base/pool.h"
#include "catalog/slice.h"
#include "ipc/msg_stats.h"
#include "ipc/role.h"
#include "ipc/serve.h"
#include "meta/db.h"
#include "meta/identity.h"
#include "shm/index_write.h"
#include "shm/recent.h"
#include "shm/sessions.h"
#include "store/store.h"

struct drop;
struct evict;
struct files;
struct gc;
struct held;
struct journals;
struct readers;
struct scrub;
struct trash;
struct turn;
struct whereabouts;

/* What is there, by repository; kept in step with the database. */
struct catalog_count {
    int64_t images, tags, manifests, blobs, bytes;
};

/* By a blob store's journal: what the database lacks (lacks.h). */
struct catalog_lacks {
    bool lacks, told;
    uint64_t number; /* the last one that the database has */
};

struct catalog {
    const struct role_start *start;
    const struct conf *conf;
    struct loop *loop;
    struct role *role;
    struct pool *pool;
    struct serve *serve;
    struct db *db;             /* NULL: it did not open, or is closed after a failed write */
    int refusal;               /* what changes hear meanwhile */
    int opening_told;          /* opening.c: errno of the cause that was told last */
    bool opening_first;        /* not tried yet */
    bool working;              /* gc, evict and scrub have been started */
    struct meta_identity meta; /* of the open database */
    char *db_path;
    char opened_id[IDENTITY_ID_LEN + 1]; /* of the database that was open; "" */
    bool opening_other;                  /* told: what is there now is not that one */
    struct index_writer index;           /* header NULL: there is none yet */
    uint64_t index_generation;
    bool index_outdated; /* made from a database that turned out to lack changes */
    struct store *stores[INDEX_STORES_MAX]; /* by place in conf->stores */
    uint64_t store_created_s[INDEX_STORES_MAX];
    char store_ids[INDEX_STORES_MAX][IDENTITY_ID_LEN + 1];
    char store_keys[INDEX_STORES_MAX][IDENTITY_NAME_MAX + 1]; /* conf_store.key */
    bool elsewhere[INDEX_STORES_MAX]; /* whereabouts.c: its path leads to something else */
    int bind_told[INDEX_STORES_MAX];  /* bind.c: what was told last */
    struct catalog_lacks lacks[INDEX_STORES_MAX];
    int64_t store_bytes[INDEX_STORES_MAX];
    struct catalog_count *counts; /* by place in conf->repos */
    struct files *files;
    struct turn *turn;
    struct whereabouts *whereabouts;
    struct readers *readers;
    struct slice slice; /* of the list that is being answered */
    struct stats_lists lists;
    struct gc *gc;
    struct orphans *orphans;
    struct evict *evict;
    struct trash *trash;
    struct held *held;
    struct drop *drop;
    struct journals *journals;
    struct witnessed *witnessed; /* while the index of a damaged database is made, else NULL */
    struct scrub *scrub;
    uint64_t damaged_count[INDEX_STORES_MAX]; /* of META_DAMAGE */
    struct loop_timer reopen, survey;
    struct pool_job survey_job;
    struct sessions *sessions; /* corrected by the survey */
    uint64_t survey_count[INDEX_STORES_MAX], survey_bytes[INDEX_STORES_MAX];
    bool survey_running, stopping;
};

/* Runs the role; returns the process's exit status. */
int catalog_main(const struct role_start *start);

/* The repository of that name, hosted or a proxy; NOT_FOUND: there is none, or it is a group. */
must_check int catalog_repo(const struct catalog *c, const char *name, size_t *place_r);
/* The place of a repository's blob store. */
size_t catalog_store_of(const struct catalog *c, size_t repo_place);

/* publish.c: builds a new index from the database, hands it to master and
 * workers and supersedes the old one. Recounts everything. Blocks for the time
 * of a walk over the database. PARTIAL: of what can be read of it, where no
 * journal says otherwise (witnessed.h). */
must_check int publish_rebuild(struct catalog *c, enum index_map_state state);
/* Copies the byte counters of the stores into the index. */
void publish_stores(struct catalog *c);

#endif
