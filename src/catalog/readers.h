/*
 * readers.h - who asks for lists waits here: one slice (slice.h) in a round of the loop, the
 * askers by turns. Changes get their turn (turn.h) in every round, whatever is read.
 */
#ifndef ENTREPOT_CATALOG_READERS_H
#define ENTREPOT_CATALOG_READERS_H

#include "base/loop.h"
#include "ipc/serve.h"

struct readers;

/* `answer` is called for one question at a time, from the loop; the question lives as long as
 * the call. */
struct readers *readers_new(struct loop *loop,
                            void (*answer)(struct serve_return to, struct msg_reader *question,
                                           void *ctx),
                            void *ctx);
void readers_free(struct readers **readers);
/* Queues a question; it is copied. BUSY when too many wait. */
must_check int readers_add(struct readers *readers, struct serve_return to,
                           const struct msg_reader *question);
/* The peer left: nobody waits for its answers. */
void readers_gone(struct readers *readers, uint64_t peer);

#endif
