/*
 * lacks.c - does the database lack changes that a blob store's journal has?
 *
 * Runs in the catalog whenever database or stores were opened. Owns nothing but what it has found,
 * which the next look finds again after a crash.
 */
#include "catalog/lacks.h"

#include "base/log.h"
#include "catalog/turn.h"
#include "meta/witness.h"

/* Told once in a catalog's life: the database is looked at again and again. */
static void note(struct catalog *c, size_t store, uint64_t number, uint64_t journal)
{
    struct catalog_lacks *l = &c->lacks[store];

    l->lacks = true;
    l->number = number;
    if (!l->told)
        log_error("the database lacks changes that a blob store's journal has: it is an older "
                  "copy, or is damaged; stop entrepotd and run entrepotctl rebuild to have them "
                  "back, or move the journal away to do without them",
                  "store=%s database=%llu journal=%llu path=%s", c->conf->stores[store].name,
                  (unsigned long long)number, (unsigned long long)journal,
                  log_quote(c->conf->stores[store].path));
    l->told = true;
}

/* The journal's end tells in most cases that it is not, for next to nothing. One that was ahead
 * once may have a line that says so (store/journal.h) and be read to the end. */
static bool is_ahead(const struct catalog *c, size_t store, uint64_t number,
                     struct journal_file *file_r)
{
    const struct store *in = c->stores[store];

    return journal_glance(in, file_r) == 0 &&
           journal_ours(file_r, c->meta.identity.id, c->store_ids[store]) &&
           (file_r->last > number || c->lacks[store].told) &&
           journal_read(in, NULL, NULL, file_r) == 0 && journal_ahead(file_r, number);
}

int lacks_look(struct catalog *c)
{
    struct journal_file file;
    int err = 0;

    for (size_t i = 0; i < c->conf->store_count && err == 0; i++) {
        uint64_t number;

        c->lacks[i].lacks = false;
        err = witness_number(c->db, c->conf->stores[i].key, &number);
        if (err == 0 && is_ahead(c, i, number, &file))
            note(c, i, number, file.last);
    }
    return err == 0 && lacks_any(c) ? ERR_INCOMPLETE : err;
}

void lacks_found(struct catalog *c, size_t store, uint64_t number, uint64_t journal)
{
    note(c, store, number, journal);
    c->index_outdated = true;
    turn_close_database(c->turn);
}

bool lacks_still(const struct catalog *c)
{
    struct journal_file file;

    for (size_t i = 0; i < c->conf->store_count; i++)
        if (c->lacks[i].lacks &&
            (!store_is_open(c->stores[i]) || is_ahead(c, i, c->lacks[i].number, &file)))
            return true;
    return false;
}

bool lacks_any(const struct catalog *c)
{
    for (size_t i = 0; i < c->conf->store_count; i++)
        if (c->lacks[i].lacks)
            return true;
    return false;
}
