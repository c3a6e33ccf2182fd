/*
 * placed.h - upload sessions whose file has got its blob's place.
 *
 * A session ends when its file is renamed to its digest; only then is the catalog asked to link
 * it. Whoever was told nothing (the worker died, the catalog was too busy, the answer was lost)
 * repeats its request, and by then there is no session any more. What is remembered here says
 * that this very session brought this very content, so that it may be linked now: merely to name
 * the digest of a file that is there proves nothing.
 *
 * Shared memory of the master that outlives every other process; workers write and read. The last
 * PLACED_MAX sessions are remembered. After the master's end nothing is: the client begins anew.
 */
#ifndef ENTREPOT_SHM_PLACED_H
#define ENTREPOT_SHM_PLACED_H

#include "base/digest.h"
#include "base/err.h"

#include <stdbool.h>

#define PLACED_MAX 16384

struct placed;

must_check int placed_new(struct placed **placed_r);
/* Before the rename. `session` names it among all sessions of its store (store_upload_key). */
void placed_note(struct placed *placed, const char *session, const struct digest *digest);
bool placed_known(const struct placed *placed, const char *session, const struct digest *digest);

#endif
