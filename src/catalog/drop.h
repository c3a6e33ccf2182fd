/*
 * drop.h - all that a repository holds goes, whether or not it has a section.
 */
#ifndef ENTREPOT_CATALOG_DROP_H
#define ENTREPOT_CATALOG_DROP_H

#include "catalog/catalog.h"

struct drop;

struct drop *drop_new(struct catalog *c);
/* Only when no turn runs. */
void drop_free(struct drop **drop);
/* REPO_DROP: a repository's name and u8, begin (1) or only look (0). Answers err (NOT_FOUND;
 * UNSUPPORTED: a group holds nothing; BUSY: another one goes), what it holds (stats_repo),
 * u8 how it goes with it (enum stats_drop of ipc/msg_stats.h). */
void drop_op(struct catalog *c, struct msg_reader *question, struct msg_writer *answer);

#endif
