/*
 * effects.h - what the batch of a turn leads to: entries of the index that go and come, counts,
 * bytes. Derived from the batch (apply.h), so that a turn that is run again leads to the same.
 *
 * What goes is hidden before the batch is written and comes back when that fails; what comes is
 * shown behind it. So pulls never see what is not on the disk, nor what nobody may have any more.
 */
#ifndef ENTREPOT_CATALOG_EFFECTS_H
#define ENTREPOT_CATALOG_EFFECTS_H

#include "catalog/catalog.h"

struct effects;

struct effects *effects_new(struct catalog *c);
void effects_free(struct effects **effects);

/* Forgets what was collected. */
void effects_reset(struct effects *effects);
/* Of the whole batch, before it is sealed. What cannot be read the batch knows. */
void effects_collect(struct effects *effects);
/* By how many bytes the batch, as it is now, changes a blob store. For operations. */
int64_t effects_store_bytes(struct effects *effects, size_t store_place);
/* Does it add an image to a repository? After effects_collect(). */
bool effects_add_images(const struct effects *effects, size_t repo_place);

void effects_hide(struct effects *effects);
void effects_take_back(struct effects *effects);
/* It is written: counts and bytes are as it says from now on. */
void effects_take_over(struct effects *effects);
/* NO_SPACE: the index must be made anew, from the database. */
must_check int effects_show(struct effects *effects);

#endif
