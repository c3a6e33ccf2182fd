/*
 * v1.c - what is left of Docker's V1 registry API: ping, login, search
 * (doc/protocol.md, "The V1 API").
 *
 * Runs in workers. Engines still ask _ping before a search, and old ones log in
 * at users. Images are never served this way: V1 names content by random ids. A crash here costs
 * requests.
 */
#include "api/api.h"

#include "api/challenge.h"
#include "api/login.h"

#include <string.h>

#define V1_VERSION "0.6.0"

static bool reads(const struct http_request *r)
{
    return r->method == HTTP_GET || r->method == HTTP_HEAD;
}

static void answer_text(struct api_call *call, int status, const char *json)
{
    http_header_add(call->r, "Content-Type", "application/json");
    http_answer_memory(call->r, status, json, strlen(json));
}

/* Asked without a login, and before one is offered. */
static void ping(struct api_call *call)
{
    if (!reads(call->r)) {
        problem_method(call->r, "GET, HEAD");
        return;
    }
    /* An index and a registry in one: engines then send their login with a search. */
    http_header_add(call->r, "X-Docker-Registry-Standalone", "true");
    answer_text(call, 200, "true");
}

/* The login of engines before V2: POST with the login as JSON would create an
 * account; told that it may not, the engine asks GET with the same login as Basic,
 * and that answer counts. The body of the POST is not looked at. */
static void users(struct api_call *call)
{
    if (call->r->method == HTTP_POST)
        answer_text(call, 401, "\"accounts are not created here; log in with one that exists\"");
    else if (reads(call->r) && call->user && !call->user->known)
        challenge_answer(call, CHALLENGE_ANONYMOUS);
    else if (reads(call->r))
        answer_text(call, 200, "\"OK\"");
    else
        problem_method(call->r, "GET, HEAD, POST");
}

static void search(struct api_call *call)
{
    if (reads(call->r))
        api_v1_search(call);
    else
        problem_method(call->r, "GET, HEAD");
}

void api_v1(struct api_call *call)
{
    const char *path = call->r->path + strlen("/v1/");

    http_header_add(call->r, "X-Docker-Registry-Version", V1_VERSION);
    if (strcmp(path, "_ping") == 0)
        ping(call);
    else if (strcmp(path, "users/") == 0 || strcmp(path, "users") == 0)
        users(call);
    else if (strcmp(path, "search") == 0)
        search(call);
    else
        problem_answer(call->r, PROBLEM_NAME_UNKNOWN,
                       "of the V1 API there are /v1/_ping, /v1/users/ and /v1/search; images are "
                       "at /v2/");
}
