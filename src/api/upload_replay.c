/*
 * upload_replay.c - requests of an upload that come a second time.
 *
 * Runs in workers. Whoever got no answer, or 503, sends the same request again: the clients of
 * oras, helm, flux, jib and `curl --retry` do. Two things make that harmless. A session's Location
 * carries how many bytes the session had, and a request without Content-Range counts from there:
 * what an earlier try left behind is cut off first. And a PUT whose session is over, because an
 * earlier try finished it, finds the blob here, or its file in its place (shm/placed.h), and has it
 * linked now. A crash between the mark that a session was cut, the cut and the bytes leaves a
 * session that is read again at its end; the request comes a third time.
 */
#include "api/upload.h"

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"

#include <string.h>
#include <time.h>

static bool has_body(const struct api_call *call)
{
    return call->r->chunked || call->r->length > 0;
}

static void rewind_work(struct pool_job *job)
{
    struct api_call *call = api_call_of_job(job);
    struct upload *u = call->op;

    u->job_err = store_upload_rewind(api_store(call), call->fd, u->owner, call->route.image, u->id,
                                     u->start);
}

static void rewind_done(struct pool_job *job)
{
    struct api_call *call = api_call_of_job(job);
    struct upload *u = call->op;

    if (u->job_err == 0) {
        u->placed_at(call);
        return;
    }
    log_error("cannot cut off what an earlier try of an upload left", "id=%s err=%s req=%s", u->id,
              log_quote(err_text(u->job_err)), call->r->id);
    upload_release(call);
    problem_answer(call->r, problem_from_err(u->job_err), NULL);
}

void upload_count_from(struct api_call *call, void (*next)(struct api_call *call))
{
    struct upload *u = call->op;
    const char *text;
    uint64_t offset;

    if (!api_query(call, "offset", &text)) {
        upload_release(call);
        return;
    }
    /* Content-Range says itself where its bytes belong; and without bytes nothing counts. */
    if (!text || !has_body(call) || http_header_get(call->r, "Content-Range")) {
        next(call);
        return;
    }
    if (str_parse_u64(text, strlen(text), &offset) != 0 || offset > u->size) {
        upload_answer_range(call);
        return;
    }
    if (offset == u->size) {
        next(call);
        return;
    }
    u->start = u->size = offset;
    u->placed_at = next;
    upload_move(u, UPLOAD_REWIND);
    call->job.work = rewind_work;
    call->job.done = rewind_done;
    pool_submit(call->api->pool, &call->job);
}

static void linked(struct ask *ask, int err, struct msg_reader *reply, int fd)
{
    struct api_call *call = api_call_of_ask(ask);

    upload_answer_committed(call, api_reply_err(err, reply, fd));
}

/* The blob is here: linked to this image, so that no other process need be asked. */
static bool is_here(struct api_call *call)
{
    const struct upload *u = call->op;
    const char *repo = call->route.repo->name;
    char text[DIGEST_TEXT_MAX];
    struct index_entry entry;

    /* Before the look, as every answer that says "here" (shm/recent.h). */
    recent_mark(call->api->recent, repo, call->route.image, &u->wanted, (uint64_t)time(NULL));
    return index_find(&call->api->index, INDEX_BLOB, repo, call->route.image,
                      digest_text(&u->wanted, text), &entry) == 0;
}

/* Its file got its place, and then nobody asked for the link, or nobody heard the answer. */
static bool was_placed(struct api_call *call, uint64_t *size_r)
{
    const struct upload *u = call->op;
    char session[STORE_UPLOAD_KEY_MAX];

    return store_upload_key(u->id, u->owner, call->route.image, session) &&
           placed_known(call->api->placed, session, &u->wanted) &&
           store_blob_size(api_store(call), &u->wanted, size_r) == 0;
}

static void answer_again(struct api_call *call)
{
    const struct upload *u = call->op;
    struct push_target target = {
        .repo = call->route.repo->name, .image = call->route.image, .digest = u->wanted};

    if (is_here(call)) {
        upload_answer_created(call, &u->wanted);
    } else if (was_placed(call, &target.size)) {
        push_target_put(api_ask_begin(call, MSG_BLOB_COMMIT), &target);
        api_ask(call, linked);
    } else {
        problem_answer(call->r, PROBLEM_UPLOAD_UNKNOWN, NULL);
    }
}

static int body_ignore(struct http_request *r, const void *data, size_t len)
{
    (void)r;
    (void)data;
    (void)len;
    return 0;
}

static void body_ignored(struct http_request *r, int err)
{
    if (err == 0)
        answer_again(r->handler_data);
}

void upload_again(struct api_call *call)
{
    uint64_t size;

    /* An answer before the body would reach few clients: they write first. But a stranger's
     * body is not taken for a session that never was. */
    if (!has_body(call) || (!is_here(call) && !was_placed(call, &size))) {
        answer_again(call);
        return;
    }
    call->r->on_body = body_ignore;
    call->r->on_body_end = body_ignored;
    http_body_start(call->r);
}
