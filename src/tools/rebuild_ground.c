/*
 * rebuild_ground.c - what entrepotctl rebuild stands on: locks, blob stores, whose they are.
 *
 * Runs in entrepotctl. Owns the locks of the data directory and of every store while it runs. A
 * crash lets the locks go.
 */
#include "tools/rebuild.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

static int not_locked(const char *path)
{
    fprintf(stderr, "entrepotctl: %s: %s\n", path,
            errno == EWOULDBLOCK ? "a daemon uses it; stop it first" : strerror(errno));
    return ERR_BUSY;
}

/* Goes with this process. */
int rebuild_lock(const struct rebuild *r)
{
    struct str path = {0};
    int fd;

    str_printf(&path, "%s/lock", r->conf->data_dir);
    fd = open(path.data, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (fd < 0)
        fd = open(path.data, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    str_free(&path);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    return not_locked(r->conf->data_dir);
}

static int open_store(struct rebuild *r, size_t i)
{
    const struct conf_store *store = &r->conf->stores[i];

    if (store_open(r->stores[i], STORE_WRITE) == 0)
        return store_lock(r->stores[i]) == 0 ? 0 : not_locked(store->path);
    fprintf(stderr, "entrepotctl: cannot open blobstore %s: %s: %s; is it mounted?\n", store->name,
            store->path, strerror(errno));
    return ERR_IO;
}

/* One that is missing would be a loss of all its images. */
static int judge(const struct rebuild *r, size_t i)
{
    const struct conf_store *store = &r->conf->stores[i];

    /* One of before identities, beside a database that has lost its file or is gone. */
    if (r->belong->stores[i] == BELONG_FOREIGN && r->belong->database != BELONG_DATABASE &&
        !*r->about[i].identity.id)
        return 0;
    switch (r->belong->stores[i]) {
    case BELONG_NEW:
    case BELONG_OLD:
    case BELONG_OURS:
        return 0;
    case BELONG_AWAY:
        fprintf(stderr,
                "entrepotctl: blobstore %s: %s is empty, and it was not; is its disk mounted? If "
                "it is lost for good: entrepotctl store adopt %s\n",
                store->name, store->path, store->name);
        break;
    case BELONG_NAMED:
        fprintf(stderr,
                "entrepotctl: blobstore %s: %s is blobstore %s: see entrepotctl store rename\n",
                store->name, store->path, r->belong->store_identity[i].name);
        break;
    case BELONG_FOREIGN:
    case BELONG_UNREADABLE:
        fprintf(stderr,
                "entrepotctl: blobstore %s: %s is not known to be of this database; to take it "
                "over: entrepotctl store adopt %s\n",
                store->name, store->path, store->name);
        break;
    }
    return ERR_CONFLICT;
}

int rebuild_ground(struct rebuild *r)
{
    int err = 0;

    belong_look(r->conf, r->belong);
    for (size_t i = 0; i < r->conf->store_count && err == 0; i++) {
        r->about[i].identity = r->belong->store_identity[i];
        err = judge(r, i);
        if (err == 0)
            err = open_store(r, i);
    }
    return err;
}

/* The id that a store names; stores of two databases are none of ours. */
static int ask_stores(const struct rebuild *r, char id[IDENTITY_ID_LEN + 1])
{
    for (size_t i = 0; i < r->conf->store_count; i++) {
        const char *says = r->about[i].identity.database;

        if (!*says || strcmp(says, IDENTITY_ANYBODY) == 0 || strcmp(says, id) == 0)
            continue;
        if (*id) {
            fprintf(stderr,
                    "entrepotctl: blobstore %s belongs to another database than others of this "
                    "configuration; to take it over: entrepotctl store adopt %s\n",
                    r->conf->stores[i].name, r->conf->stores[i].name);
            return ERR_CONFLICT;
        }
        strcpy(id, says);
    }
    return 0;
}

int rebuild_identity(struct rebuild *r, const struct identity *remains)
{
    uint64_t now = (uint64_t)time(NULL);
    int err;

    r->database = (struct identity){.created_s = now};
    if (r->belong->database == BELONG_DATABASE)
        strcpy(r->database.id, r->belong->identity.id);
    err = ask_stores(r, r->database.id);
    if (!*r->database.id)
        strcpy(r->database.id, remains->id);
    if (!*r->database.id)
        identity_new_id(r->database.id);
    if (*remains->id && strcmp(remains->id, r->database.id) != 0) {
        fputs("entrepotctl: what is left of the database is another one's, and does not count\n",
              stderr);
        db_close(&r->remains);
        for (size_t i = 0; i < r->conf->store_count; i++)
            r->about[i].number = 0;
    }
    /* Younger than every store: no file without a record goes unasked (store/belong.h). */
    for (size_t i = 0; i < r->conf->store_count; i++)
        if (r->about[i].identity.created_s >= r->database.created_s)
            r->database.created_s = r->about[i].identity.created_s + 1;
    return err;
}

/* One of before identities, or adopted by whichever database comes; a new one is the daemon's. */
static int bind_one(struct rebuild *r, size_t i)
{
    struct identity *identity = &r->about[i].identity;

    if (r->belong->stores[i] == BELONG_NEW || strcmp(identity->database, r->database.id) == 0)
        return 0;
    if (!*identity->id)
        identity_new_id(identity->id);
    strcpy(identity->database, r->database.id);
    strcpy(identity->name, r->conf->stores[i].name);
    identity->created_s = 0;
    return store_identity_write(r->stores[i], identity);
}

int rebuild_bind(struct rebuild *r)
{
    int err = 0;

    for (size_t i = 0; i < r->conf->store_count && err == 0; i++) {
        err = bind_one(r, i);
        if (err != 0)
            fprintf(stderr, "entrepotctl: cannot write %s/" IDENTITY_FILE ": %s\n",
                    r->conf->stores[i].path, err_text(err));
    }
    return err;
}
