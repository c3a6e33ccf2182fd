/*
 * api.c - from a routed request to its handler, and what handlers share.
 *
 * Runs in workers, on the loop. Owns nothing beyond a request's life.
 */
#include "api/api.h"

#include "api/audit.h"
#include "api/burden.h"
#include "api/challenge.h"
#include "api/hot.h"
#include "api/login.h"
#include "api/rights.h"
#include "base/container.h"
#include "base/log.h"
#include "base/mem.h"
#include "oci/name.h"

#include <string.h>
#include <unistd.h>

#define DISCOVER_BODY "{\"extensions\":[]}"

static void call_finish(struct http_request *r)
{
    struct api_call *call = r->handler_data;

    audit_request(call);
    if (call->finish)
        call->finish(call);
    login_release(call);
    if (call->fd >= 0)
        close(call->fd);
    if (call->object)
        hot_release(call->object);
    burden_release(call);
    str_free(&call->body);
}

static struct api_call *call_new(struct api *api, struct http_request *r)
{
    struct api_call *call = mem_arena_alloc(r->arena, sizeof(*call));

    call->api = api;
    call->r = r;
    call->fd = -1;
    r->handler_data = call;
    r->on_finish = call_finish;
    return call;
}

static void log_about(struct api_call *call)
{
    static struct str fields; /* one thread, and the memory is used again */

    str_reset(&fields);
    str_puts(&fields, "repo=");
    str_puts(&fields, call->route.repo ? call->route.repo->name : "-");
    if (call->route.image) {
        str_puts(&fields, " image=");
        str_puts(&fields, call->route.image); /* its grammar needs no quoting */
    }
    if (call->route.ref && *call->route.ref) {
        str_puts(&fields, " ref=");
        log_append_value(&fields, call->route.ref);
    }
    if (call->user && call->user->known)
        str_printf(&fields, " user=%s", call->user->name);
    call->r->log_fields = mem_arena_strndup(call->r->arena, fields.data, fields.len);
}

static bool reads(const struct http_request *r)
{
    return r->method == HTTP_GET || r->method == HTTP_HEAD;
}

static void answer_fixed(struct api_call *call, const char *body)
{
    if (!reads(call->r)) {
        problem_method(call->r, "GET, HEAD");
        return;
    }
    http_header_add(call->r, "Content-Type", "application/json");
    http_answer_memory(call->r, 200, body, strlen(body));
}

static void handle_manifest(struct api_call *call)
{
    if (reads(call->r))
        api_manifest_read(call);
    else if (call->r->method == HTTP_PUT)
        api_manifest_put(call);
    else if (call->r->method == HTTP_DELETE)
        api_manifest_delete(call);
    else
        problem_method(call->r, "GET, HEAD, PUT, DELETE");
}

static void handle_list(struct api_call *call, void (*handler)(struct api_call *call))
{
    if (reads(call->r))
        handler(call);
    else
        problem_method(call->r, "GET, HEAD");
}

static void dispatch(struct api_call *call)
{
    switch (call->route.kind) {
    case ROUTE_PING:
        answer_fixed(call, "{}");
        break;
    case ROUTE_DISCOVER:
        answer_fixed(call, DISCOVER_BODY);
        break;
    case ROUTE_CATALOG:
        handle_list(call, api_catalog);
        break;
    case ROUTE_TOKEN:
        api_token(call);
        break;
    case ROUTE_TAGS:
        handle_list(call, api_tags);
        break;
    case ROUTE_REFERRERS:
        handle_list(call, api_referrers);
        break;
    case ROUTE_BLOB:
        api_blob(call);
        break;
    case ROUTE_UPLOADS:
        api_uploads(call);
        break;
    case ROUTE_UPLOAD:
        api_upload(call);
        break;
    case ROUTE_MANIFEST:
        handle_manifest(call);
        break;
    }
}

/* Pushes into a group land in one member; what a remote has changes there alone. */
static bool writes_allowed(struct api_call *call)
{
    const struct conf_repo *repo = call->route.repo;
    bool uploads = call->route.kind == ROUTE_UPLOADS || call->route.kind == ROUTE_UPLOAD;

    if (!repo || repo->kind == CONF_HOSTED || !call->route.image || (!uploads && reads(call->r)))
        return true;
    if (repo->kind == CONF_GROUP && repo->group->push_to &&
        (uploads || call->r->method != HTTP_DELETE)) {
        call->group = repo;
        call->route.repo = repo->group->push_to;
        if (!api_may(call, call->route.repo, call->route.image, RIGHT_PUSH)) {
            problem_answer(call->r, PROBLEM_DENIED,
                           "no right to push %s into %s, where group %s keeps what is pushed",
                           call->route.image, call->route.repo->name, repo->name);
            return false;
        }
        if (call->route.repo->online)
            return true;
        problem_answer(call->r, PROBLEM_UNAVAILABLE,
                       "repository %s, where group %s keeps what is "
                       "pushed, is offline",
                       call->route.repo->name, repo->name);
        return false;
    }
    http_header_add(call->r, "Allow", "GET, HEAD");
    if (call->r->method == HTTP_DELETE)
        problem_answer(call->r, PROBLEM_UNSUPPORTED,
                       "repository %s is a %s: delete in the hosted repository itself", repo->name,
                       repo->kind == CONF_GROUP ? "group" : "proxy");
    else if (repo->kind == CONF_GROUP)
        problem_answer(call->r, PROBLEM_UNSUPPORTED,
                       "group %s takes no pushes: set push_to in its configuration, or push to "
                       "a hosted repository",
                       repo->name);
    else
        problem_answer(call->r, PROBLEM_UNSUPPORTED,
                       "repository %s is a proxy of a remote registry and takes no pushes: push "
                       "to a hosted repository, or to a group with push_to",
                       repo->name);
    return false;
}

/* What is pushed into a blob store whose path leads elsewhere would be found by nobody later. */
static bool store_takes(struct api_call *call)
{
    const struct conf_repo *repo = call->route.repo;
    const struct index_header *index = call->api->index.header;

    if (!repo || !repo->store || reads(call->r) || call->r->method == HTTP_DELETE || !index ||
        !atomic_load(&index->store_elsewhere[api_store_place(call)]))
        return true;
    problem_answer(call->r, PROBLEM_UNAVAILABLE,
                   "the disk of repository %s is not where it should be: nothing can be pushed "
                   "before it is back",
                   repo->name);
    return false;
}

static void go_on(struct api_call *call)
{
    log_about(call);
    if (call->route.ns)
        http_header_add(call->r, "OCI-Namespace", "%s", call->route.ns);
    if (call->api->logins && call->route.kind != ROUTE_TOKEN && !rights_admit(call))
        return;
    if (call->route.repo && !call->route.repo->online) {
        problem_answer(call->r, PROBLEM_UNAVAILABLE, "repository %s is offline",
                       call->route.repo->name);
        return;
    }
    if (!writes_allowed(call) || !store_takes(call))
        return;
    dispatch(call);
}

/* Where nothing is: which repositories there are is not told to everybody. */
static void lead_nowhere(struct api_call *call)
{
    const struct route_failure *why = &call->nowhere;

    if (call->user && !call->user->known && why->problem == PROBLEM_NAME_UNKNOWN)
        challenge_answer(call, CHALLENGE_ANONYMOUS);
    else
        problem_answer(call->r, why->problem, why->text ? "%s" : NULL, why->text);
}

void api_handle(struct api *api, struct http_request *r)
{
    struct api_call *call = call_new(api, r);
    bool found;

    http_header_put(r, "Docker-Distribution-Api-Version", "registry/2.0");
    if (api->conf->docker_v1_api && strncmp(r->path, "/v1/", 4) == 0) {
        if (api->logins)
            login_begin(call, api_v1);
        else
            api_v1(call);
        return;
    }
    found = route_find(api->conf, r, &call->route, &call->nowhere);
    if (!found) /* Whatever was recognised on the way: it is no route. */
        call->route = (struct route){.kind = ROUTE_PING, .base = "/v2/"};
    if (api->logins && !(found && call->route.kind == ROUTE_TOKEN))
        login_begin(call, found ? go_on : lead_nowhere);
    else if (found)
        go_on(call);
    else
        lead_nowhere(call);
}

void api_bad_request(struct http_request *r, int status, const char *reason)
{
    http_header_add(r, "Docker-Distribution-Api-Version", "registry/2.0");
    problem_answer_status(r, status, reason);
}

size_t api_store_place(const struct api_call *call)
{
    return (size_t)(call->route.repo->store - call->api->conf->stores);
}

const struct store *api_store(const struct api_call *call)
{
    return call->api->stores[api_store_place(call)];
}

bool api_may_push(struct api_call *call)
{
    if (call->route.repo->redeploy != CONF_REDEPLOY_READ_ONLY)
        return true;
    problem_answer(call->r, PROBLEM_DENIED, "repository %s is read-only", call->route.repo->name);
    return false;
}

bool api_may_delete(struct api_call *call)
{
    if (!api_may_push(call))
        return false;
    if (call->route.repo->delete_allowed)
        return true;
    http_header_add(call->r, "Allow", "GET, HEAD");
    problem_answer(call->r, PROBLEM_UNSUPPORTED, "repository %s does not allow deleting",
                   call->route.repo->name);
    return false;
}

struct msg_writer *api_ask_begin(struct api_call *call, enum msg_type type)
{
    atomic_fetch_add_explicit(&call->api->tally->asks, 1, memory_order_relaxed);
    return link_ask_begin(call->api->catalog, &call->ask, type);
}

void api_ask(struct api_call *call,
             void (*done)(struct ask *ask, int err, struct msg_reader *reply, int fd))
{
    call->ask.done = done;
    link_ask_send(call->api->catalog, &call->ask);
}

struct api_call *api_call_of_ask(struct ask *ask)
{
    return CONTAINER_OF(ask, struct api_call, ask);
}

struct api_call *api_call_of_job(struct pool_job *job)
{
    return CONTAINER_OF(job, struct api_call, job);
}

int api_reply_err(int err, struct msg_reader *reply, int fd)
{
    if (fd >= 0)
        close(fd);
    return err != 0 ? err : reply_err_get(reply);
}

static void answer_named(struct api_call *call, struct msg_reader *reply)
{
    struct digest parent;
    char text[DIGEST_TEXT_MAX];

    push_named_get(reply, &parent);
    if (msg_end(reply) != 0)
        problem_answer(call->r, PROBLEM_INTERNAL, NULL);
    else
        problem_answer(call->r, PROBLEM_NAMED,
                       "manifest %s of this image names it: delete that first "
                       "(delete_referenced of repository %s allows it)",
                       digest_text(&parent, text), call->route.repo->name);
}

void api_answer_deleted(struct api_call *call, int err, struct msg_reader *reply,
                        enum problem absent)
{
    if (err == ERR_NOT_FOUND && call->ask.repeated)
        err = 0; /* the first question was carried out, only its answer was lost */
    if (err == ERR_NOT_FOUND)
        problem_answer(call->r, absent, NULL);
    else if (err == ERR_CONFLICT)
        answer_named(call, reply);
    else if (err != 0)
        problem_answer(call->r, problem_from_err(err), NULL);
    else
        http_answer_empty(call->r, 202);
}

bool api_parameter(struct api_call *call, const char *form, const char *name, size_t nth,
                   const char **value_r)
{
    if (http_form_get(call->r->arena, form, name, nth, value_r) == 0)
        return true;
    problem_answer(call->r, PROBLEM_PARAMETER, "parameter %s is not properly encoded", name);
    return false;
}

bool api_query(struct api_call *call, const char *name, const char **value_r)
{
    return api_parameter(call, call->r->query, name, 0, value_r);
}

bool api_digest(struct api_call *call, const char *text, struct digest *digest_r)
{
    if (text && digest_parse(text, digest_r) == 0)
        return true;
    problem_answer(call->r, PROBLEM_DIGEST_INVALID,
                   "a digest is sha256:<64 hex digits> or sha512:<128 hex digits>, lower case");
    return false;
}

bool api_page(struct api_call *call, uint32_t absent, uint32_t max, uint32_t *n_r,
              const char **last_r)
{
    const char *n;
    uint64_t value;

    if (!api_query(call, "n", &n) || !api_query(call, "last", last_r))
        return false;
    if (!*last_r)
        *last_r = "";
    *n_r = absent;
    if (!n)
        return true;
    if (strspn(n, "0123456789") != strlen(n) || !*n) {
        problem_answer(call->r, PROBLEM_PAGINATION, NULL);
        return false;
    }
    if (str_parse_u64(n, strlen(n), &value) != 0 || value > max)
        value = max; /* also when it does not fit 64 bits */
    *n_r = (uint32_t)value;
    return true;
}

void api_answer_json(struct api_call *call, const char *content_type)
{
    http_header_add(call->r, "Content-Type", "%s", content_type);
    http_answer_memory(call->r, 200, call->body.data, call->body.len);
}
