/*
 * fetcher.c - the fetcher process: the only one that talks to upstream registries.
 *
 * Started by the master when there are proxy repositories. Owns the board, running
 * downloads and their files, upstream connections, tokens and passwords of proxies,
 * and a read-only map of the index. A crash here is a pause: workers ask its successor
 * again, which goes on from the partial files.
 */
#include "fetcher/fetcher.h"

#include "base/container.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "fetcher/environment.h"
#include "fetcher/head.h"
#include "fetcher/job.h"
#include "fetcher/lists.h"
#include "fetcher/misses.h"
#include "fetcher/status.h"
#include "fetcher/tag.h"
#include "fetcher/warm.h"
#include "oci/name.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>
#include <uthash.h>

#define PEERS_MAX      512
#define SEARCH_MAX     100
#define POOL_THREADS   4
#define CATALOG_QUEUE  8192
#define SWEEP_EVERY_MS 3600000
#define SWEEP_OLDER_MS 86400000
#define STORES_MS      1000

/* Who wants to hear when the board changes. */
struct peer {
    uint64_t id;
    int event_fd;
    bool ring;
    UT_hash_handle hh;
};

struct sweep {
    struct fetch *f;
    struct loop_timer timer;
    struct pool_job job;
};

struct proxy *fetch_proxy(struct fetch *f, const char *repo)
{
    const struct conf *conf = f->start->conf;
    const struct conf_repo *r = conf_repo_by_name(conf, repo, strlen(repo));

    return r && r->kind == CONF_PROXY && r->online ? f->proxies[r - conf->repos] : NULL;
}

int fetch_index_find(struct fetch *f, enum index_kind kind, const char *repo, const char *image,
                     const char *ref, struct index_entry *entry_r)
{
    int err = f->index.header ? index_find(&f->index, kind, repo, image, ref, entry_r) : ERR_BUSY;

    if (err != ERR_BUSY)
        return err;
    link_poll(f->catalog); /* a newer map lies in the socket */
    return f->index.header ? index_find(&f->index, kind, repo, image, ref, entry_r) : ERR_BUSY;
}

void fetch_fail(struct fetch *f, struct serve_return to, int err, const struct fetch_failure *why)
{
    static const struct fetch_failure none = {.reason = ""};
    struct msg_writer w = {0};

    serve_reply_begin(&w, to);
    reply_err_put(&w, err);
    fetch_failure_put(&w, why ? why : &none);
    serve_reply(f->serve, to, &w, -1);
}

uint64_t fetch_now_s(void)
{
    return (uint64_t)time(NULL);
}

void failed_set(struct failed *failed_r, int err, uint32_t retry_after_s, const char *reason)
{
    failed_r->err = err;
    failed_r->retry_after_s = retry_after_s;
    snprintf(failed_r->reason, sizeof(failed_r->reason), "%s", reason ? reason : "");
}

static void ring_all(void *ctx)
{
    struct fetch *f = ctx;
    struct peer *peer, *next;
    uint64_t one = 1;

    f->ringing = false;
    HASH_ITER(hh, f->peers, peer, next) {
        /* Full: it was rung and has not looked yet. */
        if (peer->ring && write(peer->event_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
            log_warn("cannot ring a worker", "errno=%m");
        peer->ring = false;
    }
}

void fetch_ring(struct fetch *f, uint64_t id)
{
    struct peer *peer;

    HASH_FIND(hh, f->peers, &id, sizeof(id), peer);
    if (!peer)
        return;
    peer->ring = true;
    if (!f->ringing)
        loop_after_round(f->loop, ring_all, f);
    f->ringing = true;
}

static void peer_hello(struct fetch *f, struct serve_return to)
{
    struct msg_writer w = {0};
    struct peer *peer;

    HASH_FIND(hh, f->peers, &to.peer, sizeof(to.peer), peer);
    if (!peer) {
        peer = mem_alloc(sizeof(*peer));
        peer->id = to.peer;
        peer->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (peer->event_fd < 0) {
            free(peer);
            fetch_fail(f, to, ERR_NO_FILES, NULL);
            return;
        }
        HASH_ADD(hh, f->peers, id, sizeof(peer->id), peer);
    }
    serve_reply_begin(&w, to);
    reply_err_put(&w, 0);
    serve_reply(f->serve, to, &w, peer->event_fd);
}

static void peer_gone(uint64_t id, void *ctx)
{
    struct fetch *f = ctx;
    struct peer *peer;

    HASH_FIND(hh, f->peers, &id, sizeof(id), peer);
    if (!peer)
        return;
    HASH_DEL(f->peers, peer);
    close(peer->event_fd);
    free(peer);
}

static int on_hello(struct fetch *f, struct serve_return to, struct msg_reader *m)
{
    if (msg_end(m) != 0)
        return ERR_PROTOCOL;
    peer_hello(f, to);
    return 0;
}

static bool image_ok(const char *image)
{
    return name_image_ok(image, strlen(image));
}

/* Workers do not ask for such names, entrepotctl may: no remote hears of them all the same. */
static bool refused(struct fetch *f, struct serve_return to, const char *repo, const char *image)
{
    static const struct fetch_failure why = {
        .reason = "the name is reserved for hosted repositories (`reserve`)"};
    const struct proxy *p = fetch_proxy(f, repo);

    if (!p || !conf_reserved(p->repo, image))
        return false;
    fetch_fail(f, to, ERR_NOT_FOUND, &why);
    return true;
}

static int on_blob(struct fetch *f, struct serve_return to, struct msg_reader *m)
{
    unsigned type = m->type;
    struct fetch_range range = {0};
    struct push_target t;
    const char *client;

    push_target_get(m, &t);
    if (type == MSG_FETCH_RANGE)
        fetch_range_get(m, &range);
    client = fetch_client_get(m);
    if (msg_end(m) != 0 || !image_ok(t.image) || t.digest.alg == 0 || range.first > range.last ||
        range.last >= INT64_MAX)
        return ERR_PROTOCOL;
    if (refused(f, to, t.repo, t.image))
        return 0;
    if (type == MSG_FETCH_BLOB)
        job_ask(f, to, &t, client, false);
    else if (type == MSG_FETCH_RANGE)
        job_ask_range(f, to, &t, client, range.first, range.last);
    else
        head_ask(f, to, &t, client, false);
    return 0;
}

static int on_manifest(struct fetch *f, struct serve_return to, struct msg_reader *m)
{
    struct fetch_wanted q;
    struct digest digest;
    const char *client;

    fetch_wanted_get(m, &q);
    client = fetch_client_get(m);
    if (msg_end(m) != 0 || !image_ok(q.image) ||
        (!name_tag_ok(q.ref, strlen(q.ref)) && digest_parse(q.ref, &digest) != 0))
        return ERR_PROTOCOL;
    if (!refused(f, to, q.repo, q.image))
        tag_ask(f, to, &q, client);
    return 0;
}

static int on_list(struct fetch *f, struct serve_return to, struct msg_reader *m)
{
    struct fetch_list q;
    const char *client;

    fetch_list_get(m, &q);
    client = fetch_client_get(m);
    if (msg_end(m) != 0 || q.kind < FETCH_LIST_TAGS || q.kind > FETCH_LIST_REFERRERS ||
        (q.kind != FETCH_LIST_CATALOG && !image_ok(q.image)) ||
        (q.kind == FETCH_LIST_REFERRERS && q.subject.alg == 0))
        return ERR_PROTOCOL;
    if (!refused(f, to, q.repo, q.image))
        lists_ask(f, to, &q, client);
    return 0;
}

static int on_search(struct fetch *f, struct serve_return to, struct msg_reader *m)
{
    struct fetch_search q;
    const char *client;

    fetch_search_get(m, &q);
    client = fetch_client_get(m);
    if (msg_end(m) != 0)
        return ERR_PROTOCOL;
    if (q.limit > SEARCH_MAX)
        q.limit = SEARCH_MAX;
    if (!refused(f, to, q.repo, q.term))
        lists_search(f, to, &q, client);
    return 0;
}

static int on_warm(struct fetch *f, struct serve_return to, struct msg_reader *m)
{
    struct fetch_warm q;
    struct digest digest;

    fetch_warm_get(m, &q);
    if (msg_end(m) != 0 || !image_ok(q.image) ||
        (!name_tag_ok(q.ref, strlen(q.ref)) && digest_parse(q.ref, &digest) != 0))
        return ERR_PROTOCOL;
    if (!refused(f, to, q.repo, q.image))
        warm_ask(f, to, &q);
    return 0;
}

static int on_status(struct fetch *f, struct serve_return to, struct msg_reader *m)
{
    uint64_t id = m->type == MSG_WARM_STATUS ? fetch_warm_id_get(m) : 0;

    if (msg_end(m) != 0)
        return ERR_PROTOCOL;
    if (m->type == MSG_WARM_STATUS)
        warm_status(f, to, id);
    else if (m->type == MSG_FETCH_STATUS)
        status_fetches(f, to);
    else
        status_proxies(f, to);
    return 0;
}

static const struct {
    int (*answer)(struct fetch *f, struct serve_return to, struct msg_reader *m);
} questions[MSG_TYPE_COUNT] = {
    [MSG_FETCH_HELLO] = {on_hello},       [MSG_FETCH_BLOB] = {on_blob},
    [MSG_FETCH_RANGE] = {on_blob},        [MSG_FETCH_HEAD] = {on_blob},
    [MSG_FETCH_MANIFEST] = {on_manifest}, [MSG_FETCH_LIST] = {on_list},
    [MSG_FETCH_SEARCH] = {on_search},     [MSG_FETCH_STATUS] = {on_status},
    [MSG_PROXY_STATUS] = {on_status},     [MSG_WARM] = {on_warm},
    [MSG_WARM_STATUS] = {on_status},
};

static int fetcher_message(struct serve *serve, struct serve_return to, struct msg_reader *m,
                           void *ctx)
{
    (void)serve;
    return questions[m->type].answer(ctx, to, m);
}

static void hello_done(struct ask *ask, int err, struct msg_reader *reply, int fd)
{
    struct fetch *f = CONTAINER_OF(ask, struct fetch, hello);

    if (err == 0 && reply_err_get(reply) == 0 && fd >= 0)
        (void)!index_map_take(&f->index, fd); /* else the one before is as true as ever */
    else if (fd >= 0)
        close(fd);
}

static void catalog_connected(struct link *link, void *ctx)
{
    struct fetch *f = ctx;

    f->hello.done = hello_done;
    link_ask_begin(link, &f->hello, MSG_CATALOG_HELLO);
    link_ask_send_first(link, &f->hello);
}

static void catalog_message(struct link *link, struct msg_reader *message, int fd, void *ctx)
{
    struct fetch *f = ctx;

    (void)link;
    if (message->type == MSG_INDEX_NEW) {
        (void)!index_map_take(&f->index, fd);
        return;
    }
    if (fd >= 0)
        close(fd);
}

static void fetcher_stop(bool drain, void *ctx)
{
    struct fetch *f = ctx;

    (void)drain; /* partial files are what a successor goes on with */
    loop_stop(f->loop);
}

static void sweep_work(struct pool_job *job)
{
    struct sweep *s = CONTAINER_OF(job, struct sweep, job);

    for (size_t i = 0; i < s->f->start->conf->store_count; i++)
        store_partials_sweep(s->f->stores[i], SWEEP_OLDER_MS);
}

static void sweep_done(struct pool_job *job)
{
    struct sweep *s = CONTAINER_OF(job, struct sweep, job);

    loop_timer_set(s->f->loop, &s->timer, SWEEP_EVERY_MS);
}

static void sweep_fire(struct loop_timer *timer)
{
    struct sweep *s = CONTAINER_OF(timer, struct sweep, timer);

    s->job.work = sweep_work;
    s->job.done = sweep_done;
    pool_submit_slow(s->f->pool, &s->job);
}

static struct proxy *proxy_new(struct fetch *f, const struct conf_repo *repo)
{
    struct proxy *p = mem_alloc(sizeof(*p));

    p->f = f;
    p->repo = repo;
    p->conf = repo->proxy;
    p->store = f->stores[repo->store - f->start->conf->stores];
    p->health = mem_alloc_array(p->conf->remote_count + 1, sizeof(*p->health));
    p->upstream = upstream_new(f->loop);
    p->misses = misses_new(f->loop);
    for (size_t i = 0; i < p->conf->remote_count; i++)
        for (size_t kind = 0; kind < FETCH_LIMIT_COUNT; kind++)
            limit_init(&p->health[i].limits[kind]);
    if (p->conf->bandwidth)
        p->bucket = bucket_new(f->loop, p->conf->bandwidth);
    return p;
}

static void fetcher_stores(struct loop_timer *timer)
{
    struct fetch *f = CONTAINER_OF(timer, struct fetch, stores_timer);
    const struct conf *conf = f->start->conf;
    bool all = true;

    for (size_t i = 0; i < conf->store_count; i++)
        all = store_try(f->stores[i], true) && all;
    if (!all)
        loop_timer_set(f->loop, timer, STORES_MS);
}

static int fetcher_open(struct fetch *f)
{
    const struct conf *conf = f->start->conf;
    struct link_setup link = {.loop = f->loop,
                              .dir_fd = f->start->run_dir_fd,
                              .role = MSG_ROLE_CATALOG,
                              .queue_max = CATALOG_QUEUE,
                              .on_connect = catalog_connected,
                              .on_message = catalog_message,
                              .ctx = f};

    f->stores = mem_alloc_array(conf->store_count + 1, sizeof(*f->stores));
    f->proxies = mem_alloc_array(conf->repo_count + 1, sizeof(struct proxy *));
    for (size_t i = 0; i < conf->store_count; i++)
        f->stores[i] = store_new(&conf->stores[i]);
    f->stores_timer.fire = fetcher_stores;
    fetcher_stores(&f->stores_timer);
    for (size_t i = 0; i < conf->repo_count; i++)
        if (conf->repos[i].kind == CONF_PROXY)
            f->proxies[i] = proxy_new(f, &conf->repos[i]);
    f->catalog = link_new(&link);
    return pool_new(f->loop, POOL_THREADS, &f->pool);
}

int fetcher_main(const struct role_start *start)
{
    /* Left as it is at the end, like the worker's: the kernel cleans up faster. */
    static struct fetch only;
    static struct sweep sweep;
    struct fetch *f = &only;
    struct role_setup role = {.start = start, .on_stop = fetcher_stop, .ctx = f};
    struct serve_setup setup = {.listen_fd = start->listen_fd,
                                .role = MSG_ROLE_FETCHER,
                                .operator_uid = start->operator_uid,
                                .peers_max = PEERS_MAX,
                                .on_message = fetcher_message,
                                .on_gone = peer_gone,
                                .ctx = f};

    environment_drop();
    role_confine(start);
    f->start = start;
    f->board = start->board;
    f->loop = loop_new();
    role.loop = setup.loop = f->loop;
    f->role = role_begin(&role);
    log_debug("upstream library", "version=%s", log_quote(upstream_library()));
    f->jobs = jobs_new(f);
    if (fetcher_open(f) != 0)
        return EXIT_FAILURE;
    MUST(serve_new(&setup, &f->serve) == 0);
    sweep.f = f;
    sweep.timer.fire = sweep_fire;
    loop_timer_set(f->loop, &sweep.timer, 1000);
    role_ready(f->role);
    loop_run(f->loop);
    return EXIT_SUCCESS;
}
