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
/* REPO_DROP: begins, if it shall, and tells how it goes (ipc/msg_operator.h). */
void drop_op(struct catalog *c, struct msg_reader *question, struct msg_writer *answer);

#endif
