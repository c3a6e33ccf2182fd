/*
 * job.c - downloads: who waits for them and what they are told.
 *
 * The fetcher. A whole blob has one job a (repository, digest), whatever number of
 * images and clients want it; a range has one of its own. The job owns its slot on the
 * board, its file and its request, and outlives its clients. A crash here leaves the
 * partial file: whoever asks the next fetcher makes it go on.
 */
#include "fetcher/job.h"

#include "base/container.h"
#include "base/fail.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "fetcher/head.h"
#include "fetcher/misses.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Readers that come late still find the slot. */
#define LINGER_MS 60000

static void left_fire(struct loop_timer *timer)
{
    board_forget(CONTAINER_OF(timer, struct jobs, left)->f->board);
}

struct jobs *jobs_new(struct fetch *f)
{
    struct jobs *jobs = mem_alloc(sizeof(*jobs));

    jobs->f = f;
    TAILQ_INIT(&jobs->list);
    board_reset(f->board);
    jobs->left.fire = left_fire;
    loop_timer_set(f->loop, &jobs->left, LINGER_MS);
    return jobs;
}

static void miss_key(const struct proxy *p, const char *image, const struct digest *d,
                     struct str *key)
{
    char text[DIGEST_TEXT_MAX];

    str_printf(key, "blob %s %s %s", p->repo->name, image, digest_text(d, text));
}

static bool job_has_image(const struct job *job, const char *image)
{
    const struct job_image *one;

    TAILQ_FOREACH(one, &job->images, entry)
        if (strcmp(one->name, image) == 0)
            return true;
    return false;
}

static void job_add_image(struct job *job, const char *image)
{
    struct job_image *one;

    if (job_has_image(job, image))
        return;
    one = mem_alloc(sizeof(*one));
    one->name = mem_strdup(image);
    TAILQ_INSERT_TAIL(&job->images, one, entry);
}

static void job_follow(struct job *job, uint64_t id)
{
    struct job_peer *peer;

    TAILQ_FOREACH(peer, &job->peers, entry)
        if (peer->id == id)
            return;
    peer = mem_alloc(sizeof(*peer));
    peer->id = id;
    TAILQ_INSERT_TAIL(&job->peers, peer, entry);
}

static void job_tell_ready(struct job *job, struct serve_return to)
{
    struct fetch_ready ready = {.slot = (uint32_t)job->slot,
                                .epoch = job->epoch,
                                .total = job->total,
                                .blob_total = job->part_only ? job->blob_total : job->total};
    struct msg_writer w = {0};

    job_follow(job, to.peer);
    serve_reply_begin(&w, to);
    reply_err_put(&w, 0);
    fetch_ready_put(&w, &ready);
    serve_reply(job->f->serve, to, &w, job->part.read_fd);
}

static void job_wait(struct job *job, struct serve_return to, const char *image)
{
    struct job_waiter *waiter;

    if (job->ready) {
        job_tell_ready(job, to);
        return;
    }
    waiter = mem_alloc(sizeof(*waiter));
    waiter->to = to;
    waiter->image = mem_strdup(image);
    TAILQ_INSERT_TAIL(&job->waiters, waiter, entry);
}

static struct job_waiter *job_waiter_take(struct job *job)
{
    struct job_waiter *waiter = TAILQ_FIRST(&job->waiters);

    if (waiter)
        TAILQ_REMOVE(&job->waiters, waiter, entry);
    return waiter;
}

static void waiter_free(struct job_waiter *waiter)
{
    free(waiter->image);
    free(waiter);
}

void job_ready(struct job *job)
{
    struct job_waiter *waiter;

    job->ready = true;
    while ((waiter = job_waiter_take(job)) != NULL) {
        job_tell_ready(job, waiter->to);
        waiter_free(waiter);
    }
}

/* Takes the download out of the table, so that nobody joins it any more. Called once. Downloads of
 * ranges are not in the table. */
static void job_untable(struct job *job)
{
    if (!job->part_only)
        HASH_DEL(job->f->jobs->table, job);
}

static void job_free(struct job *job)
{
    struct job_image *image;
    struct job_peer *peer;

    MUST(job_over(job) || job->phase == JOB_LINK);
    MUST(TAILQ_EMPTY(&job->waiters) && job->part.step == PART_IDLE);
    share_give(&job->share);
    remote_cancel(&job->request);
    loop_timer_cancel(job->f->loop, &job->retry);
    loop_timer_cancel(job->f->loop, &job->linger);
    while ((image = TAILQ_FIRST(&job->images)) != NULL) {
        TAILQ_REMOVE(&job->images, image, entry);
        free(image->name);
        free(image);
    }
    while ((peer = TAILQ_FIRST(&job->peers)) != NULL) {
        TAILQ_REMOVE(&job->peers, peer, entry);
        free(peer);
    }
    board_give(job->f->board, job->slot);
    TAILQ_REMOVE(&job->f->jobs->list, job, all);
    str_free(&job->fill);
    loop_free_later(job->f->loop, job);
}

static void linger_fire(struct loop_timer *timer)
{
    job_free(CONTAINER_OF(timer, struct job, linger));
}

static void want_fire(struct loop_timer *timer)
{
    struct job_want *want = CONTAINER_OF(timer, struct job_want, later);

    want->done(want, want->failed.err, want->failed.reason);
}

static void want_tell(struct fetch *f, struct job_want *want, int err, const char *reason)
{
    failed_set(&want->failed, err, 0, reason);
    want->later.fire = want_fire;
    loop_timer_set(f->loop, &want->later, 0);
}

static void wants_tell(struct job *job, int err, const char *reason)
{
    struct job_want *want;

    while ((want = TAILQ_FIRST(&job->wants)) != NULL) {
        TAILQ_REMOVE(&job->wants, want, entry);
        want_tell(job->f, want, err, reason);
    }
}

void job_finish(struct job *job, enum job_phase how, bool unlink)
{
    job_move(job, how);
    job_untable(job);
    remote_cancel(&job->request);
    loop_timer_cancel(job->f->loop, &job->retry);
    share_give(&job->share);
    if (job->part.fd >= 0)
        part_close(&job->part, unlink || job->part.size == 0);
    str_free(&job->fill);
    wants_tell(job, how == JOB_DONE ? 0 : ERR_UNAVAILABLE, "");
    if (how == JOB_DONE)
        job->f->jobs->done++;
    else
        job->f->jobs->failed++;
    job->linger.fire = linger_fire;
    /* Workers that were given the file may still look at its place on the board; without any the
     * place is free at once. */
    loop_timer_set(job->f->loop, &job->linger, TAILQ_EMPTY(&job->peers) ? 0 : LINGER_MS);
}

void job_fail(struct job *job, int err, uint32_t retry_after_s, const char *reason, bool unlink)
{
    struct fetch_failure why = {.retry_after_s = retry_after_s, .reason = reason};
    char text[DIGEST_TEXT_MAX];
    struct job_waiter *waiter;
    struct failed failed;
    struct str key = {0};

    log_write(err == ERR_NOT_FOUND ? LOG_LEVEL_INFO : LOG_LEVEL_WARN, "a download failed",
              "repository=%s digest=%s have=%llu err=%s reason=%s", job->proxy->repo->name,
              digest_text(&job->digest, text), (unsigned long long)job->part.size,
              log_quote(err_text(err)), log_quote(reason));
    failed_set(&failed, err, retry_after_s, reason);
    while ((waiter = job_waiter_take(job)) != NULL) {
        miss_key(job->proxy, waiter->image, &job->digest, &key);
        if (!job->part_only)
            misses_add(job->proxy->misses, key.data, &failed, misses_ms(job->proxy, err));
        str_reset(&key);
        fetch_fail(job->f, waiter->to, err, &why);
        waiter_free(waiter);
    }
    str_free(&key);
    wants_tell(job, err, reason);
    job_finish(job, JOB_FAILED, unlink);
}

/* Whoever waits for it under this image looks into the index; others ask again. */
static void job_there(struct job *job, uint64_t size)
{
    const char *image = job->asked->name;
    struct job_waiter *waiter;
    struct fetch *f = job->f;

    job_untable(job);
    wants_tell(job, 0, "");
    while ((waiter = job_waiter_take(job)) != NULL) {
        struct push_target t = {
            .repo = job->proxy->repo->name, .image = waiter->image, .digest = job->digest};
        struct msg_writer w = {0};

        if (strcmp(waiter->image, image) == 0) {
            serve_reply_begin(&w, waiter->to);
            reply_err_put(&w, ERR_EXISTS);
            fetch_size_put(&w, size);
            serve_reply(f->serve, waiter->to, &w, -1);
        } else {
            job_ask(f, waiter->to, &t, "", true);
        }
        waiter_free(waiter);
    }
    job_free(job);
}

static void link_done(struct ask *ask, int err, struct msg_reader *reply, int fd)
{
    struct job *job = CONTAINER_OF(ask, struct job, ask);
    uint64_t size = 0;

    (void)fd;
    if (err == 0)
        err = reply_err_get(reply);
    if (err == 0) {
        size = fetch_size_get(reply);
        err = msg_end(reply);
    }
    if (err == 0)
        job_there(job, size);
    else if (err == ERR_NOT_FOUND)
        job_get(job);
    else
        job_fail(job, ERR_UNAVAILABLE, 1, "the catalog does not answer", false);
}

static void job_link(struct job *job)
{
    struct proxy_link q = {.target = {.repo = job->proxy->repo->name, .digest = job->digest},
                           .proven = job->proven};
    struct msg_writer *w;

    job_move(job, JOB_LINK);
    job->asked = TAILQ_FIRST(&job->images);
    q.target.image = job->asked->name;
    job->ask.done = link_done;
    w = link_ask_begin(job->f->catalog, &job->ask, MSG_PROXY_LINK);
    proxy_link_put(w, &q);
    link_ask_send(job->f->catalog, &job->ask);
}

/* Else a place of one that is over and lingers, the oldest: whoever still reads asks again. */
static int slot_take(struct fetch *f, size_t *slot_r, uint64_t *epoch_r)
{
    struct job *job;

    if (!FAIL_POINT(fetcher_slot) && board_take(f->board, slot_r, epoch_r) == 0)
        return 0;
    if (board_forget(f->board))
        return board_take(f->board, slot_r, epoch_r);
    TAILQ_FOREACH(job, &f->jobs->list, all)
        if (job_over(job))
            break;
    if (!job)
        return ERR_BUSY;
    job_free(job);
    return board_take(f->board, slot_r, epoch_r);
}

/* NULL when there is no room for another download; *why_r tells the client so. */
static struct job *job_new(struct proxy *p, const struct digest *digest, const char *image,
                           const char *client, const struct fetch_failure **why_r)
{
    static const struct fetch_failure full = {.retry_after_s = 5,
                                              .reason = "too many downloads are running"};
    struct fetch *f = p->f;
    struct job *job = mem_alloc(sizeof(*job));

    job->f = f;
    job->proxy = p;
    job->digest = *digest;
    job->total = job->blob_total = UINT64_MAX;
    job->started_ms = loop_now_ms(f->loop);
    job->request.proxy = p;
    job->part.fd = job->part.read_fd = -1;
    job->part.pool = f->pool;
    job->part.store = p->store;
    job->part.repo = p->repo->name;
    job->part.keep_free = p->repo->store->keep_free;
    TAILQ_INIT(&job->waiters);
    TAILQ_INIT(&job->images);
    TAILQ_INIT(&job->peers);
    TAILQ_INIT(&job->wants);
    if (share_take(&job->share, p, client, why_r) != 0) {
        free(job);
        return NULL;
    }
    if (slot_take(f, &job->slot, &job->epoch) != 0) {
        share_give(&job->share);
        free(job);
        *why_r = &full;
        return NULL;
    }
    job_add_image(job, image);
    TAILQ_INSERT_TAIL(&f->jobs->list, job, all);
    return job;
}

/* Did a manifest of the image that is here name it? */
static bool image_names(struct fetch *f, const struct push_target *t)
{
    char text[DIGEST_TEXT_MAX];
    struct index_entry entry;

    return fetch_index_find(f, INDEX_NAMED, t->repo, t->image, digest_text(&t->digest, text),
                            &entry) == 0;
}

static void job_begin(struct fetch *f, struct proxy *p, struct serve_return to,
                      const struct push_target *t, const char *client, bool proven, const char *key)
{
    const struct fetch_failure *why;
    struct job *job = job_new(p, &t->digest, t->image, client, &why);

    if (!job) {
        fetch_fail(f, to, ERR_BUSY, why);
        return;
    }
    snprintf(job->key, sizeof(job->key), "%s", key);
    job->part.digest = t->digest;
    job->proven = proven;
    HASH_ADD_STR(f->jobs->table, key, job);
    job_wait(job, to, t->image);
    job_link(job);
}

void job_ask(struct fetch *f, struct serve_return to, const struct push_target *t,
             const char *client, bool proven)
{
    struct proxy *p = fetch_proxy(f, t->repo);
    char key[sizeof(((struct job *)0)->key)], text[DIGEST_TEXT_MAX];
    const struct failed *miss;
    struct str missed = {0};
    struct job *job;

    if (!p) {
        fetch_fail(f, to, ERR_UNSUPPORTED, NULL);
        return;
    }
    miss_key(p, t->image, &t->digest, &missed);
    miss = misses_find(p->misses, missed.data);
    str_free(&missed);
    if (miss && !proven) {
        struct fetch_failure why = {.retry_after_s = miss->retry_after_s, .reason = miss->reason};

        fetch_fail(f, to, miss->err, &why);
        return;
    }
    snprintf(key, sizeof(key), "%s %s", p->repo->name, digest_text(&t->digest, text));
    HASH_FIND_STR(f->jobs->table, key, job);
    if (!job) {
        job_begin(f, p, to, t, client, proven, key);
    } else if (proven || job_has_image(job, t->image) || image_names(f, t)) {
        job_add_image(job, t->image);
        job_wait(job, to, t->image);
    } else {
        head_ask(f, to, t, client,
                 true); /* what another image has, this one may not even know of */
    }
}

void job_ask_range(struct fetch *f, struct serve_return to, const struct push_target *t,
                   const char *client, uint64_t first, uint64_t last)
{
    const struct fetch_failure *why = NULL;
    struct proxy *p = fetch_proxy(f, t->repo);
    struct job *job = p ? job_new(p, &t->digest, t->image, client, &why) : NULL;

    if (!job) {
        fetch_fail(f, to, p ? ERR_BUSY : ERR_UNSUPPORTED, why);
        return;
    }
    job->part_only = true;
    job->first = first;
    job->last = last;
    job->total = last - first + 1;
    job_wait(job, to, t->image);
    job_get(job);
}

void job_want(struct fetch *f, const struct push_target *t, struct job_want *want)
{
    static const struct serve_return nobody = {0};
    char key[sizeof(((struct job *)0)->key)], text[DIGEST_TEXT_MAX];
    struct job *job;

    job_ask(f, nobody, t, "", false);
    snprintf(key, sizeof(key), "%s %s", t->repo, digest_text(&t->digest, text));
    HASH_FIND_STR(f->jobs->table, key, job);
    if (job && job_has_image(job, t->image))
        TAILQ_INSERT_TAIL(&job->wants, want, entry);
    else
        want_tell(f, want, ERR_UNAVAILABLE, "a blob could not be fetched; the log tells why");
}
