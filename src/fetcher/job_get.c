/*
 * job_get.c - bytes of a download: from the upstream, in order, into its file.
 *
 * The fetcher. What comes is collected while the pool writes what came before, at
 * most twice FILL_MAX a job; then curl is paused. An upstream that breaks off or falls
 * silent is asked again from where it stopped, the next remote first. A crash here
 * leaves the partial file.
 */
#include "fetcher/job.h"

#include "base/container.h"
#include "base/fail.h"
#include "base/log.h"
#include "base/must.h"
#include "fetcher/health.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define FILL_MAX     (256u << 10)
#define ATTEMPTS_MAX 8
#define RETRY_MIN_MS 200
#define RETRY_MAX_MS 5000

static void job_attempt(struct job *job);

static void job_write(struct job *job)
{
    if (job->part.step == PART_IDLE && job->fill.len > 0)
        part_write(&job->part, &job->fill);
}

/* Everything that was asked for has come, written or not. */
static bool job_has_all(const struct job *job)
{
    return job->total != UINT64_MAX &&
           job->part.size + job->part.out.len + job->fill.len >= job->total;
}

/* "bytes 5-9/10" -> where it begins and how long the blob is (UINT64_MAX: "*"). */
static int content_range(const char *text, uint64_t *first_r, uint64_t *total_r)
{
    const char *dash, *slash;
    uint64_t last;

    if (!text || strncmp(text, "bytes ", 6) != 0)
        return ERR_INVALID;
    text += 6;
    dash = strchr(text, '-');
    slash = dash ? strchr(dash, '/') : NULL;
    if (!slash || str_parse_u64(text, (size_t)(dash - text), first_r) != 0 ||
        str_parse_u64(dash + 1, (size_t)(slash - dash - 1), &last) != 0 || last < *first_r)
        return ERR_INVALID;
    *total_r = UINT64_MAX;
    if (strcmp(slash + 1, "*") == 0)
        return 0;
    if (str_parse_u64(slash + 1, strlen(slash + 1), total_r) != 0 || *total_r <= last)
        return ERR_INVALID;
    return 0;
}

/* Sets skip and totals from the head; false: it does not fit what was asked or known. */
static bool head_fits(struct job *job, const struct upstream_head *head)
{
    uint64_t at = job->part.size + (job->part_only ? job->first : 0), first = 0, whole;

    if (head->status == 206) {
        if (content_range(head->content_range, &first, &whole) != 0 || first > at)
            return false;
    } else {
        whole = head->content_encoding ? UINT64_MAX : head->length;
    }
    job->skip = at - first;
    if (job->part_only) {
        if (whole != UINT64_MAX)
            job->blob_total = whole;
        return job->blob_total == UINT64_MAX || job->last < job->blob_total;
    }
    if (whole == UINT64_MAX)
        return true;
    if (job->total == UINT64_MAX && job->part.size <= whole)
        job->total = whole;
    return job->total == whole;
}

static enum upstream_take on_head(struct remote_request *r, const struct upstream_head *head)
{
    struct job *job = CONTAINER_OF(r, struct job, request);

    if (!head_fits(job, head)) {
        failed_set(&job->end, ERR_PROTOCOL, 0, "the upstream's length or range does not fit");
        return UPSTREAM_ABORT;
    }
    FAIL_POINT(fetcher_head);
    if (head->etag && head->etag[0] == '"' && strlen(head->etag) < sizeof(job->etag) - 1)
        snprintf(job->etag, sizeof(job->etag), "%s", head->etag);
    if (job->phase == JOB_RESUME || job->total == UINT64_MAX) {
        job_move(job, JOB_STREAM);
        return UPSTREAM_TAKEN;
    }
    job_move(job, JOB_SPACE);
    part_reserve(&job->part, job->total);
    return UPSTREAM_PAUSE;
}

static enum upstream_take on_body(struct remote_request *r, const void *data, size_t len)
{
    struct job *job = CONTAINER_OF(r, struct job, request);
    uint64_t got = job->part.size + job->part.out.len;
    size_t drop = job->skip < len ? (size_t)job->skip : len;

    if (job->phase == JOB_SPACE || job->fill.len + len > FILL_MAX + drop)
        return UPSTREAM_PAUSE;
    job->skip -= drop;
    data = (const char *)data + drop;
    len -= drop;
    if (job->total != UINT64_MAX && got + job->fill.len + len >= job->total)
        len = (size_t)(job->total - got - job->fill.len);
    str_append(&job->fill, data, len);
    job_write(job);
    /* A range of an upstream that sends everything. */
    return job->part_only && job_has_all(job) ? UPSTREAM_ABORT : UPSTREAM_TAKEN;
}

static void retry_fire(struct loop_timer *timer)
{
    job_attempt(CONTAINER_OF(timer, struct job, retry));
}

/* Too many requests: for how long. With several remotes, until one of them may be asked. */
static uint32_t busy_s(const struct job *job)
{
    return job->proxy->conf->remote_count > 1 ? health_wait_s(job->proxy, FETCH_LIMIT_BLOB)
                                              : job->end.retry_after_s;
}

static void job_retry(struct job *job)
{
    uint64_t delay;

    if (job->part.size > job->progress)
        job->attempts = 0;
    if (++job->attempts > ATTEMPTS_MAX) {
        job_fail(job, job->end.err, job->end.retry_after_s, job->end.reason, false);
        return;
    }
    delay = (uint64_t)RETRY_MIN_MS << (job->attempts - 1);
    if (delay > RETRY_MAX_MS)
        delay = RETRY_MAX_MS;
    if (job->end.err == ERR_BUSY && delay < 1000u * (uint64_t)busy_s(job))
        delay = 1000u * (uint64_t)busy_s(job); /* LIMIT_CLOSED_MAX_S at most */
    log_warn("a download was cut off: it goes on", "repository=%s have=%llu attempt=%u reason=%s",
             job->proxy->repo->name, (unsigned long long)job->part.size, job->attempts,
             log_quote(job->end.reason));
    job->resumes++;
    job->proxy->resumes++;
    job->request.first = (job->request.used + 1) % job->proxy->conf->remote_count;
    job_move(job, JOB_WAIT);
    loop_timer_set(job->f->loop, &job->retry, delay);
}

/* The attempt did not bring all. */
static void job_cut(struct job *job)
{
    const struct failed *why = &job->end;

    if (job->phase == JOB_CHECK || job->phase == JOB_CONNECT)
        /* What does not fit the upstream's word is of no use to the next ask either. */
        job_fail(job, why->err, why->retry_after_s, why->reason, why->err == ERR_PROTOCOL);
    else
        job_retry(job);
}

/* Once what came is in the file, the job goes on. */
static void job_drain(struct job *job)
{
    int err = job->end.err;

    if (job->part.step != PART_IDLE)
        return;
    if (job->fill.len > 0) {
        job_write(job);
        return;
    }
    if (err == 0 && job->total == UINT64_MAX)
        job->total = job->part.size; /* only its end told */
    if (job->part.size == job->total && (err == 0 || !job->part_only)) {
        job_verify(job);
        return;
    }
    if (err == 0)
        failed_set(&job->end, ERR_CLOSED, 0, "the upstream sent less than it promised");
    job_cut(job);
}

static void on_done(struct remote_request *r, int err, const struct upstream_head *head,
                    const struct fetch_failure *why)
{
    struct job *job = CONTAINER_OF(r, struct job, request);

    (void)head;
    if (job->end.err == 0)
        failed_set(&job->end, job->part_only && job_has_all(job) ? 0 : err, why->retry_after_s,
                   why->reason);
    if (job->phase == JOB_SPACE || job->phase == JOB_STREAM) {
        job_move(job, JOB_DRAIN);
        job_drain(job);
    } else if (job->phase == JOB_CHECK && job->end.err == 0) {
        job->total = job->part.size;
        job_verify(job);
    } else {
        job_cut(job);
    }
}

static void part_done(struct part *part, enum part_step step, int err)
{
    struct job *job = CONTAINER_OF(part, struct job, part);

    if (step == PART_PLACE) {
        job_placed(job, err);
        return;
    }
    if (err != 0) {
        job_fail(job, err, 0,
                 err == ERR_NO_SPACE    ? "there is not enough space for it in the blob store"
                 : err == ERR_READ_ONLY ? "the blob store is read-only"
                                        : "its file cannot be written",
                 true);
        return;
    }
    if (step == PART_OPEN) {
        FAIL_POINT(fetcher_opened);
        job_attempt(job);
        return;
    }
    if (step == PART_RESERVE) {
        if (job->phase == JOB_SPACE)
            job_move(job, JOB_STREAM);
        job_ready(job);
    } else {
        FAIL_POINT(fetcher_written);
        job_publish(job);
    }
    job_write(job);
    remote_resume(&job->request);
    if (job->phase == JOB_DRAIN)
        job_drain(job);
}

static void job_attempt(struct job *job)
{
    struct remote_request *r = &job->request;
    uint64_t at = job->part.size + (job->part_only ? job->first : 0);
    char text[DIGEST_TEXT_MAX];
    bool first = job->phase == JOB_OPEN;
    size_t n = 0;

    snprintf(job->path, sizeof(job->path), "blobs/%s", digest_text(&job->digest, text));
    r->image = TAILQ_FIRST(&job->images)->name;
    r->path = job->path;
    memset(r->extra, 0, sizeof(r->extra));
    r->head = first && !job->part_only && job->part.size > 0 && part_good(&job->part);
    if (!r->head && (at > 0 || job->part_only)) {
        if (job->part_only)
            snprintf(job->range, sizeof(job->range), "Range: bytes=%" PRIu64 "-%" PRIu64, at,
                     job->last);
        else
            snprintf(job->range, sizeof(job->range), "Range: bytes=%" PRIu64 "-", at);
        r->extra[n++] = job->range;
        /* An entity tag is comparable only with those of the remote that gave it. */
        if (job->etag[0] && job->proxy->conf->remote_count == 1) {
            snprintf(job->if_range, sizeof(job->if_range), "If-Range: %s", job->etag);
            r->extra[n++] = job->if_range;
        }
    }
    r->on_head = r->head ? NULL : on_head;
    r->on_body = on_body;
    r->resumes = true;
    r->on_done = on_done;
    job->progress = job->part.size;
    job->skip = 0;
    job->end.err = 0;
    job_move(job, r->head ? JOB_CHECK : first ? JOB_CONNECT : JOB_RESUME);
    remote_start(r);
}

void job_get(struct job *job)
{
    job_move(job, JOB_OPEN);
    job->part.done = part_done;
    job->retry.fire = retry_fire;
    part_open(&job->part);
}
