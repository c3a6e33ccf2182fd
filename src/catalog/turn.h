/*
 * turn.h - group commit: changes wait their turn, run together, are synced once
 * and only then answered.
 *
 * One turn: take what waits -> run each operation (it reads the database and
 * collects changes) -> what follows from them (effects.h): tombstones into the index -> one synced
 * batch on the pool -> additions into the index -> answers. What arrives meanwhile waits for
 * the next turn. An operation sees what those before it in its turn have changed. A turn takes so
 * much that it keeps the loop for a few milliseconds; of what is heavy it takes one, and the light
 * ones that came behind do not wait for the others.
 */
#ifndef ENTREPOT_CATALOG_TURN_H
#define ENTREPOT_CATALOG_TURN_H

#include "catalog/catalog.h"
#include "catalog/files.h"

/* An operation reads its question and writes its answer, the error first. All checks come before
 * the first change. It changes nothing but the batch: it may be run again before that is written,
 * and then what it has collected and answered counts for nothing. */
typedef void (*turn_op)(struct catalog *c, struct msg_reader *question, struct msg_writer *answer);

struct turn *turn_new(struct catalog *c);
void turn_free(struct turn **turn);

/* What an operation costs. A long question makes a light one heavy: it is long by its references.
 */
enum turn_weight { TURN_LIGHT, TURN_HEAVY };

/* Changes that may wait, and bytes of their questions. */
#define TURN_QUEUE_MAX       8192
#define TURN_QUEUE_BYTES_MAX (64u << 20)
/* Queues a question; it is copied. BUSY when the queue is full, or holds too many bytes, of all
 * stores or of the one that it is about. `needs`:
 * the file that its operation will ask for, looked at before its turn (files.h). */
must_check int turn_add(struct turn *turn, struct serve_return to,
                        const struct msg_reader *question, turn_op op, enum turn_weight weight,
                        const struct file_ask *needs);
/* By an operation that has passed all its other checks: how long is a blob's file? NOT_FOUND; BUSY:
 * it is looked at first, or once more, and the operation is called again then: it stops, as for
 * any error, before its first change. */
must_check int turn_file(struct turn *turn, size_t store, const struct digest *digest,
                         uint64_t *size_r);
/* By an operation that has done a part: when that is durable it is called again, with the same
 * question, behind whoever waits by then; what it has answered does not count. A crash between
 * the parts leaves some of them: each must be right by itself. */
void turn_again(struct turn *turn);
/* The catalog's own work within a turn. `run` collects changes like a heavy operation, and may be
 * run again like one: what it notes in its owner it notes anew. `done` follows when they are
 * durable and visible (err 0) or nothing of them holds, and before any later operation runs; files,
 * cursors and counters move there. Embedded in its owner. */
struct turn_task {
    void (*run)(struct turn_task *task);
    void (*done)(struct turn_task *task, int err);
    /* NULL, or: does what `run` decided still hold, now that what goes is hidden and nothing is
     * written? False: all of the turn runs again. */
    bool (*still)(struct turn_task *task);
};
void turn_add_task(struct turn *turn, struct turn_task *task);
/* The database turned out to be one that nothing is to be added to: closes it, after the running
 * turn. Until it is opened again changes are INCOMPLETE. */
void turn_close_database(struct turn *turn);

/* For operations: memory until the turn's end. */
struct mem_arena *turn_arena(struct turn *turn);
/* By how many bytes the turn, as far as it has come, changes a blob store. */
int64_t turn_store_bytes(struct turn *turn, size_t store_place);
/* A quota did not let so many bytes of a proxy in: it makes room when the turn is over. */
void turn_refused(struct turn *turn, size_t repo_place, uint64_t bytes);
/* When all have run: does the turn add an image to a repository? */
bool turn_adds_images(const struct turn *turn, size_t repo_place);

#endif
