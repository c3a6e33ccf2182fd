/*
 * repo_journals.c - the blob stores' journals, where a command changes what they tell of.
 *
 * Runs in entrepotctl, with the daemon stopped. A crash leaves old journals, which are behind by
 * their numbers, and a part of a new one, which the next one replaces.
 */
#include "tools/repo_journals.h"

#include "base/fail.h"
#include "meta/witness.h"

#include <stdio.h>
#include <string.h>

#define PIECE_BYTES (1u << 20)

struct writing {
    struct fsck *f;
    size_t store;
    const char *repo; /* is in `to` */
    size_t to;
    bool begun;
    struct str out;
    uint64_t number, lines;
};

int repo_journals_fit(struct fsck *f)
{
    for (size_t i = 0; i < f->conf->store_count; i++) {
        struct journal_file file;
        uint64_t number;
        int err = witness_number(f->db, f->conf->stores[i].key, &number);

        if (err != 0)
            return err;
        if (journal_read(f->stores[i], NULL, NULL, &file) != 0 ||
            !journal_ours(&file, f->database.id, NULL) || !journal_ahead(&file, number))
            continue;
        fprintf(stderr,
                "entrepotctl: the database lacks changes that the journal of blobstore %s has: "
                "first entrepotctl rebuild, which brings them back\n",
                f->conf->stores[i].name);
        return ERR_INCOMPLETE;
    }
    return 0;
}

int repo_journals_outdate(struct fsck *f)
{
    int err = 0;

    for (size_t i = 0; i < f->conf->store_count && err == 0; i++) {
        uint64_t number;

        err = witness_number(f->db, f->conf->stores[i].key, &number);
        if (err == 0)
            witness_number_put(f->db, f->conf->stores[i].key, number + 1);
    }
    return err;
}

/* One without a section is told in all journals, as by the daemon. */
static bool is_here(const struct writing *w, const char *repo)
{
    const struct conf *conf = w->f->conf;
    const struct conf_repo *r = conf_repo_by_name(conf, repo, strlen(repo));

    if (strcmp(repo, w->repo) == 0)
        return w->store == w->to;
    return !r || !r->store || (size_t)(r->store - conf->stores) == w->store;
}

static int put(struct writing *w, struct journal_line *line)
{
    int err = 0;

    line->number = w->number;
    journal_put(&w->out, line);
    if (w->out.len >= PIECE_BYTES || line->kind == JOURNAL_END) {
        err = journal_new_write(w->f->stores[w->store], &w->out, !w->begun);
        w->begun = true;
        str_reset(&w->out);
    }
    return err;
}

static int put_kind(struct writing *w, enum meta_kind kind)
{
    struct meta_walk *walk = meta_walk_new(w->f->db, (struct meta_key){.kind = kind}, NULL);
    struct journal_line line;
    struct meta_key key;
    int err = 0, walk_err;

    while (err == 0 && meta_walk_next(walk, &key)) {
        size_t len;
        const char *value = meta_walk_value(walk, &len);

        if (!witness_line(&key, value, len, &line) || !is_here(w, line.repo))
            continue;
        err = put(w, &line);
        w->lines++;
    }
    walk_err = meta_walk_end(&walk);
    return err != 0 ? err : walk_err;
}

static int put_all(struct writing *w, const struct identity *store)
{
    struct journal_line begin = {.kind = JOURNAL_BEGIN,
                                 .count = JOURNAL_VERSION,
                                 .database = w->f->database.id,
                                 .store = store->id};
    struct journal_line end = {.kind = JOURNAL_END, .until = w->number};
    int err = put(w, &begin);

    if (err == 0)
        err = put_kind(w, META_MANIFEST);
    if (err == 0)
        err = put_kind(w, META_TAG);
    end.count = w->lines;
    return err == 0 ? put(w, &end) : err;
}

static int write_one(struct writing *w)
{
    const struct store *store = w->f->stores[w->store];
    struct identity identity;
    int err = store_identity_read(store, &identity);

    if (err == 0)
        err = witness_number(w->f->db, w->f->conf->stores[w->store].key, &w->number);
    if (err != 0)
        return err;
    err = put_all(w, &identity);
    str_free(&w->out);
    if (err == 0)
        err = journal_new_place(store);
    else
        journal_new_drop(store);
    FAIL_POINT(repo_move_journal);
    return err;
}

void repo_journals_write(struct fsck *f, const char *repo, size_t to)
{
    for (size_t i = 0; i < f->conf->store_count && *f->database.id; i++) {
        struct writing w = {.f = f, .store = i, .repo = repo, .to = to};
        int err = write_one(&w);

        if (err != 0)
            fprintf(stderr,
                    "entrepotctl: cannot write the journal in %s: %s; entrepotd writes it at its "
                    "next start\n",
                    f->conf->stores[i].path, journal_err_text(err));
    }
}
