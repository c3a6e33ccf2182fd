/*
 * evict.c - making room in proxies.
 *
 * Runs in the catalog as a row of turn tasks, so that questions of workers never
 * wait for more than one slice. Owns the list of candidates of the running pass,
 * nothing durable: after a crash the next pass begins anew.
 */
#include "catalog/evict.h"

#include "base/clock.h"
#include "base/container.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "catalog/ops.h"
#include "catalog/sweep.h"
#include "catalog/trash.h"
#include "catalog/turn.h"
#include "meta/records.h"
#include "oci/name.h"

#include <stdlib.h>
#include <string.h>

#define SCAN_SLICE     4096
#define TAKE_SLICE     64
#define CANDIDATES_MAX 200000
#define LOOK_MS        5000
/* What was asked for this lately is being pulled. */
#define RECENT_S 60

struct candidate {
    size_t repo;
    enum meta_kind kind; /* META_LINK or META_MANIFEST */
    char *image;
    struct digest digest;
    uint64_t size, used_s;
};

/* How far a pass has come. */
struct progress {
    size_t at; /* candidates that were looked at */
    uint64_t evicted, evicted_bytes;
    uint64_t *excess;                   /* by repository: what must go */
    uint64_t lacking[INDEX_STORES_MAX]; /* by blob store: what must go, whoever cached it */
};

/* Of a slice. */
struct taken {
    size_t repo;
    uint64_t size;
};

struct evict {
    struct catalog *c;
    struct loop_timer timer;
    struct turn_task task;
    bool running, scanned, dirty;
    struct meta_place cursor;
    struct digest last; /* of the scan: the digest whose holders come now */
    uint8_t *counted;   /* by repository: `last` was added to it */
    uint64_t *bytes;    /* by repository, of this pass; between passes an estimate from above */
    uint64_t refused[INDEX_STORES_MAX]; /* by blob store: the largest that did not get in */
    struct candidate *candidates;
    size_t count;
    struct progress was, now; /* up to the last slice that is durable; with the one of this turn */
    struct taken taken[TAKE_SLICE];
    size_t taken_count;
    size_t only_repo; /* EVICT: this one, whatever its quota; SIZE_MAX: none */
    char *only_image; /* NULL: all of its images */
    struct sweep sweep;
};

static void candidates_free(struct evict *e)
{
    for (size_t i = 0; i < e->count; i++)
        free(e->candidates[i].image);
    free(e->candidates);
    e->candidates = NULL;
    e->count = e->was.at = 0;
}

static int by_use(const void *a, const void *b)
{
    const struct candidate *one = a, *other = b;

    return one->used_s < other->used_s ? -1 : one->used_s > other->used_s;
}

static void candidate_add(struct evict *e, size_t repo, enum meta_kind kind, const char *image,
                          const struct digest *digest, uint64_t size, uint64_t time)
{
    struct catalog *c = e->c;
    struct candidate *x;
    uint64_t used;

    if (e->count == CANDIDATES_MAX)
        return;
    if (!e->candidates)
        e->candidates = mem_alloc_array(CANDIDATES_MAX, sizeof(*e->candidates));
    used = recent_at(c->start->recent, c->conf->repos[repo].name, image, digest);
    if (clock_ahead((int64_t)time, 0))
        time = 0; /* cached while the clock was wrong; marks have moved with it (recent.h) */
    x = &e->candidates[e->count++];
    *x = (struct candidate){.repo = repo,
                            .kind = kind,
                            .image = mem_strdup(image),
                            .digest = *digest,
                            .size = size,
                            .used_s = used > time ? used : time};
}

/* Size and time of what an image holds. */
static int holding(struct catalog *c, const struct meta_key *holder, uint64_t *size_r,
                   uint64_t *time_r)
{
    const struct meta_key key =
        meta_at(holder->holds, holder->repo, holder->image, &holder->digest);
    struct record_blob record = {0};
    struct str value = {0};
    const char *type;
    int err;

    *size_r = *time_r = 0;
    if (holder->holds == META_MANIFEST) {
        err = meta_manifest_peek(db_committed(c->db), key, &value, size_r, &type);
        str_free(&value);
        return err;
    }
    err = meta_blob_get(db_committed(c->db), key, &record);
    *size_r = record.size;
    *time_r = record.time;
    return err;
}

/* Who holds what. */
static void scan_one(struct evict *e, const struct meta_key *holder)
{
    struct catalog *c = e->c;
    uint64_t size, time;
    size_t place;

    if (catalog_repo(c, holder->repo, &place) != 0 || c->conf->repos[place].kind != CONF_PROXY ||
        holding(c, holder, &size, &time) != 0)
        return;
    if (!digest_equal(&holder->digest, &e->last)) {
        e->last = holder->digest;
        memset(e->counted, 0, c->conf->repo_count);
    }
    if (!e->counted[place]) {
        e->counted[place] = 1;
        e->bytes[place] += size;
    }
    if (e->only_repo == SIZE_MAX ||
        (place == e->only_repo && (!e->only_image || strcmp(holder->image, e->only_image) == 0)))
        candidate_add(e, place, holder->holds, holder->image, &holder->digest, size, time);
}

/* Between two turns: it reads what is committed. */
static int scan_slice(struct evict *e)
{
    struct meta_walk *walk =
        meta_walk_new(db_committed(e->c->db), (struct meta_key){.kind = META_HOLDER}, &e->cursor);
    struct meta_key holder;
    size_t count = 0;

    for (; count < SCAN_SLICE && meta_walk_next(walk, &holder); count++) {
        scan_one(e, &holder);
        meta_walk_place(walk, &e->cursor);
    }
    e->scanned = count < SCAN_SLICE;
    return meta_walk_end(&walk);
}

/* Bytes that must go from a blob store. Disk: when less than keep_free and 5 % of it is free, as
 * many as bring that to keep_free and 10 %. Quota: when 95 % is used, or what was refused lately
 * did not fit, as many as leave 90 % with it in. The larger of the two. */
static uint64_t store_excess(const struct evict *e, size_t place)
{
    const struct conf_store *store = &e->c->conf->stores[place];
    uint64_t used = (uint64_t)e->c->store_bytes[place], free_bytes, excess = 0;

    if (store->keep_free > 0 && store_free_bytes(e->c->stores[place], &free_bytes) == 0 &&
        free_bytes < store->keep_free + store->keep_free / 20)
        excess = store->keep_free + store->keep_free / 10 - free_bytes;
    if (store->quota > 0 &&
        (used > store->quota / 20 * 19 || used + e->refused[place] > store->quota)) {
        uint64_t over = used + e->refused[place], goal = store->quota / 10 * 9;

        over = over > goal ? over - goal : 0;
        excess = over > excess ? over : excess;
    }
    return excess;
}

/* How much must go: of each proxy down to nine tenths of its quota, of each blob store what it
 * needs, from its proxies together. */
static void excess_find(struct evict *e)
{
    const struct conf *conf = e->c->conf;
    bool all = e->only_repo == SIZE_MAX;

    for (size_t i = 0; i < conf->store_count; i++)
        e->was.lacking[i] = all ? store_excess(e, i) : 0;
    for (size_t i = 0; i < conf->repo_count; i++) {
        const struct conf_repo *repo = &conf->repos[i];

        e->was.excess[i] = e->only_repo == i ? UINT64_MAX : 0;
        if (all && repo->kind == CONF_PROXY && repo->proxy->quota > 0 &&
            e->bytes[i] > repo->proxy->quota)
            e->was.excess[i] = e->bytes[i] - repo->proxy->quota / 10 * 9;
    }
}

static void lessen(uint64_t *left, uint64_t by)
{
    *left -= *left < by ? *left : by;
}

static void take_one(struct evict *e, const struct candidate *x)
{
    struct catalog *c = e->c;
    struct progress *now = &e->now;
    struct push_target t = {
        .repo = c->conf->repos[x->repo].name, .image = x->image, .digest = x->digest};
    size_t files = e->sweep.file_count;
    bool gone;

    if (x->kind == META_MANIFEST)
        gone = op_manifest_remove(c, x->repo, &t) == 0;
    else
        gone = sweep_evict(&e->sweep, x->repo, x->image, &x->digest);
    if (!gone)
        return;
    now->evicted++;
    now->evicted_bytes += x->size;
    lessen(&now->excess[x->repo], x->size);
    e->taken[e->taken_count++] = (struct taken){.repo = x->repo, .size = x->size};
    /* A manifest's bytes go with the next sweep; a blob's stay while somebody else holds them. */
    if (x->kind == META_MANIFEST || e->sweep.file_count > files)
        lessen(&now->lacking[catalog_store_of(c, x->repo)], x->size);
}

static void take_slice(struct evict *e)
{
    struct progress *now = &e->now;
    uint64_t time = op_now();
    size_t tried = 0;

    for (; now->at < e->count && tried < TAKE_SLICE; now->at++) {
        const struct candidate *x = &e->candidates[now->at];

        if ((now->excess[x->repo] == 0 && now->lacking[catalog_store_of(e->c, x->repo)] == 0) ||
            (e->only_repo == SIZE_MAX && x->used_s + RECENT_S > time && x->kind == META_MANIFEST))
            continue;
        e->sweep.deadline_s = e->only_repo == SIZE_MAX ? x->used_s : time;
        take_one(e, x);
        tried++;
    }
}

static void progress_copy(const struct evict *e, struct progress *to, const struct progress *from)
{
    uint64_t *excess = to->excess;

    memcpy(excess, from->excess, e->c->conf->repo_count * sizeof(*excess));
    *to = *from;
    to->excess = excess;
}

static void pass_run(struct turn_task *task)
{
    struct evict *e = CONTAINER_OF(task, struct evict, task);

    sweep_anew(&e->sweep);
    e->taken_count = 0;
    progress_copy(e, &e->now, &e->was);
    if (e->scanned)
        take_slice(e);
}

static bool pass_still(struct turn_task *task)
{
    return sweep_still(&CONTAINER_OF(task, struct evict, task)->sweep);
}

static void pass_end(struct evict *e)
{
    memset(e->refused, 0, sizeof(e->refused));
    if (e->was.evicted > 0)
        log_notice("proxies made room", "evicted=%llu bytes=%llu",
                   (unsigned long long)e->was.evicted, (unsigned long long)e->was.evicted_bytes);
    candidates_free(e);
    free(e->only_image);
    e->only_image = NULL;
    e->only_repo = SIZE_MAX;
    e->running = false;
    if (e->was.evicted > 0)
        trash_empty_later(e->c->trash);
}

static void pass_go_on(struct evict *e)
{
    if (e->scanned && e->was.at == e->count)
        pass_end(e);
    else
        turn_add_task(e->c->turn, &e->task);
}

static void slice_moved(struct sweep *s)
{
    pass_go_on(CONTAINER_OF(s, struct evict, sweep));
}

static void slice_done(struct evict *e)
{
    progress_copy(e, &e->was, &e->now);
    for (size_t i = 0; i < e->taken_count; i++)
        lessen(&e->bytes[e->taken[i].repo], e->taken[i].size);
    if (e->sweep.file_count > 0)
        sweep_files(&e->sweep, slice_moved);
    else
        pass_go_on(e);
}

/* All candidates are known. */
static void scan_done(struct evict *e)
{
    excess_find(e);
    if (e->count > 0)
        qsort(e->candidates, e->count, sizeof(*e->candidates), by_use);
}

static void pass_done(struct turn_task *task, int err)
{
    struct evict *e = CONTAINER_OF(task, struct evict, task);

    if (err == 0 && e->scanned) {
        slice_done(e);
        return;
    }
    if (err == 0)
        err = scan_slice(e);
    if (err != 0) {
        pass_end(e);
        return;
    }
    if (e->scanned)
        scan_done(e);
    pass_go_on(e);
}

static void pass_begin(struct evict *e)
{
    e->running = true;
    e->scanned = e->dirty = false;
    e->cursor.len = 0;
    e->last.alg = 0;
    e->was.evicted = e->was.evicted_bytes = 0;
    e->sweep.c = e->c;
    memset(e->bytes, 0, e->c->conf->repo_count * sizeof(*e->bytes));
    turn_add_task(e->c->turn, &e->task);
}

/* Is there a reason to look? Estimates count shared blobs several times. */
static bool room_short(struct evict *e)
{
    const struct conf *conf = e->c->conf;

    for (size_t i = 0; i < conf->repo_count; i++) {
        const struct conf_repo *repo = &conf->repos[i];

        if (repo->kind == CONF_PROXY &&
            ((repo->proxy->quota > 0 && e->bytes[i] > repo->proxy->quota) ||
             store_excess(e, catalog_store_of(e->c, i)) > 0))
            return true;
    }
    return false;
}

static void look(struct loop_timer *timer)
{
    struct evict *e = CONTAINER_OF(timer, struct evict, timer);

    loop_timer_set(e->c->loop, timer, LOOK_MS);
    if (!e->running && e->dirty && e->c->db && room_short(e))
        pass_begin(e);
}

struct evict *evict_new(struct catalog *c)
{
    struct evict *e = mem_alloc(sizeof(*e));

    e->c = c;
    e->only_repo = SIZE_MAX;
    e->timer.fire = look;
    e->task = (struct turn_task){.run = pass_run, .done = pass_done, .still = pass_still};
    e->counted = mem_alloc_array(c->conf->repo_count + 1, 1);
    e->bytes = mem_alloc_array(c->conf->repo_count + 1, sizeof(*e->bytes));
    e->was.excess = mem_alloc_array(c->conf->repo_count + 1, sizeof(*e->was.excess));
    e->now.excess = mem_alloc_array(c->conf->repo_count + 1, sizeof(*e->now.excess));
    return e;
}

void evict_free(struct evict **evict_p)
{
    struct evict *e = *evict_p;

    *evict_p = NULL;
    loop_timer_cancel(e->c->loop, &e->timer);
    candidates_free(e);
    free(e->only_image);
    free(e->counted);
    free(e->bytes);
    free(e->was.excess);
    free(e->now.excess);
    free(e);
}

void evict_start(struct evict *e)
{
    for (size_t i = 0; i < e->c->conf->repo_count; i++)
        e->bytes[i] = (uint64_t)e->c->counts[i].bytes;
    e->dirty = true;
    loop_timer_set(e->c->loop, &e->timer, LOOK_MS);
}

void evict_added(struct evict *e, size_t repo_place, uint64_t bytes)
{
    e->bytes[repo_place] += bytes;
    e->dirty = true;
    if (!e->running && e->c->conf->repos[repo_place].proxy->quota > 0 &&
        e->bytes[repo_place] > e->c->conf->repos[repo_place].proxy->quota)
        loop_timer_set(e->c->loop, &e->timer, 0);
}

void evict_refused(struct evict *e, size_t repo_place, uint64_t bytes)
{
    uint64_t *refused = &e->refused[catalog_store_of(e->c, repo_place)];

    *refused = bytes > *refused ? bytes : *refused;
    e->dirty = true;
    if (!e->running)
        loop_timer_set(e->c->loop, &e->timer, 0);
}

void evict_op(struct catalog *c, struct msg_reader *question, struct msg_writer *answer)
{
    struct operator_evict q;
    struct evict *e = c->evict;
    size_t place = 0;
    int err;

    operator_evict_get(question, &q);
    err = msg_end(question);
    if (err == 0)
        err = catalog_repo(c, q.repo, &place);
    if (err == 0 && c->conf->repos[place].kind != CONF_PROXY)
        err = ERR_UNSUPPORTED;
    if (err == 0 && *q.image && !name_image_ok(q.image, strlen(q.image)))
        err = ERR_INVALID;
    if (err == 0 && (e->running || !c->db))
        err = ERR_BUSY;
    if (err == 0) {
        e->only_repo = place;
        e->only_image = *q.image ? mem_strdup(q.image) : NULL;
        pass_begin(e);
    }
    reply_err_put(answer, err);
}
