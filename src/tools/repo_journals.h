/*
 * repo_journals.h - the blob stores' journals, where a command changes what they tell of.
 */
#ifndef ENTREPOT_TOOLS_REPO_JOURNALS_H
#define ENTREPOT_TOOLS_REPO_JOURNALS_H

#include "tools/fsck.h"

/* No database that lacks changes of a journal is to be changed: they would be hidden, or lost.
 * INCOMPLETE, told; an error of reading the database. */
must_check int repo_journals_fit(struct fsck *f);
/* Collects into the batch that all journals are behind: until they are written here, or by
 * entrepotd, they do not tell of all. */
must_check int repo_journals_outdate(struct fsck *f);
/* Writes all of them anew, durably: what the database has, `repo` in the store at the place `to`,
 * whatever the configuration says. Where that fails it is told, and they stay behind. */
void repo_journals_write(struct fsck *f, const char *repo, size_t to);

#endif
