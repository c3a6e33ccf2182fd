/*
 * fsck_journal.c - the stores' journals against the database (store/journal.h).
 *
 * A journal that is behind, damaged or missing is a note: the daemon writes it anew. One that is
 * whole and says otherwise than the database means that one of them lost something. Changes
 * nothing.
 */
#include "tools/fsck.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/siphash.h"
#include "meta/witness.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uthash.h>

/* Beside a daemon: what the copy has is written by then. */
#define LATER_US  200000
#define LOOKS_MAX 10
/* Differences told by name; all are counted. */
#define TOLD_MAX 50

/* A manifest or tag that the journal has. */
struct entry {
    uint64_t id[2]; /* hash of its key */
    uint64_t value; /* of the digest that a tag points to */
    bool same;      /* as in the database */
    UT_hash_handle hh;
};

struct witness {
    struct fsck *f;
    size_t store;
    uint64_t limit; /* numbers above came after the database's state */
    uint8_t seed[16];
    struct entry *entries;
    uint64_t other; /* in the database and not, or otherwise, in the journal */
    uint64_t lost;  /* in the journal and not in the database */
};

static bool is_here(const struct witness *w, const char *repo)
{
    const struct conf_repo *r = conf_repo_by_name(w->f->conf, repo, strlen(repo));

    return r && r->store && (size_t)(r->store - w->f->conf->stores) == w->store;
}

static struct entry *entry_of(const struct witness *w, const struct journal_line *l,
                              uint64_t id_r[2], uint64_t *value_r)
{
    const struct meta_key key = witness_key(l);
    uint64_t out[2] = {0};
    struct meta_place place;
    struct entry *e;

    meta_place_of(&key, &place);
    siphash_128(w->seed, place.data, place.len, id_r);
    if (l->kind == JOURNAL_TAG)
        siphash_128(w->seed, &l->digest, sizeof(l->digest), out);
    *value_r = out[0];
    HASH_FIND(hh, w->entries, id_r, sizeof(e->id), e);
    return e;
}

static void take(void *ctx, const struct journal_line *l)
{
    struct witness *w = ctx;
    uint64_t id[2], value;
    struct entry *e;

    if (l->number > w->limit || !is_here(w, l->repo))
        return;
    e = entry_of(w, l, id, &value);
    if (l->kind == JOURNAL_MANIFEST_GONE || l->kind == JOURNAL_TAG_GONE) {
        if (e)
            HASH_DEL(w->entries, e);
        free(e);
        return;
    }
    if (!e) {
        e = mem_alloc(sizeof(*e));
        memcpy(e->id, id, sizeof(id));
        HASH_ADD(hh, w->entries, id, sizeof(e->id), e);
    }
    e->value = value;
}

static int compare_kind(struct witness *w, enum meta_kind kind)
{
    struct meta_walk *walk = meta_walk_new(w->f->db, (struct meta_key){.kind = kind}, NULL);
    struct journal_line l;
    struct meta_key key;

    while (meta_walk_next(walk, &key)) {
        size_t len;
        const char *value = meta_walk_value(walk, &len);
        uint64_t id[2], found;
        struct entry *e;

        if (!witness_line(&key, value, len, &l) || !is_here(w, l.repo))
            continue;
        e = entry_of(w, &l, id, &found);
        if (e && e->value == found)
            e->same = true;
        else
            w->other++;
    }
    return meta_walk_end(&walk);
}

/* The second time: what of it the database has not. */
static void tell_lost(void *ctx, const struct journal_line *l)
{
    struct witness *w = ctx;
    char text[DIGEST_TEXT_MAX];
    uint64_t id[2], value;
    struct entry *e;

    if (l->number > w->limit || !is_here(w, l->repo) || l->kind == JOURNAL_MANIFEST_GONE ||
        l->kind == JOURNAL_TAG_GONE)
        return;
    e = entry_of(w, l, id, &value);
    if (!e || e->same || e->value != value)
        return;
    e->same = true;
    if (w->lost++ >= TOLD_MAX)
        return;
    fsck_tell(w->f, "lost", false,
              "%s/%s%s%s is in the journal of %s and not, or otherwise, in the database; see "
              "entrepotctl rebuild",
              l->repo, l->image, l->tag ? ":" : "@",
              l->tag ? l->tag : digest_text(&l->digest, text), w->f->conf->stores[w->store].name);
}

/* `ahead`: the database lacks changes, so what else differs means nothing. */
static int compare(struct witness *w, bool ahead)
{
    const struct store *store = w->f->stores[w->store];
    const char *name = w->f->conf->stores[w->store].name;
    struct entry *e, *after;
    struct journal_file file;
    int err;

    file_random(w->seed, sizeof(w->seed));
    err = journal_read(store, take, w, &file);
    if (err == 0 && file.settled > w->limit)
        goto out; /* written anew beside us: nothing can be said of the copy */
    if (err == 0)
        err = compare_kind(w, META_MANIFEST);
    if (err == 0)
        err = compare_kind(w, META_TAG);
    if (err == 0)
        err = journal_read(store, tell_lost, w, &file);
    if (err == 0 && w->lost > TOLD_MAX)
        fsck_tell(w->f, "lost", false, "and %llu more", (unsigned long long)(w->lost - TOLD_MAX));
    if (err == 0 && w->other > 0 && !ahead)
        fsck_tell(w->f, "journal", false,
                  "the journal of %s lacks %llu manifests and tags of the database, or has them "
                  "otherwise",
                  name, (unsigned long long)w->other);
out:
    HASH_ITER(hh, w->entries, e, after) {
        HASH_DEL(w->entries, e);
        free(e);
    }
    return err;
}

/* The file as a whole. Beside a daemon its thread may be a little behind the copy. */
static int look(const struct fsck *f, size_t store, uint64_t number, struct journal_file *file_r)
{
    int err = journal_read(f->stores[store], NULL, NULL, file_r);

    for (int i = 0; f->online && i < LOOKS_MAX && err == 0 && file_r->last < number; i++) {
        usleep(LATER_US);
        err = journal_read(f->stores[store], NULL, NULL, file_r);
    }
    return err;
}

/* Nothing of it: changes that were undone, or made again since. */
static void tell_ahead(struct witness *w, uint64_t database, uint64_t journal)
{
    bool lost = w->lost > 0;

    fsck_tell(w->f, lost ? "lost" : "note", false,
              "the database lacks changes that the journal of %s has (its last number: %llu, the "
              "journal's: %llu): %s",
              w->f->conf->stores[w->store].name, (unsigned long long)database,
              (unsigned long long)journal,
              lost ? "see entrepotctl rebuild" : "but nothing that is there by them");
}

static int check_one(struct fsck *f, size_t place)
{
    struct witness w = {.f = f, .store = place};
    const char *name = f->conf->stores[place].name;
    struct journal_file file;
    uint64_t number;
    bool ahead;
    int err = witness_number(f->db, f->conf->stores[place].key, &w.limit);

    if (err == 0)
        err = look(f, place, w.limit, &file);
    if (err == ERR_CONFLICT) {
        fsck_tell(f, "journal", false, "the journal of %s cannot be read: %s", name,
                  journal_err_text(err));
        return 0;
    }
    if (err == ERR_NOT_FOUND || (err == 0 && !journal_ours(&file, f->database.id, NULL))) {
        if (w.limit > 0)
            fsck_tell(f, "note", false, "the journal of %s is missing; entrepotd writes it anew",
                      name);
        return 0;
    }
    if (err != 0)
        return err;
    ahead = f->online ? file.fell > 0 && file.fell <= w.limit : journal_ahead(&file, w.limit);
    if (ahead) {
        f->in_store[place].lacks = true;
        number = w.limit;
        w.limit = f->online ? w.limit : UINT64_MAX;
        err = compare(&w, true);
        tell_ahead(&w, number, file.last);
    } else if (!journal_whole(&file) || (file.torn && !f->online) || file.last < w.limit) {
        fsck_tell(f, "note", false,
                  "the journal of %s is %s; entrepotd writes it anew at its next start", name,
                  file.last < w.limit ? "behind the database" : "damaged");
    } else if (file.settled <= w.limit) {
        err = compare(&w, false);
    }
    return err;
}

int fsck_journals(struct fsck *f)
{
    int err = 0;

    for (size_t i = 0; i < f->conf->store_count && err == 0; i++)
        err = check_one(f, i);
    return err;
}
