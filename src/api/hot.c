/*
 * hot.c - a worker's cache of small objects and open files.
 *
 * Runs in workers, on the loop. An object is in the table while it is kept; a
 * request holds it by a count, so that one that made room stays whole until the
 * last answer is out. A file is looked at again whenever it is used: it may have
 * been removed, or replaced by a push that healed it, or changed since it was hashed. A crash here
 * costs requests; what was kept is read again.
 */
#include "api/hot.h"

#include "base/container.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/must.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uthash.h>

struct hot_entry {
    struct hot_object object;
    struct digest digest;
    unsigned users;
    bool kept; /* in table and list */
    TAILQ_ENTRY(hot_entry) entry;
    UT_hash_handle hh;
};

struct hot {
    struct hot_entry *table;              /* by digest */
    TAILQ_HEAD(hot_list, hot_entry) list; /* most recently used first */
    size_t bytes, bytes_max, files, files_max;
};

struct hot *hot_new(size_t bytes_max, size_t files_max)
{
    struct hot *hot = mem_alloc(sizeof(*hot));

    hot->bytes_max = bytes_max;
    hot->files_max = files_max;
    TAILQ_INIT(&hot->list);
    return hot;
}

static void entry_free(struct hot_entry *e)
{
    if (e->object.fd >= 0)
        close(e->object.fd);
    free((void *)(uintptr_t)e->object.data);
    free(e);
}

static void forget(struct hot *hot, struct hot_entry *e)
{
    HASH_DEL(hot->table, e);
    TAILQ_REMOVE(&hot->list, e, entry);
    if (e->object.fd >= 0)
        hot->files--;
    else
        hot->bytes -= e->object.size;
    e->kept = false;
    if (e->users == 0)
        entry_free(e);
}

void hot_free(struct hot **hot_p)
{
    struct hot *hot = *hot_p;

    if (!hot)
        return;
    *hot_p = NULL;
    while (!TAILQ_EMPTY(&hot->list)) {
        MUST(TAILQ_FIRST(&hot->list)->users == 0);
        forget(hot, TAILQ_FIRST(&hot->list));
    }
    free(hot);
}

static void keep(struct hot *hot, struct hot_entry *e)
{
    HASH_ADD(hh, hot->table, digest, sizeof(e->digest), e);
    TAILQ_INSERT_HEAD(&hot->list, e, entry);
    e->kept = true;
    if (e->object.fd >= 0)
        hot->files++;
    else
        hot->bytes += e->object.size;
    while (hot->bytes > hot->bytes_max || hot->files > hot->files_max)
        forget(hot, TAILQ_LAST(&hot->list, hot_list));
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

/* Is an open file still what the store has under this name? */
static bool still_good(const struct hot_entry *e)
{
    struct stat st;

    return e->object.fd < 0 ||
           (fstat(e->object.fd, &st) == 0 && st.st_nlink > 0 &&
            (uint64_t)st.st_size == e->object.size &&
            (!e->object.verified || same_time(&st.st_ctim, &e->object.changed)));
}

static int read_bytes(int fd, const struct digest *digest, uint64_t size, char **data_r)
{
    char *data = mem_alloc(size + 1);
    struct digest found;
    int err = file_pread_full(fd, data, size, 0);

    if (err == 0) {
        digest_of(digest->alg, data, size, &found);
        if (!digest_equal(&found, digest))
            err = ERR_MISMATCH;
    }
    if (err != 0)
        free(data);
    else
        *data_r = data;
    return err;
}

/* What changes the file while it is hashed changes its time after the one that is kept. */
static int verify_file(int fd, const struct digest *digest, struct hot_object *object)
{
    struct digest found;
    struct stat st;
    int err;

    if (fstat(fd, &st) != 0)
        return err_from_errno(errno);
    err = digest_of_file(digest->alg, fd, object->size, &found);
    if (err != 0)
        return err;
    object->changed = st.st_ctim;
    object->verified = true;
    return digest_equal(&found, digest) ? 0 : ERR_MISMATCH;
}

int hot_read(const struct store *store, const struct digest *digest, uint64_t size, bool verify,
             struct hot_object *object_r)
{
    struct hot_object object = {.size = size, .fd = -1};
    char *data = NULL;
    int fd = -1;
    int err = store_blob_open(store, digest, size, &fd);

    if (err != 0)
        return err;
    if (size <= HOT_SMALL_MAX)
        err = read_bytes(fd, digest, size, &data);
    else if (verify)
        err = verify_file(fd, digest, &object);
    if (err != 0 || size <= HOT_SMALL_MAX)
        close(fd);
    else
        object.fd = fd;
    object.data = data;
    if (err == 0)
        *object_r = object;
    return err;
}

const struct hot_object *hot_find(struct hot *hot, const struct digest *digest, uint64_t size,
                                  bool verify)
{
    struct hot_entry *e;

    HASH_FIND(hh, hot->table, digest, sizeof(*digest), e);
    if (e && (e->object.size != size || !still_good(e))) {
        forget(hot, e);
        e = NULL;
    }
    if (!e || (verify && !e->object.data && !e->object.verified))
        return NULL;
    TAILQ_REMOVE(&hot->list, e, entry);
    TAILQ_INSERT_HEAD(&hot->list, e, entry);
    e->users++;
    return &e->object;
}

const struct hot_object *hot_add(struct hot *hot, const struct digest *digest,
                                 const struct hot_object *object)
{
    struct hot_entry *e = mem_alloc(sizeof(*e)), *old;

    e->object = *object;
    e->digest = *digest;
    e->users = 1;
    HASH_FIND(hh, hot->table, digest, sizeof(*digest), old);
    if (old && object->verified && !old->object.verified) {
        forget(hot, old);
        old = NULL;
    }
    if (!old)
        keep(hot, e); /* making room does not free it: it is in use */
    return &e->object;
}

void hot_release(const struct hot_object *object)
{
    struct hot_entry *e =
        CONTAINER_OF((struct hot_object *)(uintptr_t)object, struct hot_entry, object);

    MUST(e->users > 0);
    if (--e->users == 0 && !e->kept)
        entry_free(e);
}
