/*
 * upload_body.c - the bytes of an upload: written, hashed, verified, published.
 *
 * Runs in workers; what blocks (writing, hashing, fdatasync, rename) runs on the
 * pool, writing while the next bytes come (pipe.h). The order is that of
 * doc/architecture.md: file durable under its digest, then the catalog's record,
 * then the answer. A crash before the record leaves an orphan file, after it a
 * blob that merely was not acknowledged.
 */
#include "api/upload.h"

#include "api/hashes.h"
#include "api/pipe.h"
#include "api/quota.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Disk and quota are looked at again whenever this much came. */
#define CHECK_BYTES (8u << 20)

static const char *repo_name(const struct api_call *call)
{
    return call->route.repo->name;
}

bool upload_room(struct api_call *call, uint64_t size, uint64_t more, enum problem *problem_r,
                 const char **text_r)
{
    const struct conf_repo *repo = call->route.repo;
    const struct conf_store *store = repo->store;
    const struct upload *u = call->op;
    uint64_t free_bytes;

    *text_r = NULL;
    if (repo->max_blob > 0 && size > repo->max_blob) {
        *problem_r = PROBLEM_TOO_BIG;
        *text_r = "the blob is larger than this repository allows";
        return false;
    }
    if (quota_refuses(call, size, &u->wanted)) {
        *problem_r = PROBLEM_DENIED;
        *text_r = quota_text(call);
        return false;
    }
    if (store_free_bytes(api_store(call), &free_bytes) == 0 && store->keep_free > 0 &&
        (free_bytes < store->keep_free || free_bytes - store->keep_free < more)) {
        *problem_r = PROBLEM_NO_SPACE;
        *text_r = "the disk is too full for this content";
        return false;
    }
    return true;
}

bool upload_admit(struct api_call *call, uint64_t size)
{
    const struct upload *u = call->op;
    enum problem problem;
    const char *text;

    if (upload_room(call, size, size - u->size, &problem, &text))
        return true;
    upload_release(call);
    problem_answer(call->r, problem, text ? "%s" : NULL, text);
    return false;
}

/* Gives the session up: limits were passed or the content is wrong. */
static void session_drop(struct api_call *call)
{
    struct upload *u = call->op;

    if (store_upload_unlink(api_store(call), u->owner, call->route.image, u->id) != 0)
        log_warn("cannot remove an upload session", "id=%s req=%s", u->id, call->r->id);
    else
        upload_gone(call);
}

/* Whose session it is, when its request is gone or going. */
struct session {
    struct api *api;
    const struct store *store;
    char *owner, *image;
    char id[STORE_UPLOAD_ID_LEN + 1];
};

/* What is known of the hash, for whoever takes the next request. */
static void session_remember(void *ctx, uint64_t size, struct digest_ctx **hash)
{
    struct session *s = ctx;
    struct digest so_far;

    if (*hash && size > 0) {
        digest_ctx_peek(*hash, &so_far);
        if (store_upload_sum_save(s->store, s->owner, s->image, s->id, size, &so_far) != 0)
            log_debug("cannot save the hash of an upload: it will be read again", "id=%s", s->id);
        api_hashes_keep(s->api->hashes, s->id, size, *hash);
        *hash = NULL;
    }
    free(s->owner);
    free(s->image);
    free(s);
}

/* The request goes, its session stays. */
static void session_leave(struct api_call *call)
{
    struct upload *u = call->op;
    struct session *s = mem_alloc(sizeof(*s));

    s->api = call->api;
    s->store = api_store(call);
    s->owner = mem_strdup(u->owner);
    s->image = mem_strdup(call->route.image);
    memcpy(s->id, u->id, sizeof(s->id));
    pipe_leave(&u->pipe, session_remember, s);
}

static int body_refuse(struct api_call *call, enum problem problem, const char *text)
{
    session_drop(call);
    upload_release(call);
    problem_answer(call->r, problem, text ? "%s" : NULL, text);
    return ERR_CLOSED;
}

/* The disk said no: keep what is durable, so that the client may go on later. Of a request that
 * was to bring all the rest nothing is kept: it comes again as a whole. */
static void body_write_failed(struct api_call *call, int err)
{
    struct upload *u = call->op;

    log_error("cannot write an upload", "store=%s err=%s req=%s", call->route.repo->store->name,
              log_quote(err_text(err)), call->r->id);
    if (u->part == UPLOAD_WHOLE || !pipe_clean(u->pipe))
        session_drop(call);
    else if (u->part == UPLOAD_LAST)
        pipe_undo(&u->pipe);
    upload_release(call);
    problem_answer(call->r, problem_from_err(err), NULL);
}

static int body_data(struct http_request *r, const void *data, size_t len)
{
    struct api_call *call = r->handler_data;
    struct upload *u = call->op;
    enum problem problem;
    const char *text;

    if (u->size + len > u->expected_end)
        return body_refuse(call, PROBLEM_SIZE_INVALID, "more bytes than Content-Range announced");
    if (u->size + len - u->checked >= CHECK_BYTES ||
        (call->route.repo->max_blob > 0 && u->size + len > call->route.repo->max_blob)) {
        if (!upload_room(call, u->size + len, len, &problem, &text))
            return body_refuse(call, problem, text);
        u->checked = u->size + len;
    }
    u->size += len;
    if (!pipe_put(u->pipe, data, len))
        http_body_pause(r);
    return 0;
}

static void *body_room(struct http_request *r, size_t *len_r)
{
    struct api_call *call = r->handler_data;
    struct upload *u = call->op;

    return pipe_room(u->pipe, len_r);
}

/* On a thread: the rest of a small body, the digest, the file to its place. */
static int finish(struct api_call *call)
{
    struct upload *u = call->op;
    char session[STORE_UPLOAD_KEY_MAX];
    struct digest found;
    int err = pipe_write_rest(u->pipe);

    if (err != 0)
        return err;
    if (u->wanted.alg == DIGEST_SHA256 && pipe_hash(u->pipe))
        digest_ctx_peek(pipe_hash(u->pipe), &found);
    else if (u->wanted.alg != DIGEST_SHA256 || store_upload_rewound(pipe_fd(u->pipe)) ||
             store_upload_sum_load(api_store(call), u->owner, call->route.image, u->id, u->size,
                                   &found) != 0)
        err = digest_of_file(u->wanted.alg, pipe_fd(u->pipe), u->size, &found);
    if (err != 0)
        return err;
    if (!digest_equal(&found, &u->wanted))
        return ERR_MISMATCH;
    if (u->part != UPLOAD_WHOLE && store_upload_key(u->id, u->owner, call->route.image, session))
        placed_note(call->api->placed, session, &u->wanted);
    return store_upload_finish(api_store(call), pipe_fd(u->pipe), u->owner, call->route.image,
                               u->id, &u->wanted);
}

static void job_work(struct pool_job *job)
{
    struct api_call *call = api_call_of_job(job);
    struct upload *u = call->op;

    u->job_err = finish(call);
}

void upload_answer_committed(struct api_call *call, int err)
{
    const struct upload *u = call->op;

    if (err == 0)
        upload_answer_created(call, &u->wanted);
    else if (err == ERR_QUOTA)
        quota_answer(call);
    else
        problem_answer(call->r, problem_from_err(err), NULL);
}

static void committed(struct ask *ask, int err, struct msg_reader *reply, int fd)
{
    struct api_call *call = api_call_of_ask(ask);

    FAIL_POINT(worker_commit_done);
    upload_answer_committed(call, api_reply_err(err, reply, fd));
}

static void job_done(struct pool_job *job)
{
    struct api_call *call = api_call_of_job(job);
    struct upload *u = call->op;
    struct push_target target = {
        .repo = repo_name(call), .image = call->route.image, .digest = u->wanted, .size = u->size};

    if (u->job_err == 0)
        upload_gone(call);
    else if (u->job_err == ERR_MISMATCH || u->part == UPLOAD_WHOLE || !pipe_clean(u->pipe))
        session_drop(call);
    upload_release(call);
    if (u->job_err == ERR_MISMATCH) {
        problem_answer(call->r, PROBLEM_DIGEST_INVALID,
                       "the uploaded content has another digest than the request names");
    } else if (u->job_err != 0) {
        log_error("cannot finish an upload", "store=%s err=%s req=%s",
                  call->route.repo->store->name, log_quote(err_text(u->job_err)), call->r->id);
        problem_answer(call->r, problem_from_err(u->job_err), NULL);
    } else {
        push_target_put(api_ask_begin(call, MSG_BLOB_COMMIT), &target);
        api_ask(call, committed);
        FAIL_POINT(worker_commit_asked);
    }
}

static void upload_publish(struct api_call *call)
{
    upload_move(call->op, UPLOAD_PLACE);
    call->job.work = job_work;
    call->job.done = job_done;
    pool_submit(call->api->pool, &call->job);
}

/* Fewer bytes than announced: none of them count. */
static void body_short(struct api_call *call)
{
    struct upload *u = call->op;

    if (ftruncate(pipe_fd(u->pipe), (off_t)u->start) != 0)
        session_drop(call);
    u->size = u->start;
    upload_release(call);
    problem_answer(call->r, PROBLEM_SIZE_INVALID, "fewer bytes than Content-Range announced");
}

/* Everything came and is in the file. */
static void body_written(struct api_call *call)
{
    struct upload *u = call->op;

    if (u->expected_end != UINT64_MAX && u->size != u->expected_end) {
        body_short(call);
    } else if (u->part != UPLOAD_CHUNK) {
        upload_publish(call);
    } else {
        session_leave(call);
        upload_answer_accepted(call, 202);
    }
}

static void pipe_ready(void *ctx, int err)
{
    struct api_call *call = ctx;
    const struct upload *u = call->op;

    if (err != 0)
        body_write_failed(call, err);
    else if (u->phase == UPLOAD_WRITE)
        body_written(call);
    else
        http_body_resume(call->r);
}

/* What came stays and GET tells how much. Only a PUT, which brings all the rest, comes again as a
 * whole, and must find the session as it was. */
static void body_broken(struct api_call *call)
{
    struct upload *u = call->op;

    if (u->phase != UPLOAD_BODY)
        return; /* it was refused before */
    if (u->part == UPLOAD_WHOLE)
        session_drop(call);
    else if (u->part == UPLOAD_LAST)
        pipe_undo(&u->pipe);
    else
        session_leave(call);
    upload_release(call);
}

static void body_end(struct http_request *r, int err)
{
    struct api_call *call = r->handler_data;
    struct upload *u = call->op;

    if (err != 0) {
        body_broken(call);
    } else if (u->part != UPLOAD_CHUNK && pipe_idle(u->pipe) && u->expected_end == UINT64_MAX) {
        upload_publish(call); /* with what is not written yet */
    } else {
        upload_move(u, UPLOAD_WRITE);
        pipe_end(u->pipe);
    }
}

void upload_receive(struct api_call *call)
{
    struct upload *u = call->op;
    struct pipe_setup setup = {.pipes = call->api->pipes,
                               .fd = call->fd,
                               .hash = u->hash,
                               .size = u->size,
                               .ready = pipe_ready,
                               .ctx = call};

    if (u->part != UPLOAD_CHUNK && !call->r->chunked && call->r->length <= PIPE_PUT_MAX)
        setup.whole = call->r->length; /* a small blob is one job */
    upload_move(u, UPLOAD_BODY);
    call->fd = -1;
    u->hash = NULL;
    u->pipe = pipe_new(&setup);
    u->checked = u->size;
    if (!call->r->chunked && call->r->length == 0) {
        body_end(call->r, 0);
        return;
    }
    call->r->on_body = body_data;
    call->r->on_body_room = body_room;
    call->r->on_body_end = body_end;
    http_body_start(call->r);
}
