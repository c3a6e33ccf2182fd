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

/* Some more records. False: all of the letter have been written. */
static bool make_some(struct journal *j)
{
    struct slice slice = {0};

    for (; !slice_over(&slice); db_walk_next(j->walk)) {
        struct journal_line line;
        const char *key, *value;
        size_t len, value_len;

        if (!db_walk_valid(j->walk))
            return false;
        key = db_walk_key(j->walk, &len);
        value = db_walk_value(j->walk, &value_len);
        slice_look(&slice, 1, len + value_len);
        if (!witness_line(key, len, value, value_len, &line) || !is_here(j, line.repo))
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
                                      .store = j->work.store};

    str_reset(&j->work.out);
    str_reset(&j->tail);
    j->tail_count = 0;
    journal_put(&j->work.out, &line);
    j->made_from = j->number;
    j->made = 0;
    j->letter = 'M';
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

    if (j->letter == 0) {
        make_begin(j);
        return;
    }
    if (!j->walk)
        j->walk = db_walk_new(j->from, &j->letter, 1, NULL, 0);
    if (!make_some(j)) {
        err = db_walk_free(&j->walk);
        if (err == 0 && j->letter == 'T') {
            make_end(j);
            return;
        }
        j->letter = 'T';
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
