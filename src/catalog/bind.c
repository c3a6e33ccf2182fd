/*
 * bind.c - are the blob stores the ones that the database has records of?
 *
 * Runs in the catalog whenever database or stores were opened. The file in a store comes before its
 * record: a crash between leaves a store that says whose it is, and its record follows. A record
 * without the file would look like a store whose disk is not mounted.
 */
#include "catalog/bind.h"

#include "base/fail.h"
#include "base/log.h"

#include <string.h>
#include <time.h>

enum binding {
    BIND_OURS,
    BIND_NEW,     /* nothing is in it, and there has been none of that name */
    BIND_OLD,     /* of a version before identities: the database has its records */
    BIND_AWAY,    /* nothing is in it, and the database has had one of that name */
    BIND_UNKNOWN, /* blobs of which the database has no records */
    BIND_FOREIGN, /* another database's */
    BIND_NAMED,   /* ours, and the configuration calls it otherwise */
    BIND_UNREADABLE,
    BIND_UNWRITABLE, /* new or old, and its IDENTITY cannot be written */
};

static const char *const reasons[] = {
    [BIND_AWAY] = "a blob store is empty and the database has records of it: is its disk mounted? "
                  "Until it is, it answers 503; if it is lost: entrepotctl store adopt",
    [BIND_UNKNOWN] =
        "a blob store has blobs of which the database has no records; it answers 503. To "
        "take it over: entrepotctl store adopt",
    [BIND_FOREIGN] = "a blob store belongs to another database; it answers 503. To take it over: "
                     "entrepotctl store adopt",
    [BIND_NAMED] =
        "a blob store has another name in the configuration than it had; it answers 503. "
        "To rename it: entrepotctl store rename",
    [BIND_UNREADABLE] =
        "a blob store does not say who it is; it answers 503. To write its IDENTITY "
        "anew: entrepotctl store adopt",
    [BIND_UNWRITABLE] = "a blob store cannot be written to and does not say yet whose it is; it "
                        "answers 503 until it could be written to once",
};

/* Records under that name that are not those of a store that had it once. */
static bool has_records(const struct catalog *c, const char *name)
{
    return identity_keyed(&c->meta.stores, name) < 0 && meta_has_blobs_of(c->db, name);
}

static enum binding look(struct catalog *c, size_t place, struct identity *identity_r)
{
    const char *name = c->conf->stores[place].name;
    int err = store_identity_read(c->stores[place], identity_r);

    if (err == ERR_NOT_FOUND) {
        bool records = has_records(c, name), known = identity_called(&c->meta.stores, name) >= 0;

        if (store_has_blobs(c->stores[place]))
            return records && c->meta.identity.created_s == 0 && !known ? BIND_OLD : BIND_UNKNOWN;
        return records || known ? BIND_AWAY : BIND_NEW;
    }
    if (err != 0)
        return BIND_UNREADABLE;
    if (!identity_adopts(identity_r, c->meta.identity.id))
        return BIND_FOREIGN;
    return strcmp(identity_r->name, name) == 0 ? BIND_OURS : BIND_NAMED;
}

/* The name that its records have in keys, or will have: its own, unless that is another one's. */
static int record(struct catalog *c, size_t place, const char *id)
{
    const char *name = c->conf->stores[place].name, *key = meta_store_key(&c->meta, id);
    char keyed[IDENTITY_NAME_MAX + 1];

    if (!key)
        key = identity_keyed(&c->meta.stores, name) < 0 ? name : id;
    else if (strcmp(c->meta.stores.at[identity_keyed(&c->meta.stores, key)].called, name) == 0)
        return 0;
    strcpy(keyed, key); /* what is known of stores is about to be read anew */
    return meta_store_add(c->db, c->db_path, &c->meta, id, keyed, name);
}

static enum binding bind_new(struct catalog *c, size_t place, struct identity *identity)
{
    int err;

    *identity = (struct identity){.created_s = (uint64_t)time(NULL)};
    identity_new_id(identity->id);
    strcpy(identity->database, c->meta.identity.id);
    strcpy(identity->name, c->conf->stores[place].name);
    err = store_identity_write(c->stores[place], identity);
    FAIL_POINT(catalog_store_bound);
    if (err != 0)
        return BIND_UNWRITABLE;
    log_notice("the blob store belongs to this database from now on", "store=%s id=%s",
               identity->name, identity->id);
    return BIND_OURS;
}

/* One that `store adopt` has prepared: the database it was prepared for is there now. */
static enum binding bind_adopted(struct catalog *c, size_t place, struct identity *identity)
{
    if (strcmp(identity->database, c->meta.identity.id) == 0)
        return BIND_OURS;
    strcpy(identity->database, c->meta.identity.id);
    return store_identity_write(c->stores[place], identity) == 0 ? BIND_OURS : BIND_UNWRITABLE;
}

/* A copy: what is known of all stores is read anew whenever one is added. */
static void name_in_keys(struct catalog *c, size_t place, const char *id)
{
    const char *key = meta_store_key(&c->meta, id);

    if (!key)
        return;
    strcpy(c->store_keys[place], key);
    c->conf->stores[place].key = c->store_keys[place];
}

static int bind_one(struct catalog *c, size_t place)
{
    struct identity identity = {0};
    enum binding found = look(c, place, &identity);
    int err;

    if (found == BIND_NEW || found == BIND_OLD)
        found = bind_new(c, place, &identity);
    else if (found == BIND_OURS)
        found = bind_adopted(c, place, &identity);
    if (found == BIND_OURS && (err = record(c, place, identity.id)) != 0)
        return err;
    if (reasons[found]) {
        if (c->bind_told[place] != (int)found)
            log_error(reasons[found], "store=%s path=%s", c->conf->stores[place].name,
                      log_quote(c->conf->stores[place].path));
        c->bind_told[place] = (int)found;
        store_close(c->stores[place]);
        return 0;
    }
    c->bind_told[place] = 0;
    name_in_keys(c, place, identity.id);
    c->store_created_s[place] = identity.created_s;
    strcpy(c->store_ids[place], identity.id);
    return 0;
}

/* Is a store with that id there, under whatever name? */
static bool is_bound(const struct catalog *c, const char *id)
{
    for (size_t i = 0; i < c->conf->store_count; i++)
        if (store_is_open(c->stores[i]) && strcmp(c->store_ids[i], id) == 0)
            return true;
    return false;
}

/* Those that are away keep their records, which have the name in keys of the store that was called
 * so last: bytes are counted and repositories change meanwhile. */
static void name_away(struct catalog *c)
{
    for (size_t i = 0; i < c->conf->store_count; i++) {
        int known = identity_called(&c->meta.stores, c->conf->stores[i].name);

        if (!store_is_open(c->stores[i]) && known >= 0 && !is_bound(c, c->meta.stores.at[known].id))
            name_in_keys(c, i, c->meta.stores.at[known].id);
    }
}

int bind_stores(struct catalog *c)
{
    int err = 0;

    /* First those that say who they are: another's old name is free for a new one. */
    for (int saying = 1; saying >= 0; saying--)
        for (size_t i = 0; i < c->conf->store_count && err == 0; i++)
            if (store_is_open(c->stores[i]) && store_identity_there(c->stores[i]) == saying)
                err = bind_one(c, i);
    if (err == 0)
        name_away(c);
    return err;
}

void bind_names(struct catalog *c)
{
    for (size_t i = 0; i < c->conf->store_count; i++) {
        struct identity identity;

        if (store_identity_read(c->stores[i], &identity) != 0)
            continue;
        name_in_keys(c, i, identity.id);
        strcpy(c->store_ids[i], identity.id);
    }
    name_away(c);
}

bool bind_still(struct catalog *c, size_t place)
{
    struct identity identity;

    if (store_identity_read(c->stores[place], &identity) == 0 &&
        strcmp(identity.id, c->store_ids[place]) == 0)
        return true;
    log_error("a blob store is not what it was: nothing in it counts as damaged",
              "store=%s path=%s", c->conf->stores[place].name,
              log_quote(c->conf->stores[place].path));
    return false;
}
