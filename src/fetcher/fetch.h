/*
 * fetch.h - what the fetcher's files share: the process, its proxies, and how a
 * question of a worker is answered.
 */
#ifndef ENTREPOT_FETCHER_FETCH_H
#define ENTREPOT_FETCHER_FETCH_H

#include "base/pool.h"
#include "fetcher/limit.h"
#include "fetcher/upstream.h"
#include "ipc/link.h"
#include "ipc/msg_fetch.h"
#include "ipc/role.h"
#include "ipc/serve.h"
#include "shm/board.h"
#include "shm/index_read.h"
#include "store/store.h"

#include <sys/queue.h>

struct bearer;
struct hint;
struct head;
struct jobs;
struct tags;
struct misses;
struct share_client;
struct lists;
struct warms;
struct peer;

/* Health of one remote. */
struct remote_health {
    unsigned failures;                      /* connects in a row that failed */
    uint64_t down_until_ms;                 /* 0: up */
    bool basic;                             /* it asked for Basic: sent unasked from now on */
    struct limit limits[FETCH_LIMIT_COUNT]; /* 429, by kind of request */
    struct limit_rate rate;                 /* of pulls */
};

struct proxy {
    struct fetch *f;
    const struct conf_repo *repo;
    const struct conf_proxy *conf;
    const struct store *store;
    struct upstream *upstream;                 /* its own connections */
    struct bucket *bucket;                     /* NULL: no limit */
    struct remote_health *health;              /* by place of the remote */
    struct misses *misses;                     /* of its own: no other's strangers push them out */
    unsigned shares;                           /* held, see share.h */
    struct share_client *clients;              /* who hold some */
    struct bearer *tokens;                     /* cached, by realm, service, scope, credential */
    struct hint *hints;                        /* what the remotes asked for last, by image */
    uint64_t requests, errors, bytes, resumes; /* since the start */
    char *password;                            /* as last read */
    int64_t password_mtime_ns;
};

struct fetch {
    const struct role_start *start;
    struct loop *loop;
    struct role *role;
    struct pool *pool;
    struct serve *serve;
    struct link *catalog;
    struct ask hello;
    struct index_map index;
    struct board *board;
    struct store **stores;          /* by place in the configuration */
    struct loop_timer stores_timer; /* those that did not open */
    struct proxy **proxies;         /* by place of the repository; NULL for others */
    struct peer *peers;             /* who said hello, by id */
    bool ringing;
    struct jobs *jobs;
    struct head *heads; /* running */
    struct tags *tags;
    unsigned shares; /* held by all proxies, see share.h */
    struct lists *lists;
    struct warms *warms;
};

/* NULL: no proxy of that name, or it is offline. */
struct proxy *fetch_proxy(struct fetch *f, const char *repo);
/* index_find in the newest map. */
must_check int fetch_index_find(struct fetch *f, enum index_kind kind, const char *repo,
                                const char *image, const char *ref, struct index_entry *entry_r);
/* Answers with an error and its reason. */
void fetch_fail(struct fetch *f, struct serve_return to, int err, const struct fetch_failure *why);
/* The peer's eventfd rings after this round. */
void fetch_ring(struct fetch *f, uint64_t peer);
/* Wall clock, seconds. */
uint64_t fetch_now_s(void);

/* A copy of a failure that lasts. */
struct failed {
    int err;
    uint32_t retry_after_s;
    char reason[FETCH_REASON_MAX + 1];
};
void failed_set(struct failed *failed_r, int err, uint32_t retry_after_s, const char *reason);

#endif
