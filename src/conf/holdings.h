/*
 * holdings.h - which repositories hold something, in a file beside the database.
 *
 * DATA_DIR/catalog/REPOSITORIES tells those who must not open the database (the master, -t)
 * what a configuration may not change: a repository that holds images keeps its kind, its
 * blob store and its section. The catalog writes it, before the first content of a
 * repository and after the last, so it may name an empty one and never misses another.
 * When it is missing or damaged, the catalog makes it from the database.
 *
 * Text: a first line "entrepot repositories 1", then a line each:
 *   NAME KIND STORE PATH
 * KIND is hosted, proxy or unknown; STORE and PATH are "-" where nobody knows.
 */
#ifndef ENTREPOT_CONF_HOLDINGS_H
#define ENTREPOT_CONF_HOLDINGS_H

#include "base/err.h"
#include "base/str.h"
#include "conf/conf.h"

#include <stdbool.h>
#include <stddef.h>

struct holding {
    char *name, *kind, *store, *path; /* path: of the store */
};

struct holdings {
    struct holding *list; /* in no order; names once each */
    size_t count;
};

/* NOT_FOUND: there is no such file. DAMAGED: it is no such file. On failure *h_r is empty. */
must_check int holdings_read(const char *data_dir, struct holdings *h_r);
/* Replaces the file durably. `text`: of holdings_text(). Blocks. */
must_check int holdings_write(const char *data_dir, const struct str *text);
void holdings_text(const struct holdings *h, struct str *out);
void holdings_free(struct holdings *h);

/* NULL: it holds nothing. */
struct holding *holdings_find(const struct holdings *h, const char *name);
/* Adds one, as the configuration has it; `repo` NULL: `name` is in no configuration. */
void holdings_add(struct holdings *h, const char *name, const struct conf_repo *repo);
void holdings_remove(struct holdings *h, const char *name);
/* The store that was called `old_name` is called and lies as `store` says from now on. True: that
 * changed something. */
bool holdings_rename(struct holdings *h, const char *old_name, const struct conf_store *store);
/* Stores that are the same ones get the names and paths they have in `conf`. For who serves with
 * it: so a later change of the other of the two is seen to be one of the same store. */
void holdings_follow(struct holdings *h, const struct conf *conf);

/* What `conf` would change under a repository's content, a line each with the way, and
 * those that have no section any more. A store of another name and the same path is the
 * same store. */
void holdings_compare(const struct holdings *h, const struct conf *conf, struct str *changed,
                      struct str *unowned);

#endif
