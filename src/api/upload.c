/*
 * upload.c - the endpoints of upload sessions (doc/protocol.md, "Upload sessions").
 *
 * Runs in workers. A session is nothing but its file: any worker can go on with
 * it, no memory is held between requests, and a crash leaves the bytes that
 * were written. The file is locked while a request writes it.
 */
#include "api/upload.h"

#include "api/base_url.h"
#include "api/hashes.h"
#include "api/login.h"
#include "api/members.h"
#include "api/pipe.h"
#include "api/rights.h"
#include "api/upstream.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "oci/name.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Of a store's upload sessions one holder may have this part, but at least so many. */
#define SHARES    4
#define SHARE_MIN 64

STATES_DEFINE(upload_phases, "a request of an upload", UPLOAD_PHASES);

void upload_move(struct upload *u, enum upload_phase phase)
{
    states_must(&upload_phases, u->phase, phase);
    u->phase = phase;
}

static void upload_finish_call(struct api_call *call)
{
    struct upload *u = call->op;

    if (u->hash)
        digest_ctx_free(&u->hash);
    if (u->pipe)
        pipe_leave(&u->pipe, NULL, NULL);
}

static const char *upload_owner(const struct api_call *call)
{
    const char *repo = call->route.repo->name;

    if (!call->user || !call->user->known)
        return repo;
    /* No repository has a line feed in its name. */
    return mem_arena_printf(call->r->arena, "%s\n%s", repo, call->user->name);
}

static struct upload *upload_new(struct api_call *call)
{
    struct upload *u = mem_arena_alloc(call->r->arena, sizeof(*u));

    u->owner = upload_owner(call);
    u->expected_end = UINT64_MAX;
    call->op = u;
    call->finish = upload_finish_call;
    return u;
}

void upload_add_headers(struct api_call *call)
{
    const struct upload *u = call->op;

    /* The offset: where a request to this URL counts from (upload_replay.c). */
    http_header_add(call->r, "Location", "%s%s/blobs/uploads/%s?offset=%llu",
                    api_location_base(call), call->route.image, u->id, (unsigned long long)u->size);
    http_header_add(call->r, "Range", "0-%llu", (unsigned long long)(u->size ? u->size - 1 : 0));
    http_header_add(call->r, "Docker-Upload-UUID", "%s", u->id);
}

void upload_release(struct api_call *call)
{
    struct upload *u = call->op;

    upload_move(u, UPLOAD_LET_GO);
    if (u->pipe)
        pipe_leave(&u->pipe, NULL, NULL);
    if (call->fd >= 0)
        close(call->fd);
    call->fd = -1;
}

void upload_answer_accepted(struct api_call *call, int status)
{
    upload_add_headers(call);
    upload_release(call);
    http_answer_empty(call->r, status);
}

void upload_answer_created(struct api_call *call, const struct digest *digest)
{
    char text[DIGEST_TEXT_MAX];

    digest_text(digest, text);
    http_header_add(call->r, "Location", "%s%s/blobs/%s", api_location_base(call),
                    call->route.image, text);
    http_header_add(call->r, "Docker-Content-Digest", "%s", text);
    http_answer_empty(call->r, 201);
}

void upload_gone(struct api_call *call)
{
    const struct upload *u = call->op;

    sessions_drop(call->api->sessions, api_store_place(call), sessions_tag_of(u->id));
}

/* Nobody holds more than a share of a store's sessions, so that others find some; *tag_r says who
 * began it. Answers when there is none. */
static bool session_count(struct api_call *call, uint32_t *tag_r)
{
    char holder[FETCH_CLIENT_MAX + 1];
    uint64_t max = call->api->conf->max_uploads;
    uint64_t share = max / SHARES > SHARE_MIN ? max / SHARES : SHARE_MIN;
    int err;

    *tag_r = sessions_tag(store_id(api_store(call)), upstream_client(call, holder));
    err = sessions_add(call->api->sessions, api_store_place(call), *tag_r, share, max);
    if (err == ERR_QUOTA)
        problem_answer(call->r, PROBLEM_TOO_MANY_UPLOADS,
                       "%s has %llu uploads open, as many as one may have: finish them, cancel "
                       "them (DELETE), or wait until they expire",
                       holder, (unsigned long long)share);
    else if (err != 0)
        problem_answer(call->r, PROBLEM_TOO_MANY_UPLOADS, NULL);
    return err == 0;
}

/* Makes the session's file; answers when it cannot. `wanted`: the digest of what comes; NULL: not
 * known yet. */
static bool session_create(struct api_call *call, const struct digest *wanted)
{
    struct upload *u = upload_new(call);
    uint32_t tag;
    int err;

    if (wanted)
        u->wanted = *wanted;
    if (!upload_admit(call, call->r->has_length ? call->r->length : 0) ||
        !session_count(call, &tag))
        return false;
    err = store_upload_create(api_store(call), u->owner, call->route.image, tag, u->id, &call->fd);
    if (err != 0) {
        sessions_drop(call->api->sessions, api_store_place(call), tag);
        call->fd = -1;
        log_error("cannot create an upload session", "store=%s err=%s req=%s",
                  call->route.repo->store->name, log_quote(err_text(err)), call->r->id);
        problem_answer(call->r, problem_from_err(err), NULL);
        return false;
    }
    return true;
}

static void session_begin(struct api_call *call)
{
    if (session_create(call, NULL))
        upload_answer_accepted(call, 202);
}

/* POST ?digest=: the whole blob in one request; without a body it is a client
 * that wants to negotiate, unless the blob is the empty one. */
static void post_whole(struct api_call *call, const char *digest)
{
    struct digest wanted, empty;
    bool has_body = call->r->chunked || call->r->length > 0;
    struct upload *u;

    if (!api_digest(call, digest, &wanted))
        return;
    digest_of(wanted.alg, "", 0, &empty);
    if (!has_body && !digest_equal(&wanted, &empty)) {
        session_begin(call);
        return;
    }
    if (!session_create(call, &wanted))
        return;
    u = call->op;
    u->part = UPLOAD_WHOLE;
    u->hash = digest_ctx_new(DIGEST_SHA256);
    upload_receive(call);
}

struct mount_try {
    struct digest digest;
    const char *from; /* image; "": anywhere */
    struct members members;
};

static void mount_next(struct api_call *call);

static void mounted(struct ask *ask, int err, struct msg_reader *reply, int fd)
{
    struct api_call *call = api_call_of_ask(ask);
    struct mount_try *t = call->op;

    err = api_reply_err(err, reply, fd);
    if (err == 0) {
        upload_answer_created(call, &t->digest);
    } else if (err == ERR_TIMEOUT || err == ERR_BUSY) {
        problem_answer(call->r, PROBLEM_UNAVAILABLE, NULL);
    } else {
        t->members.at++;
        mount_next(call);
    }
}

/* Member by member when the source is a group. Not there, or not for this caller: exactly
 * the same answer. */
static void mount_next(struct api_call *call)
{
    struct mount_try *t = call->op;
    struct push_mount mount = {
        .to = {.repo = call->route.repo->name, .image = call->route.image, .digest = t->digest},
        .from_repo = "",
        .from_image = t->from};

    if (t->members.at == t->members.count) {
        session_begin(call);
        return;
    }
    if (*t->from)
        mount.from_repo = t->members.repos[t->members.at]->name;
    push_mount_put(api_ask_begin(call, MSG_BLOB_MOUNT), &mount);
    api_ask(call, mounted);
}

/* `from` names an image as the client sees it: on a connector where the first
 * component is the repository, it may lie in another one. */
static void mount_from(struct api_call *call, const char *from, struct mount_try *t)
{
    const struct conf_repo *repo = call->group ? call->group : call->route.repo;
    const char *slash;

    t->from = from ? from : "";
    if (!*t->from) {
        /* Any image would do, also one this caller must not know of. */
        t->members.count = api_may_read_all(call) ? 1 : 0;
        return;
    }
    if (strcmp(call->route.base, "/v2/") != 0 && strncmp(call->route.base, "/v2/", 4) == 0) {
        slash = strchr(from, '/');
        repo = slash ? conf_repo_by_name(call->api->conf, from, (size_t)(slash - from)) : NULL;
        t->from = slash ? slash + 1 : from;
    }
    if (repo) /* members that this caller may read; none: the answer is the same as for absent */
        members_find(call, repo, t->from, &t->members);
}

static void post_mount(struct api_call *call, const char *digest)
{
    struct mount_try *t = mem_arena_alloc(call->r->arena, sizeof(*t));
    const char *from;

    if (!api_query(call, "from", &from) || !api_digest(call, digest, &t->digest))
        return;
    mount_from(call, from, t);
    if (*t->from && !name_image_ok(t->from, strlen(t->from))) {
        problem_answer(call->r, PROBLEM_NAME_INVALID, "parameter from is not a repository name");
        return;
    }
    call->op = t;
    mount_next(call);
}

static void uploads_post(struct api_call *call)
{
    const char *mount, *digest, *algorithm;

    if (!api_query(call, "mount", &mount) || !api_query(call, "digest", &digest) ||
        !api_query(call, "digest-algorithm", &algorithm))
        return;
    if (algorithm && !digest_alg_by_name(algorithm, strlen(algorithm))) {
        problem_answer(call->r, PROBLEM_DIGEST_INVALID,
                       "unknown digest-algorithm; this registry takes sha256 and sha512");
        return;
    }
    if (mount)
        post_mount(call, mount);
    else if (digest)
        post_whole(call, digest);
    else
        session_begin(call);
}

void api_uploads(struct api_call *call)
{
    if (call->r->method != HTTP_POST)
        problem_method(call->r, "POST");
    else if (api_may_push(call))
        uploads_post(call);
}

/* Opens the session's file. */
static int session_find(struct api_call *call, bool lock)
{
    struct upload *u = upload_new(call);
    int err;

    if (strlen(call->route.ref) == STORE_UPLOAD_ID_LEN)
        memcpy(u->id, call->route.ref, STORE_UPLOAD_ID_LEN);
    err = store_upload_open(api_store(call), u->owner, call->route.image, u->id, lock, &call->fd,
                            &u->size);
    u->start = u->size;
    if (err != 0)
        call->fd = -1;
    return err;
}

static void answer_no_session(struct api_call *call, int err)
{
    if (err == ERR_NOT_FOUND || err == ERR_INVALID)
        problem_answer(call->r, PROBLEM_UPLOAD_UNKNOWN, NULL);
    else if (err == ERR_BUSY)
        problem_answer(call->r, PROBLEM_UPLOAD_BUSY, NULL);
    else
        problem_answer(call->r, problem_from_err(err), NULL);
}

/* The same; answers when there is none or another request writes it. */
static bool session_open(struct api_call *call, bool lock)
{
    int err = session_find(call, lock);

    if (err == 0)
        return true;
    answer_no_session(call, err);
    return false;
}

void upload_answer_range(struct api_call *call)
{
    upload_add_headers(call);
    upload_release(call);
    problem_answer(call->r, PROBLEM_UPLOAD_RANGE, NULL);
}

static bool range_number(const char **text, char end, uint64_t *value_r)
{
    size_t len = strspn(*text, "0123456789");
    int err = str_parse_u64(*text, len, value_r);

    *text += len;
    if (err != 0 || **text != end)
        return false;
    *text += end ? 1 : 0;
    return true;
}

/* "<first>-<last>"; "bytes " before and "/total" behind are tolerated. */
static bool content_range_parse(const char *header, uint64_t *first_r, uint64_t *last_r)
{
    const char *slash;
    char text[64];

    if (strncmp(header, "bytes ", 6) == 0 || strncmp(header, "bytes=", 6) == 0)
        header += 6;
    slash = strchr(header, '/');
    if ((slash ? (size_t)(slash - header) : strlen(header)) >= sizeof(text))
        return false;
    snprintf(text, sizeof(text), "%.*s", (int)(slash ? slash - header : 63), header);
    header = text;
    return range_number(&header, '-', first_r) && range_number(&header, 0, last_r) &&
           *first_r <= *last_r && *last_r < INT64_MAX;
}

/* Does the chunk begin where the session ends, and is it as long as it says? */
static bool chunk_fits(struct api_call *call)
{
    const char *header = http_header_get(call->r, "Content-Range");
    struct upload *u = call->op;
    uint64_t first, last;

    if (!header)
        return true;
    if (call->r->method == HTTP_PUT && !call->r->chunked && call->r->length == 0)
        return true; /* nothing comes: some clients repeat the header of their last chunk */
    if (!content_range_parse(header, &first, &last) || first != u->size) {
        upload_answer_range(call);
        return false;
    }
    u->expected_end = last + 1;
    if (call->r->has_length && call->r->length != last - first + 1) {
        upload_add_headers(call);
        upload_release(call);
        problem_answer(call->r, PROBLEM_SIZE_INVALID,
                       "Content-Range and Content-Length do not agree");
        return false;
    }
    return true;
}

static void take_hash(struct api_call *call)
{
    struct upload *u = call->op;

    if (u->size == 0)
        u->hash = digest_ctx_new(DIGEST_SHA256);
    else if (!store_upload_rewound(call->fd))
        u->hash = api_hashes_take(call->api->hashes, u->id, u->size);
}

/* The session stands where this request's bytes begin. */
static void session_take(struct api_call *call)
{
    struct upload *u = call->op;

    if (!upload_admit(call, u->size + call->r->length))
        return;
    take_hash(call);
    upload_receive(call);
}

static void session_patch(struct api_call *call)
{
    if (session_open(call, true) && chunk_fits(call))
        upload_count_from(call, session_take);
}

static void session_put(struct api_call *call)
{
    const char *digest;
    struct upload *u;
    bool named;
    int err;

    if (!api_query(call, "digest", &digest))
        return;
    err = session_find(call, true);
    u = call->op;
    named = digest && digest_parse(digest, &u->wanted) == 0;
    if (err == ERR_NOT_FOUND && named) {
        upload_again(call);
    } else if (err != 0) {
        answer_no_session(call, err);
    } else if (!named) {
        upload_release(call);
        api_digest(call, NULL, &u->wanted);
    } else if (chunk_fits(call)) {
        u->part = UPLOAD_LAST;
        upload_count_from(call, session_take);
    }
}

static void session_status(struct api_call *call)
{
    if (session_open(call, false))
        upload_answer_accepted(call, 204);
}

static void session_cancel(struct api_call *call)
{
    struct upload *u;
    int err;

    if (!session_open(call, false))
        return;
    u = call->op;
    err = store_upload_unlink(api_store(call), u->owner, call->route.image, u->id);
    if (err == 0)
        upload_gone(call);
    if (err != 0 && err != ERR_NOT_FOUND)
        problem_answer(call->r, problem_from_err(err), NULL);
    else
        http_answer_empty(call->r, 204);
}

void api_upload(struct api_call *call)
{
    switch (call->r->method) {
    case HTTP_GET:
    case HTTP_HEAD:
        session_status(call);
        break;
    case HTTP_PATCH:
        if (api_may_push(call))
            session_patch(call);
        break;
    case HTTP_PUT:
        if (api_may_push(call))
            session_put(call);
        break;
    case HTTP_DELETE:
        session_cancel(call);
        break;
    default:
        problem_method(call->r, "GET, HEAD, PATCH, PUT, DELETE");
    }
}
