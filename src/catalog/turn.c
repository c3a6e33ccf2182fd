/*
 * turn.c - group commit of the catalog.
 *
 * Runs in the catalog. Owns the queue of changes and the running batch. At any
 * instant a crash leaves either all of a turn in the database or nothing; the
 * index is rebuilt from it, and whoever asked gets EOF and asks again.
 */
#include "catalog/turn.h"

#include "base/container.h"
#include "base/fail.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "catalog/effects.h"
#include "catalog/evict.h"
#include "catalog/held.h"
#include "catalog/journal.h"
#include "catalog/opening.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

/* Operations that one turn may take, and bytes of their questions: what they cost goes with
 * them, for what is long in a question are the references of a manifest. */
#define BATCH_MAX       512
#define BATCH_BYTES_MAX (256u << 10)
/* Longer ones are heavy: one a turn, and lighter ones that came later go with it. */
#define LIGHT_MAX (32u << 10)
/* So often the operations of a turn run again because a task's decision held no more. */
#define OBJECTIONS_MAX 3
/* A test build runs every operation twice: what it does beside the batch it does twice then. */
#ifndef TURN_RUNS
#define TURN_RUNS 1
#endif

struct turn_item {
    struct turn *turn;
    struct serve_return to;
    struct str question;
    struct msg_writer answer;
    turn_op op;
    struct turn_task *task; /* instead of question and answer; or NULL */
    enum turn_weight weight;
    bool again;          /* not through with it: turn_again() */
    struct file_ask ask; /* the file that its operation needs to know of; FILE_NONE: none */
    bool look;           /* it has not been, or has to be once more: turn_file() */
    size_t look_store;
    struct digest look_digest;
    TAILQ_ENTRY(turn_item) entry;
};

TAILQ_HEAD(turn_items, turn_item);

struct turn {
    struct catalog *catalog;
    struct turn_items waiting, running;
    size_t waiting_count, waiting_bytes;
    struct turn_item *present; /* the one whose operation runs */
    struct mem_arena *arena;
    struct effects *effects;
    uint64_t *refused; /* by place in conf->repos: bytes that a quota did not let in */
    struct pool_job job;
    int write_err;
    bool busy, scheduled;
    bool close; /* the database, when the running batch is written */
    bool held;  /* the list of repositories that hold something is written, too */
    bool empty; /* and nothing else */
};

static void turn_begin(void *ctx);

struct turn *turn_new(struct catalog *c)
{
    struct turn *turn = mem_alloc(sizeof(*turn));

    if (TURN_RUNS > 1)
        log_notice("a test build: the operations of a turn run more than once", "runs=%d",
                   TURN_RUNS);
    turn->catalog = c;
    turn->arena = mem_arena_new();
    turn->effects = effects_new(c);
    turn->refused = mem_alloc_array(c->conf->repo_count + 1, sizeof(*turn->refused));
    TAILQ_INIT(&turn->waiting);
    TAILQ_INIT(&turn->running);
    return turn;
}

static void item_free(struct turn *turn, struct turn_item *item)
{
    files_forget(turn->catalog->files, &item->ask);
    str_free(&item->question);
    msg_writer_free(&item->answer);
    free(item);
}

void turn_free(struct turn **turn_p)
{
    struct turn *turn = *turn_p;
    struct turn_item *item;

    *turn_p = NULL;
    MUST(!turn->busy);
    while ((item = TAILQ_FIRST(&turn->waiting)) != NULL) {
        TAILQ_REMOVE(&turn->waiting, item, entry);
        item_free(turn, item);
    }
    mem_arena_free(&turn->arena);
    effects_free(&turn->effects);
    free(turn->refused);
    free(turn);
}

/* It has come, or comes again. */
static void item_count(struct turn *turn, const struct turn_item *item)
{
    turn->waiting_count++;
    turn->waiting_bytes += item->question.len;
}

static void wait_for_turn(struct turn *turn, struct turn_item *item)
{
    item_count(turn, item);
    TAILQ_INSERT_TAIL(&turn->waiting, item, entry);
}

static void run_with_turn(struct turn *turn, struct turn_item *item)
{
    TAILQ_REMOVE(&turn->waiting, item, entry);
    turn->waiting_count--;
    turn->waiting_bytes -= item->question.len;
    TAILQ_INSERT_TAIL(&turn->running, item, entry);
}

static void turn_schedule(struct turn *turn)
{
    if (turn->scheduled || turn->busy || TAILQ_EMPTY(&turn->waiting))
        return;
    turn->scheduled = true;
    loop_after_round(turn->catalog->loop, turn_begin, turn);
}

static void item_prepared(struct file_ask *ask)
{
    struct turn_item *item = CONTAINER_OF(ask, struct turn_item, ask);

    TAILQ_INSERT_TAIL(&item->turn->waiting, item, entry);
    turn_schedule(item->turn);
}

static void item_prepare(struct turn *turn, struct turn_item *item)
{
    item_count(turn, item);
    files_ask(turn->catalog->files, &item->ask);
}

int turn_add(struct turn *turn, struct serve_return to, const struct msg_reader *question,
             turn_op op, enum turn_weight weight, const struct file_ask *needs)
{
    struct turn_item *item;

    if (turn->waiting_count >= TURN_QUEUE_MAX || turn->waiting_bytes >= TURN_QUEUE_BYTES_MAX ||
        (needs->task != FILE_NONE && files_crowded(turn->catalog->files, needs->store)))
        return ERR_BUSY;
    item = mem_alloc(sizeof(*item));
    item->to = to;
    item->op = op;
    item->weight = question->len > LIGHT_MAX ? TURN_HEAVY : weight;
    str_append(&item->question, question->data, question->len);
    item->turn = turn;
    item->ask = *needs;
    item->ask.bytes = question->len;
    item->ask.done = item_prepared;
    if (item->ask.task != FILE_NONE) {
        item_prepare(turn, item);
        return 0;
    }
    wait_for_turn(turn, item);
    turn_schedule(turn);
    return 0;
}

void turn_add_task(struct turn *turn, struct turn_task *task)
{
    struct turn_item *item = mem_alloc(sizeof(*item));

    item->task = task;
    item->weight = TURN_HEAVY;
    wait_for_turn(turn, item);
    turn_schedule(turn);
}

int turn_file(struct turn *turn, size_t store, const struct digest *digest, uint64_t *size_r)
{
    struct turn_item *item = turn->present;
    const struct file_ask *ask = &item->ask;

    if (ask->store != store || !digest_equal(&ask->digest, digest) ||
        !files_holds(turn->catalog->files, ask) ||
        (ask->err == ERR_NOT_FOUND && ask->task != FILE_BACK)) {
        item->look = true;
        item->look_store = store;
        item->look_digest = *digest;
        return ERR_BUSY;
    }
    *size_r = ask->size;
    return ask->err;
}

void turn_again(struct turn *turn)
{
    turn->present->again = true;
}

struct mem_arena *turn_arena(struct turn *turn)
{
    return turn->arena;
}

int64_t turn_store_bytes(struct turn *turn, size_t store_place)
{
    return effects_store_bytes(turn->effects, store_place);
}

void turn_refused(struct turn *turn, size_t repo_place, uint64_t bytes)
{
    uint64_t *refused = &turn->refused[repo_place];

    *refused = bytes > *refused ? bytes : *refused;
}

bool turn_adds_images(const struct turn *turn, size_t repo_place)
{
    return effects_add_images(turn->effects, repo_place);
}

/* Nothing may be acknowledged that pulls do not see. */
static void turn_show(struct turn *turn)
{
    if (effects_show(turn->effects) != 0 || index_writer_crowded(&turn->catalog->index))
        MUST(publish_rebuild(turn->catalog, INDEX_COMPLETE) == 0);
}

/* Nothing that a run of its operations has noted. */
static void turn_forget(struct turn *turn)
{
    effects_reset(turn->effects);
    memset(turn->refused, 0, turn->catalog->conf->repo_count * sizeof(*turn->refused));
    mem_arena_reset(turn->arena);
}

static void refused_tell(const struct turn *turn)
{
    for (size_t i = 0; i < turn->catalog->conf->repo_count; i++)
        if (turn->refused[i] > 0)
            evict_refused(turn->catalog->evict, i, turn->refused[i]);
}

static void turn_answer(struct turn *turn, int err)
{
    struct turn_item *item;

    while ((item = TAILQ_FIRST(&turn->running)) != NULL) {
        TAILQ_REMOVE(&turn->running, item, entry);
        if (item->task) {
            item->task->done(item->task, err);
            item_free(turn, item);
            continue;
        }
        if (err == 0 && item->again) {
            wait_for_turn(turn, item);
            continue;
        }
        if (err != 0) {
            serve_reply_begin(&item->answer, item->to);
            reply_err_put(&item->answer, err);
        }
        serve_reply(turn->catalog->serve, item->to, &item->answer, -1);
        item_free(turn, item);
    }
    if (err == 0)
        refused_tell(turn);
    turn_forget(turn);
}

static void turn_work(struct pool_job *job)
{
    struct turn *turn = CONTAINER_OF(job, struct turn, job);
    int failed = FAIL_POINT(catalog_turn_write);

    turn->write_err = failed != 0 ? err_from_errno(failed) : 0;
    if (turn->write_err == 0 && turn->held)
        turn->write_err = held_write(turn->catalog->held);
    if (turn->write_err == 0 && !turn->empty)
        turn->write_err = db_batch_write(turn->catalog->db);
}

static void database_close(struct turn *turn, int refusal)
{
    struct catalog *c = turn->catalog;

    turn->close = false;
    journals_suspend(c->journals);
    db_close(&c->db);
    opening_again(c, refusal);
    turn_schedule(turn); /* who waits is told */
}

void turn_close_database(struct turn *turn)
{
    if (turn->busy)
        turn->close = true;
    else if (turn->catalog->db)
        database_close(turn, ERR_INCOMPLETE);
}

static void turn_written(struct pool_job *job)
{
    struct turn *turn = CONTAINER_OF(job, struct turn, job);
    struct catalog *c = turn->catalog;
    int err = turn->write_err;

    db_batch_done(c->db);
    turn->busy = false;
    journals_turn_done(c->journals, err);
    if (err != 0) {
        effects_take_back(turn->effects);
        turn_answer(turn, err);
        /* LevelDB refuses every write after a failed one until it is opened anew. */
        database_close(turn, err == ERR_NO_SPACE ? err : ERR_UNAVAILABLE);
        return;
    }
    FAIL_POINT(catalog_turn_written);
    effects_take_over(turn->effects);
    turn_show(turn);
    FAIL_POINT(catalog_turn_shown);
    turn_answer(turn, 0);
    FAIL_POINT(catalog_turn_answered);
    held_written(c->held, err);
    if (turn->close)
        database_close(turn, ERR_INCOMPLETE);
    else
        turn_schedule(turn);
}

static void item_run(struct turn *turn, struct turn_item *item)
{
    struct msg_reader question;

    if (item->task) {
        item->task->run(item->task);
        return;
    }
    MUST(msg_reader_init(&question, item->question.data, item->question.len) == 0);
    serve_reply_begin(&item->answer, item->to);
    item->again = item->look = false;
    turn->present = item;
    item->op(turn->catalog, &question, &item->answer);
    turn->present = NULL;
}

/* In the order they came, but nobody waits behind what the turn has no room for: the first in the
 * queue always runs, so that nothing is overtaken for ever. */
static void turn_take(struct turn *turn)
{
    size_t count = 0, bytes = 0;
    bool heavy = false; /* something heavy is in it */

    for (struct turn_item *item = TAILQ_FIRST(&turn->waiting), *next;
         item && count < BATCH_MAX && bytes < BATCH_BYTES_MAX; item = next) {
        next = TAILQ_NEXT(item, entry);
        if (item->weight == TURN_HEAVY && heavy)
            continue;
        run_with_turn(turn, item);
        count++;
        bytes += item->question.len > LIGHT_MAX ? 0 : item->question.len;
        heavy = heavy || item->weight == TURN_HEAVY;
    }
}

static void turn_run(struct turn *turn)
{
    struct turn_item *item;

    db_batch_discard(turn->catalog->db);
    turn_forget(turn);
    TAILQ_FOREACH(item, &turn->running, entry)
        item_run(turn, item);
    effects_collect(turn->effects);
}

/* Those whose files have to be looked at first: they have changed nothing, and what they answered
 * does not count. Their other checks are passed. */
static void turn_look(struct turn *turn)
{
    struct turn_item *item, *next;

    for (item = TAILQ_FIRST(&turn->running); item; item = next) {
        next = TAILQ_NEXT(item, entry);
        if (!item->look)
            continue;
        item->ask.task = FILE_BACK;
        item->ask.store = item->look_store;
        item->ask.digest = item->look_digest;
        TAILQ_REMOVE(&turn->running, item, entry);
        item_prepare(turn, item);
    }
}

static bool tasks_hold(const struct turn *turn)
{
    struct turn_item *item;

    TAILQ_FOREACH(item, &turn->running, entry)
        if (item->task && item->task->still && !item->task->still(item->task))
            return false;
    return true;
}

/* Those that somebody disturbs again and again wait for the next turn. */
static void tasks_put_off(struct turn *turn)
{
    struct turn_item *item, *next;

    for (item = TAILQ_FIRST(&turn->running); item; item = next) {
        next = TAILQ_NEXT(item, entry);
        if (!item->task || !item->task->still)
            continue;
        TAILQ_REMOVE(&turn->running, item, entry);
        wait_for_turn(turn, item);
    }
}

/* Runs what was taken until what goes is hidden and nobody objects. False: a read failed, so that
 * an operation may have stopped in its middle: nothing of this turn counts. */
static bool turn_settle(struct turn *turn)
{
    for (int objections = 0;; objections++) {
        if (objections == OBJECTIONS_MAX)
            tasks_put_off(turn);
        for (int i = 0; i < TURN_RUNS; i++)
            turn_run(turn);
        if (db_read_failed(turn->catalog->db))
            return false;
        if (!db_batch_empty(turn->catalog->db))
            FAIL_POINT(catalog_turn_begun);
        effects_hide(turn->effects);
        if (tasks_hold(turn))
            return true;
        effects_take_back(turn->effects);
    }
}

static void turn_begin(void *ctx)
{
    struct turn *turn = ctx;

    turn->scheduled = false;
    if (turn->busy)
        return;
    if (!turn->catalog->db) {
        /* Closed after a failed write: say so at once instead of letting clients wait. */
        while (!TAILQ_EMPTY(&turn->waiting)) {
            struct turn_item *item = TAILQ_FIRST(&turn->waiting);

            run_with_turn(turn, item);
        }
        turn_answer(turn, turn->catalog->refusal);
        return;
    }
    turn_take(turn);
    if (!turn_settle(turn)) {
        db_batch_discard(turn->catalog->db);
        turn_answer(turn, ERR_IO);
        turn_schedule(turn);
        return;
    }
    turn_look(turn);
    turn->empty = db_batch_empty(turn->catalog->db);
    turn->held = held_turn(turn->catalog->held);
    if (turn->empty && !turn->held) {
        turn_answer(turn, 0);
        turn_schedule(turn);
        return;
    }
    FAIL_POINT(catalog_turn_tombstones);
    turn->busy = true;
    journals_turn(turn->catalog->journals);
    turn->job.work = turn_work;
    turn->job.done = turn_written;
    db_batch_seal(turn->catalog->db);
    pool_submit(turn->catalog->pool, &turn->job);
}
