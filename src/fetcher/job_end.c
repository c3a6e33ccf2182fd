/*
 * job_end.c - the end of a download: verified, shown, made durable, linked.
 *
 * The fetcher. Order: digest compared -> the last byte may be sent -> fdatasync, rename
 * to its place -> the catalog links it to every image that asked. A crash between leaves
 * the partial file or a blob without a record, which the next ask or the sweep finds.
 */
#include "fetcher/job.h"

#include "base/container.h"
#include "base/fail.h"
#include "base/log.h"
#include "base/must.h"

#include <string.h>

#define COMMIT_TRIES    60
#define COMMIT_RETRY_MS 1000

static void job_commit(struct job *job);

void job_verify(struct job *job)
{
    char text[DIGEST_TEXT_MAX];

    if (job->part_only) {
        if (!job->ready)
            job_ready(job);
        job_finish(job, JOB_DONE, false);
        return;
    }
    FAIL_POINT(fetcher_received);
    if (!part_good(&job->part)) {
        log_warn("an upstream sent other bytes than were asked for", "repository=%s digest=%s",
                 job->proxy->repo->name, digest_text(&job->digest, text));
        job_fail(job, ERR_MISMATCH, 0, "the upstream sent bytes of another digest", true);
        return;
    }
    FAIL_POINT(fetcher_verified);
    job->verified = true;
    job_move(job, JOB_PLACE);
    if (!job->ready)
        job_ready(job);
    part_place(&job->part);
}

static void commit_retry(struct loop_timer *timer)
{
    job_commit(CONTAINER_OF(timer, struct job, retry));
}

static void commit_done(struct ask *ask, int err, struct msg_reader *reply, int fd)
{
    struct job *job = CONTAINER_OF(ask, struct job, ask);
    char text[DIGEST_TEXT_MAX];

    (void)fd;
    if (err == 0)
        err = reply_err_get(reply);
    if (err == 0) {
        FAIL_POINT(fetcher_committed);
        job->asked = TAILQ_NEXT(job->asked, entry);
        job_commit(job);
        return;
    }
    if (++job->commit_tries < COMMIT_TRIES) {
        job->retry.fire = commit_retry;
        loop_timer_set(job->f->loop, &job->retry, COMMIT_RETRY_MS);
        return;
    }
    log_warn("a downloaded blob was not taken by the catalog",
             "repository=%s image=%s digest=%s err=%s", job->proxy->repo->name,
             log_quote(job->asked->name), digest_text(&job->digest, text),
             log_quote(err_text(err)));
    job_fail(job, err, 0, "the catalog did not take it", false);
}

/* Images that joined meanwhile stand at the list's end. */
static void job_commit(struct job *job)
{
    struct push_target t = {
        .repo = job->proxy->repo->name, .digest = job->digest, .size = job->total};
    struct msg_writer *w;

    if (!job->asked) {
        job_finish(job, JOB_DONE, false);
        return;
    }
    t.image = job->asked->name;
    job->ask.done = commit_done;
    w = link_ask_begin(job->f->catalog, &job->ask, MSG_BLOB_COMMIT);
    push_target_put(w, &t);
    link_ask_send(job->f->catalog, &job->ask);
    FAIL_POINT(fetcher_commit_asked);
}

void job_placed(struct job *job, int err)
{
    if (err != 0) {
        job_fail(job, err, 0, "it cannot be made durable", false);
        return;
    }
    FAIL_POINT(fetcher_placed);
    job_move(job, JOB_COMMIT);
    job->asked = TAILQ_FIRST(&job->images);
    job_commit(job);
}
