/*
 * api.h - the registry's HTTP API: OCI distribution-spec 1.1.
 *
 * Runs in workers. A worker makes one struct api (setup.c) and hands every request to
 * api_handle(); each request becomes a struct api_call that lives in the
 * request's arena until the answer is out.
 */
#ifndef ENTREPOT_API_API_H
#define ENTREPOT_API_API_H

#include "api/route.h"
#include "base/pool.h"
#include "conf/conf.h"
#include "http/http.h"
#include "ipc/link.h"
#include "ipc/msg_push.h"
#include "ipc/role.h"
#include "shm/index_read.h"
#include "shm/placed.h"
#include "shm/recent.h"
#include "shm/sessions.h"
#include "shm/tally.h"
#include "store/store.h"

struct api_hashes;
struct pipes;
struct api_user;
struct login;
struct logins;
struct hot;
struct hot_object;
struct follows;
struct adopt;
struct burden;
struct burden_client;

struct api {
    const struct conf *conf;
    struct loop *loop;
    struct pool *pool;
    struct pool *reads; /* of files that are sent: a disk that hangs keeps no upload waiting */
    struct link *catalog;
    struct link *fetcher;    /* NULL: no proxy is configured */
    struct follows *follows; /* the same */
    struct index_map index;  /* header NULL: none yet */
    struct store *stores[INDEX_STORES_MAX];
    struct loop_timer stores_timer; /* those that are away are tried again */
    struct board *board;            /* progress of downloads, for `follows` */
    struct tally_page *tally;
    struct recent *recent;     /* marked when a client is told that it is here */
    struct placed *placed;     /* upload sessions that ended lately */
    struct sessions *sessions; /* how many are open, and whose */
    struct api_hashes *hashes; /* running hashes of upload sessions */
    struct hot *hot;           /* small objects and open files */
    struct burden *burden;     /* what slow clients make us hold */
    struct pipes *pipes;       /* of bodies on their way to the disk */
    struct logins *logins;     /* NULL: the configuration has none */
};

struct api_call {
    struct api *api;
    struct http_request *r;
    struct route route;
    const struct conf_repo *group; /* a push that came through this one; else NULL */
    struct route_failure nowhere;  /* what is wrong with the path when it is no route */
    const struct api_user *user;   /* who asks; NULL without logins */
    struct login *login;           /* under way; NULL otherwise */
    struct ask ask;
    struct pool_job job;
    int fd;                                /* closed at the end; -1: none */
    const struct hot_object *object;       /* released at the end; or NULL */
    struct str body;                       /* of a built answer or of a request; freed at the end */
    void *op;                              /* the handler's own, in the arena */
    void (*finish)(struct api_call *call); /* releases what `op` holds; or NULL */
    struct adopt *adopt;                   /* adopt.c's own; or NULL */
    size_t burden;                         /* burden.c's own, as the next */
    struct burden_client *burden_of;
};

struct api_setup {
    const struct role_start *start;
    struct loop *loop;
    /* The line to the catalog is up; it has told something unasked. Both as in struct link_setup;
     * they see to api->index. */
    void (*on_catalog)(struct link *link, void *ctx);
    void (*on_catalog_message)(struct link *link, struct msg_reader *message, int fd, void *ctx);
    void *ctx;
};

/* Lives as long as the process: requests may wait for threads and answers at its end. Takes the
 * index that the master has kept, if there is one. */
must_check int api_new(const struct api_setup *setup, struct api **api_r);
void api_handle(struct api *api, struct http_request *r);
/* For the HTTP layer's own errors. */
void api_bad_request(struct http_request *r, int status, const char *reason);

/* Handlers by what is asked. */
void api_blob(struct api_call *call);
void api_uploads(struct api_call *call);
void api_upload(struct api_call *call);
void api_manifest_read(struct api_call *call);
void api_manifest_put(struct api_call *call);
void api_manifest_delete(struct api_call *call);
void api_tags(struct api_call *call);
void api_catalog(struct api_call *call);
void api_referrers(struct api_call *call);
/* What is left of Docker's V1 API, below /v1/ (v1.c), and its search (v1_search.c). */
void api_v1(struct api_call *call);
void api_v1_search(struct api_call *call);
void api_token(struct api_call *call);

/* Shared by them. */
const struct store *api_store(const struct api_call *call);
size_t api_store_place(const struct api_call *call);
/* Answers DENIED for a read-only repository. */
bool api_may_push(struct api_call *call);
/* Answers UNSUPPORTED (405) where deleting is switched off. */
bool api_may_delete(struct api_call *call);
/* Starts a question to the catalog; fill the writer, then api_ask. */
struct msg_writer *api_ask_begin(struct api_call *call, enum msg_type type);
void api_ask(struct api_call *call,
             void (*done)(struct ask *ask, int err, struct msg_reader *reply, int fd));
struct api_call *api_call_of_ask(struct ask *ask);
struct api_call *api_call_of_job(struct pool_job *job);
/* The reply's own error, or the link's; a passed descriptor is closed. */
int api_reply_err(int err, struct msg_reader *reply, int fd);
/* Answers a delete: 202, `absent` when there was nothing, or what went wrong. */
void api_answer_deleted(struct api_call *call, int err, struct msg_reader *reply,
                        enum problem absent);
/* Parameter number `nth` of that name out of a form or query, as http_form_get(); answers 400 and
 * returns false when its coding is broken. */
bool api_parameter(struct api_call *call, const char *form, const char *name, size_t nth,
                   const char **value_r);
/* The first of that name in the request's query. */
bool api_query(struct api_call *call, const char *name, const char **value_r);
/* Parses a digest out of `text`; answers DIGEST_INVALID and returns false otherwise. */
bool api_digest(struct api_call *call, const char *text, struct digest *digest_r);
/* Parameters n and last of lists. n absent: `absent`; above `max`: max. */
bool api_page(struct api_call *call, uint32_t absent, uint32_t max, uint32_t *n_r,
              const char **last_r);
/* Sends call->body as JSON of that type. */
void api_answer_json(struct api_call *call, const char *content_type);

#endif
