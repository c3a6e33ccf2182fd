/*
 * fsck_files.c - blobs' bytes against their records; files without a record.
 *
 * A thread a CPU hashes; the database is touched by the main thread alone. A crash leaves files in
 * their old places, which the next run finds.
 */
#include "store/belong.h"
#include "tools/fsck.h"

#include "base/mem.h"
#include "base/must.h"
#include "tools/ctl.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FOUND_MAX 65536
/* Beside a daemon: younger files may be on their way to a record. */
#define ORPHAN_AGE_MS 60000
#define PROGRESS_US   200000

struct hashing {
    struct fsck *f;
    _Atomic size_t next, done;
    _Atomic uint64_t bytes;
};

bool fsck_blob_odd(const struct fsck_blob *b)
{
    return !b->gone && (b->marked || b->state != FSCK_BLOB_GOOD);
}

void fsck_blob_mark(struct fsck *f, struct fsck_blob *b)
{
    b->marked = meta_has(f->db, meta_damage(f->conf->stores[b->store].key, &b->digest));
}

static int blob_add(struct fsck *f, const struct meta_key *key, const char *value, size_t value_len)
{
    struct fsck_blob b = {.digest = key->digest};
    struct record_blob record;
    int place = fsck_store_place(f, key->store);

    if (record_blob_decode(value, value_len, &record) != 0)
        return ERR_DAMAGED;
    if (place < 0) {
        f->skipped++;
        return 0;
    }
    b.store = (size_t)place;
    b.size = record.size;
    fsck_blob_mark(f, &b);
    f->blobs = mem_room(f->blobs, f->blob_count, sizeof(*f->blobs));
    f->blobs[f->blob_count++] = b;
    f->blob_bytes += b.size;
    return 0;
}

static enum fsck_state blob_hash(const struct fsck *f, const struct fsck_blob *b)
{
    struct digest found;
    int fd = -1;
    int err = store_blob_open(f->stores[b->store], &b->digest, b->size, &fd);

    if (err == 0) {
        err = digest_of_file(b->digest.alg, fd, b->size, &found);
        close(fd);
        if (err == 0)
            return digest_equal(&found, &b->digest) ? FSCK_BLOB_GOOD : FSCK_BLOB_CHANGED;
    }
    return err == ERR_NOT_FOUND ? FSCK_BLOB_MISSING
           : err == ERR_DAMAGED ? FSCK_BLOB_CHANGED
                                : FSCK_BLOB_UNREADABLE;
}

void fsck_blob_look(const struct fsck *f, struct fsck_blob *b)
{
    b->state = blob_hash(f, b);
}

static void *hash_thread(void *ctx)
{
    struct hashing *h = ctx;
    size_t at;

    while ((at = atomic_fetch_add(&h->next, 1)) < h->f->blob_count) {
        struct fsck_blob *b = &h->f->blobs[at];

        fsck_blob_look(h->f, b);
        atomic_fetch_add(&h->bytes, b->size);
        atomic_fetch_add(&h->done, 1);
    }
    return NULL;
}

static void progress(struct hashing *h)
{
    const struct fsck *f = h->f;
    char done[32], all[32];

    while (f->progress && atomic_load(&h->done) < f->blob_count) {
        uint64_t bytes = atomic_load(&h->bytes);

        fprintf(stderr, "\r%3u %%  %s of %s  %zu of %zu blobs ",
                f->blob_bytes > 0 ? (unsigned)(100.0 * (double)bytes / (double)f->blob_bytes) : 0,
                ctl_bytes(bytes, done), ctl_bytes(f->blob_bytes, all), atomic_load(&h->done),
                f->blob_count);
        usleep(PROGRESS_US);
    }
    if (f->progress)
        fprintf(stderr, "\r\033[K");
}

static void hash_all(struct fsck *f)
{
    struct hashing h = {.f = f};
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    size_t count = cpus > 1 ? (size_t)cpus : 1;
    pthread_t *threads = mem_alloc_array(count, sizeof(*threads));

    for (size_t i = 0; i < count; i++)
        MUST(pthread_create(&threads[i], NULL, hash_thread, &h) == 0);
    progress(&h);
    for (size_t i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    free(threads);
}

static void blob_tell(struct fsck *f, const struct fsck_blob *b)
{
    static const char *const what[] = {"good", "its bytes have changed", "its file is missing",
                                       "its file cannot be read"};
    const struct meta_key mark = meta_damage(f->conf->stores[b->store].key, &b->digest);
    const char *store = f->conf->stores[b->store].name;
    char text[DIGEST_TEXT_MAX];

    digest_text(&b->digest, text);
    if (b->gone)
        return;
    if (b->state == FSCK_BLOB_GOOD) {
        if (b->marked)
            fsck_tell(f, "mark", true, "%s in %s is marked as damaged and is good", text, store);
        if (b->marked && f->repair)
            meta_delete(f->db, mark);
        return;
    }
    fsck_tell(f, "blob", false, "%s in %s: %s%s; push it again to heal", text, store,
              what[b->state], b->marked ? ", which is known" : "");
    if (f->repair && !b->marked && b->state != FSCK_BLOB_UNREADABLE)
        meta_put_key(f->db, mark);
}

static bool is_orphan(struct fsck *f, const struct fsck_orphan *o)
{
    const char *name = f->conf->stores[o->store].key;

    /* Whose record is lost but whom an image holds is no orphan (fsck_images.c). */
    return !meta_has(f->db, meta_blob(name, &o->digest)) &&
           !meta_any(f->db, meta_holders(name, &o->digest));
}

static void orphan_add(struct fsck *f, const struct fsck_orphan *o)
{
    f->orphans = mem_room(f->orphans, f->orphan_count, sizeof(*f->orphans));
    f->orphans[f->orphan_count++] = *o;
}

static int orphans_list(struct fsck *f, size_t store)
{
    struct store_cursor cursor = {0};
    struct store_found *found = mem_alloc_array(FOUND_MAX, sizeof(*found));
    int err = 0;

    while (err == 0 && !cursor.end) {
        size_t count = 0;

        err = store_blobs_list(f->stores[store], &cursor,
                               f->online ? fsck_online_age_ms(f) + ORPHAN_AGE_MS : 0, found,
                               FOUND_MAX, &count);
        for (size_t i = 0; i < count && err == 0; i++) {
            const struct fsck_orphan o = {.store = store, .digest = found[i].digest};

            f->in_store[o.store].files++;
            if (is_orphan(f, &o))
                orphan_add(f, &o);
        }
    }
    free(found);
    return err;
}

/* A sweep deletes the record first and moves the file then; a push may have brought it back. */
static int orphans_confirm(struct fsck *f)
{
    size_t kept = 0;
    int err = fsck_online_settle(f);

    for (size_t i = 0; i < f->orphan_count && err == 0; i++) {
        const struct fsck_orphan *o = &f->orphans[i];
        uint64_t size;

        if (store_blob_size(f->stores[o->store], &o->digest, &size) == 0 && is_orphan(f, o))
            f->orphans[kept++] = *o;
    }
    f->orphan_count = kept;
    return err;
}

int fsck_files(struct fsck *f)
{
    int err = fsck_each(f, META_BLOB, blob_add);

    if (err != 0)
        return err;
    hash_all(f);
    if (f->online)
        err = fsck_online_confirm(f);
    for (size_t i = 0; i < f->blob_count && err == 0; i++)
        blob_tell(f, &f->blobs[i]);
    return err;
}

/* Few enough to be what crashes left, in a store that is not older than the database. */
static bool orphans_may_go(const struct fsck *f, const struct fsck_orphan *o)
{
    return !f->in_store[o->store].lacks &&
           belong_orphans_few(f->database.created_s, f->store_created_s[o->store],
                              f->in_store[o->store].files, f->in_store[o->store].orphans);
}

int fsck_orphans(struct fsck *f)
{
    int err = 0;

    for (size_t i = 0; i < f->conf->store_count && err == 0; i++)
        err = orphans_list(f, i);

    if (err == 0 && f->online && f->orphan_count > 0)
        err = orphans_confirm(f);
    for (size_t i = 0; i < f->orphan_count; i++)
        f->in_store[f->orphans[i].store].orphans++;
    for (size_t i = 0; i < f->orphan_count && err == 0; i++) {
        const struct fsck_orphan *o = &f->orphans[i];
        bool may_go = orphans_may_go(f, o);
        char text[DIGEST_TEXT_MAX];

        fsck_tell(f, "orphan", may_go, "%s in %s: no record knows this file%s",
                  digest_text(&o->digest, text), f->conf->stores[o->store].name,
                  may_go                        ? ""
                  : f->in_store[o->store].lacks ? ", and the database lacks changes: it stays; see "
                                                  "entrepotctl rebuild"
                                                : ", nor many others: they stay; see entrepotctl "
                                                  "gc --orphans");
    }
    return err;
}

bool fsck_file_good(const struct fsck *f, size_t store, const struct digest *digest, uint64_t size)
{
    const struct fsck_blob b = {.store = store, .digest = *digest, .size = size};

    return blob_hash(f, &b) == FSCK_BLOB_GOOD;
}

static int blob_aside(struct fsck *f, const struct fsck_blob *b)
{
    int fd = -1;
    uint64_t size;
    int err = store_blob_size(f->stores[b->store], &b->digest, &size);

    if (err == 0)
        err = store_blob_open(f->stores[b->store], &b->digest, size, &fd);
    if (err == 0)
        err = store_blob_quarantine(f->stores[b->store], &b->digest, fd);
    if (fd >= 0)
        close(fd);
    return err == ERR_NOT_FOUND ? 0 : err;
}

int fsck_files_move(struct fsck *f)
{
    int err = 0;

    if (!f->repair)
        return 0;
    for (size_t i = 0; i < f->blob_count && err == 0; i++)
        if (f->blobs[i].state == FSCK_BLOB_CHANGED)
            err = blob_aside(f, &f->blobs[i]);
    if (err != 0) {
        fputs("entrepotctl: cannot move a damaged blob to the quarantine\n", stderr);
        return err;
    }
    for (size_t i = 0; i < f->orphan_count && err == 0; i++)
        if (orphans_may_go(f, &f->orphans[i]))
            err = store_blob_aside(f->stores[f->orphans[i].store], &f->orphans[i].digest);
    return err;
}
