/*
 * files.h - the files of blobs that operations need to know of: looked at by threads, before.
 *
 * A question has two phases. *Prepare*: what touches a file, on the pool; *apply*: the operation,
 * in a turn (turn.h), on what was found. So a disk that does not answer keeps those waiting who
 * need that disk, and nobody else.
 *
 * - Questions about one store keep their order: they pass through its lane, one job at a time, also
 *   those that need no file, if others wait there. What gave up waiting is not overtaken by what
 *   its client asked later.
 * - What was found may not be so any more when the operation runs: a sweep has taken the file to
 *   the trash, or the store has been closed, or is another one. Files move through the lane, too,
 *   and who moves them decides that on the loop, between turns; from then on a find of before does
 *   not hold (files_holds()), and the operation has the file looked at once more. That look is
 *   behind the move, sees what it has left, and brings it back. So no record is ever made of a file
 *   that is gone: tests/fault/test_gc_model.py has all orders of these steps.
 * - A find of something missing moves nothing: only for an operation that has passed its checks a
 *   file is brought back from the trash.
 */
#ifndef ENTREPOT_CATALOG_FILES_H
#define ENTREPOT_CATALOG_FILES_H

#include "catalog/catalog.h"

#include <sys/queue.h>

enum file_task {
    FILE_NONE,
    FILE_PASS, /* needs no file, only its place in the order of its store */
    FILE_LOOK, /* is it there, and how long? */
    FILE_BACK, /* the same, and it is brought back from the trash */
    /* Nobody's record names it, or it is marked as damaged: it moves, and no find of before holds.
     */
    FILE_ASIDE,     /* to the trash */
    FILE_QUARANTINE /* if it is what `fd` is; CONFLICT: another file lies there by now */
};

struct file_watch;

/* Embedded in its owner. */
struct file_ask {
    enum file_task task;
    size_t store; /* place in conf->stores */
    struct digest digest;
    int fd;                             /* FILE_QUARANTINE */
    size_t bytes;                       /* of memory that waits with it */
    void (*done)(struct file_ask *ask); /* on the loop */
    /* What was found: 0 and `size`, NOT_FOUND, or what else keeps the file from being looked at,
     * or moved. */
    int err;
    uint64_t size;
    /* files.c alone */
    struct file_watch *watch;
    uint64_t moves, epoch;
    TAILQ_ENTRY(file_ask) entry;
};

struct files *files_new(struct catalog *c);
/* When nothing is asked any more: files_end(). */
void files_free(struct files **files);

/* The thread looks or moves, then `done` is called: at once where there is nothing to wait for,
 * that is never for what moves. */
void files_ask(struct files *files, struct file_ask *ask);
/* Does so much wait for this store that what other stores' changes may take would go? */
bool files_crowded(const struct files *files, size_t store);
/* Is what was found still so? */
bool files_holds(const struct files *files, const struct file_ask *ask);
/* Nobody asks whether it holds any more. */
void files_forget(struct files *files, struct file_ask *ask);

/* A store was opened or closed: nothing that was found in it holds. */
void files_doubt(struct files *files, size_t store);
/* The pool is gone: what was to move moves, and `done` is called for whatever still waits. Blocks.
 */
void files_end(struct files *files);

#endif
