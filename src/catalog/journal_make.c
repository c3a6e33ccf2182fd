/*
 * journal_make.c - writing a journal anew from the database, while changes go on.
 *
 * Runs in the catalog. A slice reads some records of a snapshot on the loop, and the thread writes
 * them; what is committed meanwhile collects in the tail, which follows at the end. A crash leaves
 * the old file and a part of the new one, which the next one replaces.
 */
#include "catalog/journal_one.h"
#include "catalog/slice.h"
#include "meta/witness.h"

/* It is made anew when it has more lines than twice what is there and this many. */
#define LINES_SPARE 4096

/* Has the repository its bytes here? One without a section may have them anywhere. */
static bool is_here(const struct journal *j, const char *repo)
{
    size_t place;

    return catalog_repo(j->all->c, repo, &place) != 0 ||
           catalog_store_of(j->all->c, place) == j->place;
}

/* Some more records. False: all of the kind have been written. */
static bool make_some(struct journal *j)
{
    struct slice slice = {0};
    struct journal_line line;
    struct meta_key key;

    while (!slice_over(&slice)) {
        const char *value;
        size_t len;

        if (!meta_walk_next(j->walk, &key))
            return false;
        value = meta_walk_value(j->walk, &len);
        slice_look(&slice, 1, meta_walk_size(j->walk));
        if (!witness_line(&key, value, len, &line) || !is_here(j, line.repo))
            continue;
        line.number = j->made_from;
        journal_put(&j->work.out, &line);
        j->made++;
    }
    return true;
}

static void make_begin(struct journal *j)
{
    const struct journal_line line = {.kind = JOURNAL_BEGIN,
                                      .number = j->number,
                                      .count = JOURNAL_VERSION,
                                      .database = j->work.database,
                                      .store = j->work.identity};

    str_reset(&j->work.out);
    str_reset(&j->tail);
    j->tail_count = 0;
    journal_put(&j->work.out, &line);
    j->made_from = j->number;
    j->made = 0;
    j->kind = META_MANIFEST;
    j->from = db_new(kv_snapshot(db_kv(j->all->c->db)));
    journal_submit(j, JOURNAL_MAKE);
}

static void make_end(struct journal *j)
{
    const struct journal_line line = {
        .kind = JOURNAL_END, .number = j->made_from, .count = j->made, .until = j->number};

    db_close(&j->from);
    journal_put(&j->work.out, &line);
    str_append(&j->work.out, j->tail.data, j->tail.len);
    str_reset(&j->tail);
    j->lines = j->made + j->tail_count;
    j->tail_count = 0;
    journal_submit(j, JOURNAL_PLACE);
}

/* What is there when it begins, of one moment; all that is committed since follows in the tail. */
void journal_make(struct journal *j)
{
    int err = 0;

    if (j->kind == META_NONE) {
        make_begin(j);
        return;
    }
    if (!j->walk)
        j->walk = meta_walk_new(j->from, (struct meta_key){.kind = j->kind}, NULL);
    if (!make_some(j)) {
        err = meta_walk_end(&j->walk);
        if (err == 0 && j->kind == META_TAG) {
            make_end(j);
            return;
        }
        j->kind = META_TAG;
    }
    if (err != 0)
        journal_failed(j, err);
    else
        journal_submit(j, JOURNAL_PIECE);
}

/* Much longer than what it describes? */
bool journal_long_winded(const struct journal *j)
{
    const struct catalog *c = j->all->c;
    uint64_t there = 0;

    for (size_t i = 0; i < c->conf->repo_count; i++)
        if (c->conf->repos[i].store && catalog_store_of(c, i) == j->place)
            there += (uint64_t)(c->counts[i].manifests + c->counts[i].tags);
    return j->lines > 2 * there + LINES_SPARE;
}
