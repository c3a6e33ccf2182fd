/*
 * scrub.c - reading every blob now and then.
 *
 * Runs in the catalog: the order of blobs and all decisions on the loop, reading
 * and hashing in a thread, a bounded number of bytes every quarter of a second.
 * Reads go around the page cache where the file system can, so that they see the
 * disk and take no room from what is pulled. Owns the open file of the running
 * blob; after a crash the pass goes on where it was last noted (scrub_note.c).
 */
#include "catalog/scrub.h"

#include "base/clock.h"
#include "base/container.h"
#include "base/fail.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "catalog/bind.h"
#include "catalog/damage.h"
#include "catalog/ops.h"
#include "catalog/sweep.h"
#include "catalog/turn.h"
#include "meta/records.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TICK_MS    250
#define READ_BYTES (1u << 20)
#define READ_ALIGN 4096
#define ASKED_MAX  64
#define NOTE_MS    60000

struct scrub {
    struct catalog *c;
    struct loop_timer timer, note_timer;
    struct pool_job job;
    struct turn_task task, note_task;
    struct file_ask quarantine;
    struct stats_scrub stats, pass; /* pass: as they were at its start */
    bool busy;                      /* a thread or a task is at work */
    bool noting;
    bool again;               /* a pass was asked for while one ran */
    bool marks_left;          /* of what was found damaged: is it good again? */
    struct meta_place mark;   /* the last of them that was chosen; len 0: none */
    struct meta_place cursor; /* the last blob of the running pass that was chosen; len 0: none */
    struct scrub_target now;
    bool have;  /* `now` is being read */
    bool noted; /* the turn marks it as damaged */
    int fd;
    uint64_t at, budget;
    struct digest_ctx *hash;
    char *buffer;
    enum { SCRUB_MORE, SCRUB_GOOD, SCRUB_DAMAGED, SCRUB_MISSING, SCRUB_UNREADABLE } result;
    struct scrub_target asked[ASKED_MAX]; /* these come first: workers had trouble with them */
    size_t asked_count;
};

static void scrub_step(struct scrub *s);

static int open_blob(struct scrub *s)
{
    int failed = FAIL_POINT(catalog_scrub_open), err;
    uint64_t size;

    if (failed != 0)
        return err_from_errno(failed);
    err = store_blob_open_raw(s->c->stores[s->now.store], &s->now.digest, &s->fd, &size);
    if (err != 0)
        return err;
    /* Even an empty one costs a look at the disk. */
    s->budget -= s->budget < READ_ALIGN ? s->budget : READ_ALIGN;
    return size == s->now.size ? 0 : ERR_DAMAGED;
}

static void read_on(struct scrub *s)
{
    struct digest found;

    while (s->at < s->now.size && s->budget > 0) {
        ssize_t got =
            FAIL_POINT(catalog_scrub_read) ? -1 : pread(s->fd, s->buffer, READ_BYTES, (off_t)s->at);

        if (got <= 0) {
            s->result = got < 0 ? SCRUB_UNREADABLE : SCRUB_DAMAGED; /* shorter than recorded */
            return;
        }
        digest_ctx_update(s->hash, s->buffer, (size_t)got);
        s->at += (uint64_t)got;
        s->budget -= s->budget < (uint64_t)got ? s->budget : (uint64_t)got;
    }
    if (s->at < s->now.size)
        return;
    digest_ctx_peek(s->hash, &found);
    s->result = digest_equal(&found, &s->now.digest) ? SCRUB_GOOD : SCRUB_DAMAGED;
}

static void scrub_work(struct pool_job *job)
{
    struct scrub *s = CONTAINER_OF(job, struct scrub, job);

    s->result = SCRUB_MORE;
    if (s->fd < 0) {
        int err = open_blob(s);

        if (err != 0) {
            s->result = err == ERR_NOT_FOUND ? SCRUB_MISSING
                        : err == ERR_DAMAGED ? SCRUB_DAMAGED
                                             : SCRUB_UNREADABLE;
            return;
        }
    }
    read_on(s);
}

/* Remembers to look at a blob soon. Too many at once: the pass finds them. */
static void scrub_ask(struct scrub *s, const struct scrub_target *target)
{
    for (size_t i = 0; i < s->asked_count; i++)
        if (s->asked[i].store == target->store &&
            digest_equal(&s->asked[i].digest, &target->digest))
            return;
    if (s->asked_count < ASKED_MAX)
        s->asked[s->asked_count++] = *target;
}

static void target_end(struct scrub *s)
{
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
    if (s->hash)
        digest_ctx_free(&s->hash);
    s->have = false;
}

/* Within a turn: nobody links or heals it meanwhile. What lies at its path is asked of the kernel
 * here, without a thread: it was opened or missed a moment ago, and an open file's name is kept. */
static void damage_run(struct turn_task *task)
{
    struct scrub *s = CONTAINER_OF(task, struct scrub, task);
    const char *store = s->c->conf->stores[s->now.store].key;

    s->noted = false;
    if (sweep_unknown(s->c, s->now.store, &s->now.digest) ||
        !store_blob_is(s->c->stores[s->now.store], &s->now.digest, s->fd) ||
        !bind_still(s->c, s->now.store))
        return; /* gone, healed or elsewhere meanwhile */
    if (s->result == SCRUB_GOOD) {
        /* The disk is back, or somebody has put the right bytes there. */
        damage_heal(s->c, s->now.store, &s->now.digest);
    } else if (!damage_known(s->c, store, &s->now.digest)) {
        damage_note(s->c, s->now.store, &s->now.digest);
        s->noted = true;
    }
}

static void damage_tell(const struct scrub *s, int err)
{
    char text[DIGEST_TEXT_MAX];

    if (err != 0)
        log_warn("cannot move a damaged blob to the quarantine", "err=%s",
                 log_quote(err_text(err)));
    log_error(s->result == SCRUB_MISSING
                  ? "a blob's file is missing: it is not served; push it again to heal"
                  : "a blob's bytes have changed: it is in the quarantine and not served; push "
                    "it again to heal",
              "store=%s digest=%s", s->c->conf->stores[s->now.store].name,
              digest_text(&s->now.digest, text));
}

static void damage_end(struct scrub *s)
{
    target_end(s);
    s->busy = false;
    scrub_step(s);
}

static void quarantined(struct file_ask *ask)
{
    struct scrub *s = CONTAINER_OF(ask, struct scrub, quarantine);

    damage_tell(s, ask->err == ERR_CONFLICT ? 0 : ask->err);
    damage_end(s);
}

static void damage_done(struct turn_task *task, int err)
{
    struct scrub *s = CONTAINER_OF(task, struct scrub, task);

    if (err != 0) {
        scrub_ask(s, &s->now); /* once more, when the database works again */
    } else if (s->noted &&
               damage_known(s->c, s->c->conf->stores[s->now.store].key, &s->now.digest)) {
        /* else a push in the same turn has healed it already */
        FAIL_POINT(catalog_damage_noted);
        s->stats.damaged += s->result == SCRUB_DAMAGED;
        s->stats.missing += s->result == SCRUB_MISSING;
        if (s->result == SCRUB_DAMAGED) {
            s->quarantine = (struct file_ask){.task = FILE_QUARANTINE,
                                              .store = s->now.store,
                                              .digest = s->now.digest,
                                              .fd = s->fd,
                                              .done = quarantined};
            files_ask(s->c->files, &s->quarantine);
            return;
        }
        damage_tell(s, 0);
    }
    damage_end(s);
}

static void scrub_worked(struct pool_job *job)
{
    struct scrub *s = CONTAINER_OF(job, struct scrub, job);
    char text[DIGEST_TEXT_MAX];

    s->busy = false;
    switch (s->result) {
    case SCRUB_MORE:
        break;
    case SCRUB_UNREADABLE:
        log_error("a blob cannot be read", "store=%s digest=%s",
                  s->c->conf->stores[s->now.store].name, digest_text(&s->now.digest, text));
        target_end(s);
        break;
    case SCRUB_GOOD:
        s->stats.blobs++;
        s->stats.bytes += s->now.size;
        if (damage_known(s->c, s->c->conf->stores[s->now.store].key, &s->now.digest)) {
            s->busy = true;
            turn_add_task(s->c->turn, &s->task);
            return;
        }
        target_end(s);
        break;
    case SCRUB_DAMAGED:
    case SCRUB_MISSING:
        s->busy = true;
        turn_add_task(s->c->turn, &s->task);
        return;
    }
    scrub_step(s);
}

void scrub_marks(struct scrub *s)
{
    s->marks_left = true;
    s->mark.len = 0;
}

/* Where the pass stands is written down: at its ends and every minute. */
static void pass_note(struct scrub *s)
{
    if (s->noting)
        return;
    s->noting = true;
    turn_add_task(s->c->turn, &s->note_task);
}

static void note_run(struct turn_task *task)
{
    struct scrub *s = CONTAINER_OF(task, struct scrub, note_task);
    struct scrub_note note = {.running = s->stats.running,
                              .started_s = s->stats.started_s,
                              .finished_s = s->stats.finished_s,
                              .cursor = s->cursor};

    scrub_note_put(s->c->db, &note);
}

static void note_done(struct turn_task *task, int err)
{
    struct scrub *s = CONTAINER_OF(task, struct scrub, note_task);

    (void)err; /* a lost note costs reading some blobs twice */
    s->noting = false;
}

static void note_due(struct loop_timer *timer)
{
    struct scrub *s = CONTAINER_OF(timer, struct scrub, note_timer);

    loop_timer_set(s->c->loop, timer, NOTE_MS);
    if (s->stats.running)
        pass_note(s);
}

static void pass_begin(struct scrub *s)
{
    s->stats.running = true;
    s->again = false;
    s->stats.started_s = op_now();
    s->cursor.len = 0;
    s->pass = s->stats;
    pass_note(s);
}

static void pass_end(struct scrub *s)
{
    s->stats.running = false;
    s->stats.finished_s = op_now();
    s->stats.passes++;
    s->cursor.len = 0;
    log_notice("all blobs were read", "good=%llu damaged=%llu missing=%llu",
               (unsigned long long)(s->stats.blobs - s->pass.blobs),
               (unsigned long long)(s->stats.damaged - s->pass.damaged),
               (unsigned long long)(s->stats.missing - s->pass.missing));
    if (s->again)
        pass_begin(s);
    else
        pass_note(s);
}

static bool target_choose(struct scrub *s)
{
    if (s->have)
        return true;
    if (s->asked_count > 0)
        s->now = s->asked[--s->asked_count];
    else if (s->marks_left && (s->marks_left = scrub_next_mark(s->c, &s->mark, &s->now)))
        ; /* those that may be good again, before all others */
    else if (!s->stats.running)
        return false;
    else if (!scrub_next(s->c, &s->cursor, &s->now)) {
        pass_end(s);
        return false;
    }
    s->have = true;
    s->at = 0;
    s->hash = digest_ctx_new(s->now.digest.alg);
    return true;
}

static void scrub_step(struct scrub *s)
{
    if (s->busy || !s->c->db || s->c->stopping)
        return;
    if (s->budget == 0 || !target_choose(s))
        return; /* the timer goes on */
    s->busy = true;
    pool_submit_slow(s->c->pool, &s->job);
}

static void scrub_tick(struct loop_timer *timer)
{
    struct scrub *s = CONTAINER_OF(timer, struct scrub, timer);
    const struct conf *conf = s->c->conf;

    loop_timer_set(s->c->loop, timer, TICK_MS);
    if (!s->stats.running && conf->scrub_interval_ms > 0 &&
        (op_now() >= s->stats.started_s + conf->scrub_interval_ms / 1000 ||
         clock_ahead((int64_t)s->stats.started_s, 0))) /* noted while the clock was wrong */
        pass_begin(s);
    if (s->busy)
        return; /* what a slow disk did not manage is not made up for */
    s->budget = conf->scrub_rate * TICK_MS / 1000 + 1;
    scrub_step(s);
}

struct scrub *scrub_new(struct catalog *c)
{
    struct scrub *s = mem_alloc(sizeof(*s));

    s->c = c;
    s->fd = -1;
    s->timer.fire = scrub_tick;
    s->note_timer.fire = note_due;
    s->task = (struct turn_task){.run = damage_run, .done = damage_done};
    s->note_task = (struct turn_task){.run = note_run, .done = note_done};
    s->job = (struct pool_job){.work = scrub_work, .done = scrub_worked};
    MUST(posix_memalign((void **)&s->buffer, READ_ALIGN, READ_BYTES) == 0);
    return s;
}

void scrub_free(struct scrub **scrub_p)
{
    struct scrub *s = *scrub_p;

    *scrub_p = NULL;
    loop_timer_cancel(s->c->loop, &s->timer);
    loop_timer_cancel(s->c->loop, &s->note_timer);
    target_end(s);
    free(s->buffer);
    free(s);
}

void scrub_start(struct scrub *s)
{
    struct scrub_note note;

    if (scrub_note_get(s->c->db, &note) == 0) {
        s->stats.running = note.running;
        s->stats.started_s = note.started_s;
        s->stats.finished_s = note.finished_s;
        s->cursor = note.cursor;
        s->pass = s->stats;
    } else {
        s->stats.started_s = op_now(); /* the first pass is due after the first interval */
        pass_note(s);
    }
    scrub_marks(s);
    loop_timer_set(s->c->loop, &s->timer, TICK_MS);
    loop_timer_set(s->c->loop, &s->note_timer, NOTE_MS);
}

void scrub_stats(const struct scrub *s, struct stats_scrub *stats_r)
{
    *stats_r = s->stats;
    stats_r->rate = s->c->conf->scrub_rate;
    stats_r->interval_ms = s->c->conf->scrub_interval_ms;
}

void scrub_op_run(struct catalog *c, struct msg_reader *question, struct msg_writer *answer)
{
    struct scrub *s = c->scrub;
    int err = msg_end(question);

    if (err == 0) {
        scrub_marks(s); /* an operator who has brought bytes back waits for no others */
        if (s->stats.running)
            s->again = true; /* what this pass has read already may have changed */
        else
            pass_begin(s);
    }
    reply_err_put(answer, err);
}

void scrub_op_status(struct catalog *c, struct msg_reader *question, struct msg_writer *answer)
{
    struct stats_scrub stats;
    int err = msg_end(question);

    scrub_stats(c->scrub, &stats);
    reply_err_put(answer, err);
    if (err == 0)
        stats_scrub_put(answer, &stats);
}

void scrub_op_damaged(struct catalog *c, struct msg_reader *question, struct msg_writer *answer)
{
    struct scrub *s = c->scrub;
    struct push_target t;
    struct record_blob record;
    size_t place = 0;
    int err = op_target_get(c, question, &t, &place);

    if (err == 0)
        err = meta_blob_get(c->db, meta_blob(c->conf->repos[place].store->key, &t.digest), &record);
    if (err == 0 && !damage_known(c, c->conf->repos[place].store->key, &t.digest)) {
        struct scrub_target target = {
            .store = catalog_store_of(c, place), .digest = t.digest, .size = record.size};

        scrub_ask(s, &target);
    }
    reply_err_put(answer, err);
}
