/*
 * belong.h - do a configuration, its database and its blob stores belong together?
 *
 * A blob store whose records are in another database looks like one full of garbage, and a
 * database without its store like one whose bytes are lost. So nothing is opened, made or
 * collected before this was looked at: by the master at a start and a reload, by `entrepotd -t`
 * and by fsck, from the files of store/identity.h alone.
 */
#ifndef ENTREPOT_STORE_BELONG_H
#define ENTREPOT_STORE_BELONG_H

#include "base/str.h"
#include "conf/conf.h"
#include "store/identity.h"

#include <stdbool.h>

/* What lies at a store's path. */
enum belong_store {
    BELONG_NEW,     /* nothing, and the database has never had a store of that name */
    BELONG_AWAY,    /* nothing, but the database had one: its disk is not mounted */
    BELONG_OLD,     /* blobs and no identity: of a version before there were any */
    BELONG_OURS,    /* of this database and of this name, or nobody can tell yet */
    BELONG_FOREIGN, /* of another database, or blobs of nobody */
    BELONG_NAMED,   /* of this database and of another name */
    BELONG_UNREADABLE,
};

enum belong_database {
    BELONG_NO_DATABASE,
    BELONG_UNNAMED,  /* of a version before there were identities, or it lost its file */
    BELONG_DATABASE, /* it has its identity; whether it can be opened is another question */
    BELONG_DATABASE_UNREADABLE,
};

struct belong {
    enum belong_database database;
    struct identity identity; /* of the database, when it has one */
    struct identity_stores known;
    enum belong_store stores[IDENTITY_STORES_MAX]; /* by place in the configuration */
    struct identity store_identity[IDENTITY_STORES_MAX];
};

/* Looks and judges nothing. */
void belong_look(const struct conf *conf, struct belong *b);
/* 0, or CONFLICT with a line in *why for each thing that does not fit: what is wrong, where, and
 * the command that mends it. `reload`: a store that is away is a reason, too: what serves goes on.
 */
must_check int belong_judge(const struct conf *conf, const struct belong *b, bool reload,
                            struct str *why);
/* Files of a store that no record knows: may they go unasked? Only as many as crashes leave, or a
 * small share of all `files`, and only when the store is not older than the database, nor adopted:
 * else they may well be images whose records are elsewhere. */
bool belong_orphans_few(uint64_t database_created_s, uint64_t store_created_s, uint64_t files,
                        uint64_t orphans);
/* What the database knows of a store of the name that is at `place` of the configuration, as a
 * place in b->known. -1: nothing, or that one has another name by now and is there. */
int belong_known(const struct conf *conf, const struct belong *b, size_t place);

#endif
