/*
 * belong.c - do a configuration, its database and its blob stores belong together?
 *
 * Runs in the master and in entrepotctl; reads a few small files and changes nothing.
 */
#include "store/belong.h"

#include "base/file.h"
#include "base/mem.h"
#include "store/store_fs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A twentieth of a store; or what crashes leave between two walks, if it is a quarter at most. */
#define ORPHANS_SHARE     20
#define ORPHANS_FEW       8
#define ORPHANS_FEW_SHARE 4

bool belong_orphans_few(uint64_t database_created_s, uint64_t store_created_s, uint64_t files,
                        uint64_t orphans)
{
    if (store_created_s == 0 || database_created_s > store_created_s)
        return false;
    return orphans * ORPHANS_SHARE <= files ||
           (orphans <= ORPHANS_FEW && orphans * ORPHANS_FEW_SHARE <= files);
}

_Static_assert(IDENTITY_STORES_MAX >= CONF_STORES_MAX,
               "each store has its place in all that knows");

static void look_at_database(const struct conf *conf, struct belong *b)
{
    char *path = mem_alloc(strlen(conf->data_dir) + sizeof("/catalog"));
    int dir, err = ERR_NOT_FOUND;

    stpcpy(stpcpy(path, conf->data_dir), "/catalog");
    dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir >= 0)
        err = identity_read(dir, &b->identity, &b->known);
    else if (errno != ENOENT)
        err = err_from_errno(errno);
    if (err == 0)
        b->database = BELONG_DATABASE;
    else if (err != ERR_NOT_FOUND && err != ERR_NO_ACCESS)
        b->database = BELONG_DATABASE_UNREADABLE;
    else if (err == ERR_NO_ACCESS) /* who may not look cannot tell */
        b->database = BELONG_UNNAMED;
    else if (dir >= 0 && faccessat(dir, "CURRENT", F_OK, 0) == 0)
        b->database = BELONG_UNNAMED;
    else
        b->database = BELONG_NO_DATABASE;
    if (dir >= 0)
        close(dir);
    free(path);
}

int belong_known(const struct conf *conf, const struct belong *b, size_t place)
{
    int known = identity_called(&b->known, conf->stores[place].name);

    for (size_t i = 0; known >= 0 && i < conf->store_count; i++)
        if (i != place && strcmp(b->store_identity[i].id, b->known.at[known].id) == 0)
            known = -1;
    return known;
}

static enum belong_store look_at_store(const struct conf *conf, struct belong *b, size_t place)
{
    const struct conf_store *store = &conf->stores[place];
    struct identity *identity_r = &b->store_identity[place];
    bool known = belong_known(conf, b, place) >= 0;
    int dir = open(store->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), err;
    enum belong_store found;

    if (dir < 0) /* what cannot be entered today answers 503 and is looked at again */
        return errno != ENOENT || known ? BELONG_AWAY : BELONG_NEW;
    err = identity_read(dir, identity_r, NULL);
    if (err == ERR_NOT_FOUND && store_dir_has_blobs(dir))
        found = b->database == BELONG_UNNAMED ||
                        (b->database == BELONG_DATABASE && b->identity.created_s == 0)
                    ? BELONG_OLD
                    : BELONG_FOREIGN;
    else if (err == ERR_NOT_FOUND)
        found = known ? BELONG_AWAY : BELONG_NEW;
    else if (err != 0)
        found = BELONG_UNREADABLE;
    else if (b->database == BELONG_DATABASE && !identity_adopts(identity_r, b->identity.id))
        found = BELONG_FOREIGN;
    else
        found = strcmp(identity_r->name, store->name) == 0 ? BELONG_OURS : BELONG_NAMED;
    close(dir);
    return found;
}

void belong_look(const struct conf *conf, struct belong *b)
{
    memset(b, 0, sizeof(*b));
    look_at_database(conf, b);
    for (size_t i = 0; i < conf->store_count; i++)
        if (store_identity_of(&conf->stores[i], &b->store_identity[i]) != 0)
            b->store_identity[i] = (struct identity){0};
    for (size_t i = 0; i < conf->store_count; i++)
        b->stores[i] = look_at_store(conf, b, i);
}

/* By whatever name: links, bind mounts seen as one directory, a store inside another. */
static bool paths_overlap(const struct conf_store *a, const struct conf_store *b)
{
    char *one = realpath(a->path, NULL), *two = realpath(b->path, NULL);
    size_t short_len = one && two ? (strlen(one) < strlen(two) ? strlen(one) : strlen(two)) : 0;
    const char *longer = one && two && strlen(one) > short_len ? one : two;
    struct stat s, t;
    bool overlap = short_len > 0 && strncmp(one, two, short_len) == 0 &&
                   (longer[short_len] == 0 || longer[short_len] == '/');

    free(one);
    free(two);
    return overlap || (stat(a->path, &s) == 0 && stat(b->path, &t) == 0 && s.st_dev == t.st_dev &&
                       s.st_ino == t.st_ino);
}

static void judge_twice(const struct conf *conf, const struct belong *b, size_t i, struct str *why)
{
    const struct conf_store *store = &conf->stores[i];

    for (size_t j = 0; j < i; j++) {
        const struct conf_store *other = &conf->stores[j];

        if (paths_overlap(store, other))
            str_printf(why,
                       "blobstore %s: %s and %s of blobstore %s are one directory, or one lies in "
                       "the other; give each a directory of its own\n",
                       store->name, store->path, other->path, other->name);
        else if (*b->store_identity[i].id &&
                 strcmp(b->store_identity[i].id, b->store_identity[j].id) == 0)
            str_printf(why,
                       "blobstore %s: %s is a copy of %s of blobstore %s; use one of them, or give "
                       "the copy an identity of its own: entrepotctl store adopt %s\n",
                       store->name, store->path, other->path, other->name, store->name);
    }
}

static void judge_store(const struct conf *conf, const struct belong *b, size_t i, bool reload,
                        struct str *why)
{
    const struct conf_store *store = &conf->stores[i];
    const struct identity *identity = &b->store_identity[i];

    switch (b->stores[i]) {
    case BELONG_NEW:
    case BELONG_OLD:
        break;
    case BELONG_AWAY:
        if (reload)
            str_printf(why,
                       "blobstore %s: %s is missing, empty or closed to us, and it was not; is its "
                       "disk mounted? If it is lost for good: entrepotctl store adopt %s\n",
                       store->name, store->path, store->name);
        break;
    case BELONG_OURS:
        if (b->database == BELONG_NO_DATABASE && !identity_adopts(identity, ""))
            str_printf(
                why,
                "blobstore %s: %s holds images, and their database %s/catalog is missing; is "
                "data_dir right, and its disk mounted? If it is lost: entrepotctl rebuild\n",
                store->name, store->path, conf->data_dir);
        break;
    case BELONG_FOREIGN:
        str_printf(why,
                   "blobstore %s: %s belongs to another database than %s/catalog, so that nothing "
                   "in it has a record here; check data_dir and path. To take it over: "
                   "entrepotctl store adopt %s\n",
                   store->name, store->path, conf->data_dir, store->name);
        break;
    case BELONG_NAMED:
        str_printf(why,
                   "blobstore %s: %s is blobstore %s; call it so, or tell it its new name: "
                   "entrepotctl store rename %s %s\n",
                   store->name, store->path, identity->name, identity->name, store->name);
        break;
    case BELONG_UNREADABLE:
        str_printf(why,
                   "blobstore %s: %s/" IDENTITY_FILE " cannot be read or is of another version; "
                   "look at its owner and its text. To write it anew: entrepotctl store adopt %s\n",
                   store->name, store->path, store->name);
        break;
    }
    judge_twice(conf, b, i, why);
}

int belong_judge(const struct conf *conf, const struct belong *b, bool reload, struct str *why)
{
    size_t before = why->len;

    if (b->database == BELONG_DATABASE_UNREADABLE)
        str_printf(why,
                   "%s/catalog/" IDENTITY_FILE " cannot be read or is of another version; look at "
                   "its owner and its text\n",
                   conf->data_dir);
    for (size_t i = 0; i < conf->store_count; i++)
        judge_store(conf, b, i, reload, why);
    return why->len > before ? ERR_CONFLICT : 0;
}
