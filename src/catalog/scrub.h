/*
 * scrub.h - every blob is read and hashed now and then, at a bounded rate; what
 * has changed is put aside and told.
 *
 * A damaged blob keeps its records: images still hold it, and whoever pushes the
 * same content again heals them all. Until then nobody is told that it is here.
 */
#ifndef ENTREPOT_CATALOG_SCRUB_H
#define ENTREPOT_CATALOG_SCRUB_H

#include "catalog/catalog.h"
#include "ipc/msg_stats.h"
#include "meta/records.h"

struct scrub *scrub_new(struct catalog *c);
void scrub_free(struct scrub **scrub);
/* The catalog serves: a pass follows when it is due. */
void scrub_start(struct scrub *scrub);
/* A store has come back: what was found damaged there is looked at again, before all else. */
void scrub_marks(struct scrub *scrub);
void scrub_stats(const struct scrub *scrub, struct stats_scrub *stats_r);

/* Operations that read (turn.h). */
void scrub_op_run(struct catalog *c, struct msg_reader *question, struct msg_writer *answer);
void scrub_op_status(struct catalog *c, struct msg_reader *question, struct msg_writer *answer);
/* A worker could not serve a blob. */
void scrub_op_damaged(struct catalog *c, struct msg_reader *question, struct msg_writer *answer);

/* scrub_next.c: in the order of the database, of stores that are there; the first one behind the
 * cursor (len 0: of all), which moves on. False: there is none. */
struct scrub_target {
    size_t store;
    struct digest digest;
    uint64_t size;
};
bool scrub_next(struct catalog *c, struct meta_place *cursor, struct scrub_target *t_r);
/* The same of those that are marked as damaged. */
bool scrub_next_mark(struct catalog *c, struct meta_place *mark, struct scrub_target *t_r);

/* scrub_note.c */
struct scrub_note {
    bool running;
    uint64_t started_s, finished_s; /* of the last pass; seconds since 1970 */
    struct meta_place cursor;       /* the blob that the running pass has come to; len 0: none */
};

/* Within a turn. */
void scrub_note_put(struct db *db, const struct scrub_note *note);
must_check int scrub_note_get(struct db *db, struct scrub_note *note_r);

#endif
