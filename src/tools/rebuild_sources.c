/*
 * rebuild_sources.c - what the remains of the database and the journals say should be there.
 *
 * Runs in entrepotctl. Owns DATA_DIR/rebuild/remains and DATA_DIR/rebuild/wanted, which a crash
 * leaves and the next rebuild removes.
 */
#include "tools/rebuild.h"

#include "base/mem.h"
#include "base/must.h"
#include "meta/checkpoint.h"
#include "meta/codec.h"
#include "meta/witness.h"
#include "oci/name.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WANTED_VERSION 1

struct meta_key rebuild_manifest_key(const struct rebuild *r, size_t store, const char *repo,
                                     const char *image, const struct digest *digest)
{
    return (struct meta_key){.kind = META_WANTED_MANIFEST,
                             .store = r->conf->stores[store].key,
                             .repo = repo,
                             .image = image,
                             .digest = *digest};
}

size_t rebuild_store_of(const struct rebuild *r, const struct meta_key *key)
{
    size_t place = 0;

    while (strcmp(r->conf->stores[place].key, key->store) != 0)
        MUST(++place < r->conf->store_count); /* we have put it there */
    return place;
}

int rebuild_wanted_get(const char *value, size_t len, struct rebuild_wanted *w)
{
    struct codec_reader r = codec_open(value, len, WANTED_VERSION);

    w->by = codec_get_u8(&r);
    w->time = codec_get_u64(&r);
    codec_get_digest(&r, true, &w->digest);
    w->media_type = codec_get_text(&r, NAME_MEDIA_TYPE_MAX);
    return codec_end(&r);
}

void rebuild_wanted_put(struct rebuild *r, const struct meta_key *key,
                        const struct rebuild_wanted *w)
{
    struct str value = {0};

    codec_put_u8(&value, WANTED_VERSION);
    codec_put_u8(&value, w->by);
    codec_put_u64(&value, w->time);
    codec_put_digest(&value, &w->digest);
    codec_put_text(&value, w->media_type);
    meta_put(r->wanted, *key, &value);
    str_free(&value);
}

/* LevelDB puts aside what it cannot use. */
static void remains_remove(const char *path)
{
    struct str lost = {0};

    str_printf(&lost, "%s/lost", path);
    checkpoint_remove(lost.data);
    str_free(&lost);
    checkpoint_remove(path);
}

/* What opens after LevelDB's own repair. */
static int remains_open(struct rebuild *r, const char *source, const char *copy)
{
    unsigned skipped = 0;
    int err = checkpoint_remains(source, copy, &skipped);

    if (skipped > 0)
        fprintf(stderr, "entrepotctl: %u files of %s cannot be read\n", skipped, source);
    if (err != 0) {
        fprintf(stderr, "entrepotctl: cannot copy %s to %s: %s%s\n", source, copy, err_text(err),
                err == ERR_NO_SPACE ? "; it takes three times its size for a while" : "");
        return err;
    }
    if (kv_leveldb_repair(copy) != 0 || db_open(copy, KV_EXISTING, &r->remains) != 0)
        fprintf(stderr, "entrepotctl: nothing of %s can be read\n", source);
    return 0;
}

int rebuild_remains(struct rebuild *r, const char *source, struct identity *identity_r)
{
    struct meta_identity *m = mem_alloc(sizeof(*m));
    struct str copy = {0};
    int err = 0;

    *identity_r = (struct identity){0};
    rebuild_path(r, "remains", &copy);
    remains_remove(copy.data);
    if (source)
        err = remains_open(r, source, copy.data);
    if (r->remains) {
        err = meta_identity_get(r->remains, m);
        if (err == 0)
            *identity_r = m->identity;
        if (err == ERR_UNSUPPORTED)
            fprintf(stderr,
                    "entrepotctl: %s was written by another version of entrepotd; use its "
                    "entrepotctl\n",
                    source);
        else
            err = 0;
    }
    /* Its records of a store have the store's first name in their keys. */
    for (size_t i = 0; r->remains && i < r->conf->store_count && err == 0; i++) {
        const char *key = meta_store_key(m, r->about[i].identity.id);

        err = witness_number(r->remains, key ? key : r->conf->stores[i].name, &r->about[i].number);
        if (err == ERR_DAMAGED)
            err = 0;
    }
    free(m);
    str_free(&copy);
    return err;
}

/* Who speaks: a journal's lines for one store, or the remains' records. */
struct saying {
    struct rebuild *r;
    size_t store;
    int err;
};

static struct meta_key key_of(const struct rebuild *r, size_t store, const struct journal_line *l)
{
    struct meta_key key = rebuild_manifest_key(r, store, l->repo, l->image, &l->digest);

    if (l->tag) {
        key.kind = META_WANTED_TAG;
        key.tag = l->tag;
    }
    return key;
}

static struct rebuild_wanted wanted_of(const struct journal_line *l, uint8_t by)
{
    struct rebuild_wanted w = {.by = by, .time = l->time, .media_type = ""};

    if (l->tag)
        w.digest = l->digest;
    else
        w.media_type = l->media_type;
    return w;
}

/* Of a repository that has another store by the configuration: noted, for it may be the
 * configuration that is wrong. */
static void elsewhere_says(struct saying *s, const struct journal_line *l)
{
    struct meta_key key = rebuild_manifest_key(s->r, s->store, l->repo, l->image, &l->digest);

    if (l->tag)
        return;
    key.kind = META_ELSEWHERE;
    if (l->kind == JOURNAL_MANIFEST_GONE)
        meta_delete(s->r->wanted, key);
    else
        meta_put_key(s->r->wanted, key);
    s->err = rebuild_write(s->r, s->r->wanted, false);
}

static void journal_says(void *ctx, const struct journal_line *l)
{
    struct saying *s = ctx;
    const struct conf_repo *repo = conf_repo_by_name(s->r->conf, l->repo, strlen(l->repo));
    struct rebuild_wanted w;
    struct meta_key key;

    if (s->err != 0)
        return;
    if (repo && repo->store && (size_t)(repo->store - s->r->conf->stores) != s->store) {
        elsewhere_says(s, l);
        return;
    }
    key = key_of(s->r, s->store, l);
    if (l->kind == JOURNAL_MANIFEST_GONE || l->kind == JOURNAL_TAG_GONE) {
        meta_delete(s->r->wanted, key);
    } else {
        w = wanted_of(l, REBUILD_BY_JOURNAL);
        rebuild_wanted_put(s->r, &key, &w);
    }
    s->err = rebuild_write(s->r, s->r->wanted, false);
}

/* Does the journal know all that the remains know? */
static enum rebuild_trust trust(const struct rebuild *r, const struct rebuild_store *a)
{
    if (!*a->journal.database)
        return r->remains ? REBUILD_DATABASE : REBUILD_NOBODY;
    if (a->journal.last < a->number)
        return REBUILD_NEWER;
    return journal_whole(&a->journal) ? REBUILD_JOURNAL : REBUILD_EITHER;
}

static int ask_journal(struct rebuild *r, size_t store)
{
    struct rebuild_store *a = &r->about[store];
    struct saying s = {.r = r, .store = store};
    int err = journal_read(r->stores[store], NULL, NULL, &a->journal);
    bool ours;

    if (err != 0 && err != ERR_NOT_FOUND)
        fprintf(stderr, "entrepotctl: cannot read the journal in %s: %s\n",
                r->conf->stores[store].path, journal_err_text(err));
    /* One whose first line is damaged is ours all the same. */
    ours = err == 0 && (!*a->journal.database || !*r->database.id ||
                        strcmp(a->journal.database, r->database.id) == 0);
    err = 0;
    if (ours)
        err = journal_read(r->stores[store], journal_says, &s, &a->journal);
    else
        a->journal = (struct journal_file){0};
    if (ours && !*a->journal.database)
        strcpy(a->journal.database, r->database.id);
    if (err == 0)
        err = s.err;
    a->trust = trust(r, a);
    return err != 0 ? err : rebuild_write(r, r->wanted, true);
}

static int remains_say(struct rebuild *r, size_t store, const struct journal_line *l)
{
    enum rebuild_trust trust = r->about[store].trust;
    struct rebuild_wanted w = wanted_of(l, REBUILD_BY_DATABASE), old;
    const struct meta_key key = key_of(r, store, l);
    struct str value = {0};
    int err = meta_get(r->wanted, key, &value);

    if (err == 0)
        err = rebuild_wanted_get(value.data, value.len, &old);
    if (err == 0) {
        bool same = !l->tag || digest_equal(&old.digest, &w.digest);

        if (same)
            w.by |= old.by;
        else if (trust != REBUILD_NEWER)
            w = old;
        rebuild_wanted_put(r, &key, &w);
    } else if (err == ERR_NOT_FOUND && trust != REBUILD_JOURNAL) {
        rebuild_wanted_put(r, &key, &w);
    } else if (err == ERR_NOT_FOUND) {
        r->counts.gone++;
    }
    str_free(&value);
    return err == ERR_NOT_FOUND || err == 0 ? rebuild_write(r, r->wanted, false) : err;
}

/* The bytes of a repository without a section are wherever its manifest is. */
static bool is_in(const struct rebuild *r, size_t store, const struct journal_line *l)
{
    const struct conf_repo *repo = conf_repo_by_name(r->conf, l->repo, strlen(l->repo));
    uint64_t size;

    if (repo && repo->store)
        return (size_t)(repo->store - r->conf->stores) == store;
    return store_blob_size(r->stores[store], &l->digest, &size) == 0;
}

static int ask_remains(struct rebuild *r, enum meta_kind kind)
{
    struct meta_walk *walk = meta_walk_new(r->remains, (struct meta_key){.kind = kind}, NULL);
    struct journal_line l;
    struct meta_key key;
    int err = 0;

    while (err == 0 && meta_walk_next(walk, &key)) {
        size_t len;
        const char *value = meta_walk_value(walk, &len);

        if (!witness_line(&key, value, len, &l))
            continue;
        for (size_t i = 0; i < r->conf->store_count && err == 0; i++)
            if (is_in(r, i, &l))
                err = remains_say(r, i, &l);
    }
    if (meta_walk_end(&walk) != 0)
        fputs("entrepotctl: some of what is left of the database cannot be read\n", stderr);
    return err;
}

/* A manifest whose bytes are in the store whose journal names it, and not where the configuration
 * has its repository, of which nobody says that it should be there. */
static bool misplaced(const struct rebuild *r, const struct meta_key *key)
{
    const struct conf_repo *repo = conf_repo_by_name(r->conf, key->repo, strlen(key->repo));
    uint64_t size;
    size_t there;

    if (!repo || !repo->store)
        return false;
    there = (size_t)(repo->store - r->conf->stores);
    return meta_find(r->wanted, rebuild_manifest_key(r, there, key->repo, key->image,
                                                     &key->digest)) == ERR_NOT_FOUND &&
           store_blob_size(r->stores[rebuild_store_of(r, key)], &key->digest, &size) == 0 &&
           store_blob_size(r->stores[there], &key->digest, &size) == ERR_NOT_FOUND;
}

/* Was a repository moved, and the configuration not changed? The file that tells it went with the
 * database. */
static int ask_elsewhere(const struct rebuild *r)
{
    struct meta_walk *walk =
        meta_walk_new(r->wanted, (struct meta_key){.kind = META_ELSEWHERE}, NULL);
    struct meta_key key;
    int err = 0, walk_err;

    while (err == 0 && meta_walk_next(walk, &key)) {
        const char *store = r->conf->stores[rebuild_store_of(r, &key)].name;

        if (!misplaced(r, &key))
            continue;
        fprintf(stderr,
                "entrepotctl: the journal of blobstore %s names images of repository %s, and their "
                "manifests are there and not in the blob store that the configuration has for it: "
                "was it moved? Then set blobstore = %s in its section; if not, move the journal "
                "away\n",
                store, key.repo, store);
        err = ERR_CONFLICT;
    }
    walk_err = meta_walk_end_whole(&walk);
    return err != 0 ? err : walk_err;
}

int rebuild_collect(struct rebuild *r)
{
    struct str path = {0};
    int err;

    rebuild_path(r, "wanted", &path);
    checkpoint_remove(path.data);
    err = db_open(path.data, KV_MAKE, &r->wanted);
    str_free(&path);
    for (size_t i = 0; i < r->conf->store_count && err == 0; i++)
        err = ask_journal(r, i);
    if (err == 0 && r->remains)
        err = ask_remains(r, META_MANIFEST);
    if (err == 0 && r->remains)
        err = ask_remains(r, META_TAG);
    if (err == 0)
        err = rebuild_write(r, r->wanted, true);
    if (err == 0)
        err = ask_elsewhere(r);
    return err != 0 ? err : rebuild_write(r, r->wanted, true);
}
