/*
 * identity.h - who a blob store and a database are, whatever the configuration calls them.
 *
 * Both have a random identity, made once, in a file IDENTITY: STORE_PATH/IDENTITY says which
 * database a store belongs to and by which section's name; DATA_DIR/catalog/IDENTITY says which
 * stores a database has had. They are files so that the master, `entrepotd -t` and fsck can judge
 * before anything is opened. The database holds its own identity, too (meta/identity.h).
 *
 * Lines of `key = value`; `#` begins a comment. Written as a whole, by rename, and synced.
 */
#ifndef ENTREPOT_STORE_IDENTITY_H
#define ENTREPOT_STORE_IDENTITY_H

#include "base/err.h"
#include "conf/conf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IDENTITY_FILE       "IDENTITY"
#define IDENTITY_VERSION    1
#define IDENTITY_ID_LEN     32 /* hex digits of 128 random bits */
#define IDENTITY_NAME_MAX   CONF_NAME_MAX
#define IDENTITY_STORES_MAX 256

struct identity {
    char id[IDENTITY_ID_LEN + 1];
    char database[IDENTITY_ID_LEN + 1]; /* of a store: whose it is */
    char name[IDENTITY_NAME_MAX + 1];   /* of a store: its section in the configuration */
    uint64_t created_s; /* since 1970; 0: nobody knows (of before identities, or adopted) */
};

/* What a database knows of the stores it has had. */
struct identity_stores {
    size_t count;
    struct {
        char id[IDENTITY_ID_LEN + 1];
        char name[IDENTITY_NAME_MAX + 1];   /* in the database's keys, for good */
        char called[IDENTITY_NAME_MAX + 1]; /* by the configuration, last */
    } at[IDENTITY_STORES_MAX];
};

/* In place of a database's id: the next database takes the store over (`store adopt`). */
#define IDENTITY_ANYBODY "00000000000000000000000000000000"

/* A new random id. */
void identity_new_id(char id[IDENTITY_ID_LEN + 1]);
/* Does a store belong to that database, or to whichever comes? */
bool identity_adopts(const struct identity *store, const char *database);

/* Its place among `stores`, by what it is called now, or by its name in keys; -1: there is none. */
int identity_called(const struct identity_stores *stores, const char *called);
int identity_keyed(const struct identity_stores *stores, const char *name);

/* Of a store (stores_r NULL) or a database, in the directory dir_fd. NOT_FOUND: there is none;
 * UNSUPPORTED: of a version this build does not know; DAMAGED: anything else than what is written
 * here; or why it cannot be read. */
must_check int identity_read(int dir_fd, struct identity *identity_r,
                             struct identity_stores *stores_r);
/* Durable when it returns. Blocks. */
must_check int identity_write(int dir_fd, const struct identity *identity,
                              const struct identity_stores *stores);

#endif
