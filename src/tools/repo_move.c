/*
 * repo_move.c - entrepotctl repo move: a repository's bytes go to another blob store.
 *
 * Works on a stopped daemon's data. First every blob is put into the new store and noted there,
 * then the file REPOSITORIES (conf/holdings.h) says where the repository is from now on, then what
 * only it held is taken out of the old one. Whoever dies on the way has lost nothing: before the
 * middle step the old place is whole, after it the new one; the command is repeated. The stores'
 * journals, which do not count from the beginning on, are written behind the middle step.
 */
#include "base/fail.h"
#include "base/file.h"
#include "base/mem.h"
#include "conf/holdings.h"
#include "tools/ctl.h"
#include "tools/fsck.h"
#include "tools/repo_journals.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Changes in one batch. */
#define BATCH      256
#define COPY_BYTES (1u << 20)

struct move {
    struct fsck f;
    const char *repo;
    size_t to; /* place in conf->stores */
    int from;  /* the same; -1: it is in `to` already and only the old place is cleared */
    uint64_t blobs, bytes, damaged, released;
    size_t changes;             /* in the batch */
    struct digest aside[BATCH]; /* their records are taken away by the batch */
    size_t aside_store[BATCH], aside_count;
};

/* What a repository holds of its store. */
struct held {
    enum meta_kind kind; /* META_LINK or META_MANIFEST */
    const char *image;
    struct digest digest;
    uint64_t size;
};

static int batch_write(struct move *m)
{
    int err = db_batch_empty(m->f.db) ? 0 : db_batch_commit(m->f.db);

    m->changes = 0;
    for (size_t i = 0; err == 0 && i < m->aside_count; i++)
        if (store_blob_aside(m->f.stores[m->aside_store[i]], &m->aside[i]) == 0)
            m->released++;
    m->aside_count = 0;
    return err;
}

static int changed(struct move *m)
{
    return ++m->changes < BATCH ? 0 : batch_write(m);
}

static int held_read(struct move *m, const struct meta_key *key, const char *value,
                     size_t value_len, struct held *h)
{
    struct record_blob record;
    const char *type;

    *h = (struct held){.kind = key->kind,
                       .image = mem_arena_strdup(m->f.arena, key->image),
                       .digest = key->digest};
    if (h->kind == META_MANIFEST)
        return record_manifest_peek(value, value_len, &h->size, &type);
    if (record_blob_decode(value, value_len, &record) != 0)
        return ERR_DAMAGED;
    h->size = record.size;
    return 0;
}

static int each_of(struct move *m, enum meta_kind kind,
                   int (*act)(struct move *m, const struct held *h))
{
    struct meta_walk *walk =
        meta_walk_new(m->f.db, (struct meta_key){.kind = kind, .repo = m->repo}, NULL);
    struct meta_key key;
    int err = 0, walk_err;

    while (err == 0 && meta_walk_next(walk, &key)) {
        size_t len;
        const char *value = meta_walk_value(walk, &len);
        struct held h;

        err = held_read(m, &key, value, len, &h);
        if (err == 0)
            err = act(m, &h);
        mem_arena_reset(m->f.arena);
    }
    walk_err = meta_walk_end_whole(&walk);
    if (err == 0)
        err = walk_err;
    return err != 0 ? err : batch_write(m);
}

/* Each link and each manifest of the repository. */
static int each(struct move *m, int (*act)(struct move *m, const struct held *h))
{
    int err = each_of(m, META_LINK, act);

    return err != 0 ? err : each_of(m, META_MANIFEST, act);
}

/* Reads, copies (`to` >= 0) and counts the bytes' digest on the way: a damaged blob does not become
 * a good one. */
static int read_bytes(int from, int to, uint64_t size, const struct digest *digest)
{
    struct digest_ctx *ctx = digest_ctx_new(digest->alg);
    char *data = mem_alloc(COPY_BYTES);
    struct digest got;
    uint64_t done = 0;
    int err = 0;

    while (err == 0 && done < size) {
        size_t len = size - done < COPY_BYTES ? (size_t)(size - done) : COPY_BYTES;

        err = file_pread_full(from, data, len, done);
        if (err == 0) {
            digest_ctx_update(ctx, data, len);
            err = to >= 0 ? file_write_full(to, data, len) : 0;
        }
        done += len;
    }
    digest_ctx_peek(ctx, &got);
    digest_ctx_free(&ctx);
    free(data);
    return err == 0 && !digest_equal(&got, digest) ? ERR_MISMATCH : err;
}

/* Are they there already? A file of the right size need not be: it was another repository's until
 * now, and what is taken out of the old store afterwards may be the only good copy. */
static bool are_there(const struct store *to, const struct held *h)
{
    int fd = -1, err = store_blob_open(to, &h->digest, h->size, &fd);

    if (err == 0)
        err = read_bytes(fd, -1, h->size, &h->digest);
    if (fd >= 0)
        close(fd);
    return err == 0;
}

/* As a file of its own, also on the same disk: a link would be one file in two stores. */
static int put_bytes(struct move *m, const struct held *h)
{
    const struct store *to = m->f.stores[m->to];
    int from_fd = -1, to_fd = -1, err;
    uint64_t size;

    if (are_there(to, h))
        return 0;
    err = store_blob_open(m->f.stores[m->from], &h->digest, h->size, &from_fd);
    if (err != 0)
        return err == ERR_NOT_FOUND ? ERR_DAMAGED : err;
    err = store_partial_open(to, m->repo, &h->digest, &to_fd, &size);
    if (err == 0 && ftruncate(to_fd, 0) != 0)
        err = err_from_errno(errno);
    if (err == 0)
        err = read_bytes(from_fd, to_fd, h->size, &h->digest);
    if (err == 0)
        err = store_partial_place(to, to_fd, m->repo, &h->digest);
    if (err != 0 && to_fd >= 0)
        store_partial_unlink(to, m->repo, &h->digest);
    close(from_fd);
    if (to_fd >= 0)
        close(to_fd);
    return err == ERR_MISMATCH ? ERR_DAMAGED : err;
}

static int put_one(struct move *m, const struct held *h)
{
    const char *store = m->f.conf->stores[m->to].key;
    const struct meta_key mark = meta_damage(store, &h->digest);
    char text[DIGEST_TEXT_MAX];
    int err = put_bytes(m, h);

    if (err != 0 && err != ERR_DAMAGED) {
        fprintf(stderr, "entrepotctl: cannot copy %s to blobstore %s: %s\n",
                digest_text(&h->digest, text), m->f.conf->stores[m->to].name, err_text(err));
        return err;
    }
    if (err == ERR_DAMAGED) { /* and stays so: a push or a pull from its remote mends it */
        fprintf(stderr, "entrepotctl: %s of %s/%s is damaged or missing\n",
                digest_text(&h->digest, text), m->repo, h->image);
        meta_put_key(m->f.db, mark);
        m->damaged++;
    } else if (meta_has(m->f.db, mark)) { /* of before it was put there again */
        meta_delete(m->f.db, mark);
    }
    if (!meta_has(m->f.db, meta_blob(store, &h->digest))) {
        meta_blob_put(m->f.db, meta_blob(store, &h->digest), h->size, (uint64_t)time(NULL));
        m->blobs++;
        m->bytes += h->size;
    }
    meta_put_key(m->f.db, meta_holder(store, &h->digest, h->kind, m->repo, h->image));
    FAIL_POINT(repo_move_put);
    return changed(m);
}

/* The repository holds it in no other store any more. */
static int let_go(struct move *m, const struct held *h)
{
    const struct conf *conf = m->f.conf;
    int err = 0;

    for (size_t i = 0; err == 0 && i < conf->store_count; i++) {
        const struct meta_key holder =
            meta_holder(conf->stores[i].key, &h->digest, h->kind, m->repo, h->image);

        if (i == m->to || !meta_has(m->f.db, holder))
            continue;
        meta_delete(m->f.db, holder);
        err = changed(m);
    }
    return err;
}

/* Bytes in other stores that nobody holds now, after all were let go. */
static int release(struct move *m, const struct held *h)
{
    const struct conf *conf = m->f.conf;
    int err = 0;

    for (size_t i = 0; err == 0 && i < conf->store_count; i++) {
        const char *store = conf->stores[i].key;

        if (i == m->to || !meta_has(m->f.db, meta_blob(store, &h->digest)) ||
            meta_any(m->f.db, meta_holders(store, &h->digest)))
            continue;
        meta_blob_forget(m->f.db, store, &h->digest);
        m->aside[m->aside_count] = h->digest;
        m->aside_store[m->aside_count++] = i;
        err = changed(m);
    }
    return err;
}

/* From now on it is there. */
static int switch_over(struct move *m, struct holdings *holdings)
{
    const struct conf_store *to = &m->f.conf->stores[m->to];
    struct holding *holding = holdings_find(holdings, m->repo);
    struct str text = {0};
    int err;

    free(holding->store);
    free(holding->path);
    holding->store = mem_strdup(to->name);
    holding->path = mem_strdup(to->path);
    holdings_text(holdings, &text);
    FAIL_POINT(repo_move_copied);
    err = holdings_write(m->f.conf->data_dir, &text);
    FAIL_POINT(repo_move_switched);
    str_free(&text);
    return err;
}

static int move_all(struct move *m, struct holdings *holdings)
{
    int err = repo_journals_outdate(&m->f);

    if (err == 0)
        err = batch_write(m);
    if (err == 0 && m->from >= 0) {
        err = each(m, put_one);
        if (err == 0)
            err = switch_over(m, holdings);
    }
    if (err == 0)
        repo_journals_write(&m->f, m->repo, m->to);
    if (err == 0)
        err = each(m, let_go);
    if (err == 0)
        err = each(m, release);
    return err;
}

/* The place of the store that holds it now, by name or by path. -1: not configured. */
static int place_of(const struct conf *conf, const struct holding *holding)
{
    for (size_t i = 0; i < conf->store_count; i++)
        if (strcmp(conf->stores[i].name, holding->store) == 0 ||
            strcmp(conf->stores[i].path, holding->path) == 0)
            return (int)i;
    return -1;
}

/* What is asked for fits; told why not. */
static bool plan(struct move *m, const struct holding *holding, const char *store)
{
    const struct conf *conf = m->f.conf;
    struct identity identity;
    int from;

    m->to = conf->store_count;
    for (size_t i = 0; i < conf->store_count; i++)
        if (strcmp(conf->stores[i].name, store) == 0)
            m->to = i;
    if (m->to == conf->store_count) {
        fprintf(stderr, "entrepotctl: the configuration has no blobstore %s\n", store);
        return false;
    }
    from = place_of(conf, holding);
    if (from < 0) {
        fprintf(stderr,
                "entrepotctl: %s is in blobstore %s at %s, which the configuration does not have: "
                "give it its section back for the move\n",
                m->repo, holding->store, holding->path);
        return false;
    }
    m->from = (size_t)from == m->to ? -1 : from;
    if (store_identity_of(&conf->stores[m->to], &identity) != 0) {
        fprintf(stderr,
                "entrepotctl: blobstore %s is new: start entrepotd once with it, %s still in %s, "
                "then stop it and repeat this\n",
                store, m->repo, holding->store);
        return false;
    }
    return true;
}

static void report(const struct move *m)
{
    const struct conf *conf = m->f.conf;
    const struct conf_repo *repo = conf_repo_by_name(conf, m->repo, strlen(m->repo));
    const char *to = conf->stores[m->to].name;
    bool fits = !repo || repo->store == &conf->stores[m->to];
    char bytes[32];

    if (m->f.json) {
        printf("{\"moved\":true,\"repository\":\"%s\",\"blobstore\":\"%s\",\"blobs\":%llu,"
               "\"bytes\":%llu,\"removed\":%llu,\"damaged\":%llu,\"section_fits\":%s}\n",
               m->repo, to, (unsigned long long)m->blobs, (unsigned long long)m->bytes,
               (unsigned long long)m->released, (unsigned long long)m->damaged,
               fits ? "true" : "false");
        return;
    }
    printf("%s is in blobstore %s now: %llu blobs, %s, were copied into it, and %llu that nobody "
           "else holds removed from other blob stores\n",
           m->repo, to, (unsigned long long)m->blobs, ctl_bytes(m->bytes, bytes),
           (unsigned long long)m->released);
    if (m->damaged)
        printf("%llu are damaged or missing, as they were before\n",
               (unsigned long long)m->damaged);
    if (!fits)
        printf("set blobstore = %s in its section before entrepotd is started\n", to);
}

static int move(struct move *m, const char *store)
{
    struct holdings holdings = {0};
    struct holding *holding = NULL;
    int status = EXIT_FAILURE, lock_fd = -1, err;

    err = holdings_read(m->f.conf->data_dir, &holdings);
    if (err != 0)
        fprintf(stderr,
                "entrepotctl: cannot read which repositories hold something: %s; a start and a "
                "stop of entrepotd write it\n",
                err_text(err));
    else if (!(holding = holdings_find(&holdings, m->repo)))
        fprintf(stderr, "entrepotctl: %s holds nothing: there is nothing to move\n", m->repo);
    else if (plan(m, holding, store) && fsck_hold(&m->f, &lock_fd) == 0 &&
             (err = repo_journals_fit(&m->f)) != ERR_INCOMPLETE) {
        if (err == 0)
            err = move_all(m, &holdings);
        if (err == 0)
            report(m);
        else
            fprintf(stderr, "entrepotctl: not all was moved: %s; nothing is lost, repeat it\n",
                    err_text(err));
        status = err == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    fsck_let_go(&m->f, lock_fd);
    holdings_free(&holdings);
    return status;
}

int ctl_repo_move(const struct ctl *ctl, const char *repo, const char *store)
{
    struct move *m = mem_alloc(sizeof(*m));
    struct conf *conf;
    int status = EXIT_FAILURE;

    if (ctl_conf(ctl, &conf)) {
        m->repo = repo;
        m->f = (struct fsck){.conf = conf,
                             .repair = true,
                             .json = ctl->json,
                             .command = "repo move",
                             .arena = mem_arena_new(),
                             .names = mem_arena_new()};
        status = move(m, store);
        mem_arena_free(&m->f.arena);
        mem_arena_free(&m->f.names);
        conf_free(&conf);
    }
    free(m);
    return status;
}
