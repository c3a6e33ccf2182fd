/*
 * catalog.c - the catalog process: sole user of the database, sole writer of
 * the shared index.
 *
 * Started by the master, asked by workers and entrepotctl through its role
 * socket. Owns database, index and counters. It may die at any instruction:
 * its successor rebuilds the index from the last synced batch while workers go
 * on serving from the old map.
 */
#include "catalog/catalog.h"

#include "base/container.h"
#include "base/fail.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "catalog/drop.h"
#include "catalog/evict.h"
#include "catalog/files.h"
#include "catalog/gc.h"
#include "catalog/held.h"
#include "catalog/journal.h"
#include "catalog/lacks.h"
#include "catalog/opening.h"
#include "catalog/ops.h"
#include "catalog/orphans.h"
#include "catalog/readers.h"
#include "catalog/scrub.h"
#include "catalog/trash.h"
#include "catalog/turn.h"
#include "catalog/whereabouts.h"

#include <stdlib.h>
#include <string.h>

/* A thread for each job that may be there at a time, beside one for each store's lane (files.h):
 * the turn's write waits for none of those that a disk holds. The others look through sessions,
 * trash and blobs, read blobs for the scrub, and ask where stores lie. */
#define POOL_THREADS    6
#define PEERS_MAX       512
#define SURVEY_MS       10000
#define SURVEY_FIRST_MS 200

enum way {
    AT_ONCE,     /* costs next to nothing */
    LIST,        /* a slice of a list: readers.h */
    CHANGE,      /* goes through a turn */
    HEAVY,       /* that too, and may be long */
    FILE_CHANGE, /* a change that needs to know of a file, which is looked at first: files.h */
    TOLD,        /* costs next to nothing, and tells of a database that lacks something, too */
    HELLO        /* answered with the descriptor of the index, whatever is open */
};

struct question {
    turn_op op;
    enum way way;
};

static const struct question questions[MSG_TYPE_COUNT] = {
    [MSG_CATALOG_HELLO] = {NULL, HELLO},
    [MSG_BLOB_COMMIT] = {op_blob_commit, FILE_CHANGE},
    [MSG_BLOB_MOUNT] = {op_blob_mount, FILE_CHANGE},
    [MSG_BLOB_DELETE] = {op_blob_delete, HEAVY},
    [MSG_MANIFEST_PUT] = {op_manifest_put, FILE_CHANGE},
    [MSG_MANIFEST_DELETE] = {op_manifest_delete, HEAVY},
    [MSG_TAG_DELETE] = {op_tag_delete, CHANGE},
    [MSG_PROXY_LINK] = {op_proxy_link, FILE_CHANGE},
    [MSG_TAG_TOUCH] = {op_tag_touch, CHANGE},
    [MSG_TAG_GONE] = {op_tag_gone, CHANGE},
    [MSG_TAG_LIST] = {op_tag_list, LIST},
    [MSG_IMAGE_LIST] = {op_image_list, LIST},
    [MSG_IMAGE_SEARCH] = {op_image_search, LIST},
    [MSG_REFERRER_LIST] = {op_referrer_list, LIST},
    [MSG_GC_WAITING] = {op_gc_waiting, LIST},
    [MSG_REPO_STATS] = {op_repo_stats, TOLD},
    [MSG_GC_ORPHANS] = {orphans_op, AT_ONCE},
    [MSG_GC_RUN] = {gc_op_run, AT_ONCE},
    [MSG_EVICT] = {evict_op, AT_ONCE},
    [MSG_REPO_DROP] = {drop_op, AT_ONCE},
    [MSG_GC_STATUS] = {gc_op_status, AT_ONCE},
    [MSG_SCRUB_RUN] = {scrub_op_run, AT_ONCE},
    [MSG_SCRUB_STATUS] = {scrub_op_status, AT_ONCE},
    [MSG_BLOB_DAMAGED] = {scrub_op_damaged, AT_ONCE},
    [MSG_CATALOG_STATS] = {op_catalog_stats, TOLD},
};

int catalog_repo(const struct catalog *c, const char *name, size_t *place_r)
{
    const struct conf_repo *repo = conf_repo_by_name(c->conf, name, strlen(name));

    if (!repo || repo->kind == CONF_GROUP)
        return ERR_NOT_FOUND;
    *place_r = (size_t)(repo - c->conf->repos);
    return 0;
}

size_t catalog_store_of(const struct catalog *c, size_t repo_place)
{
    return (size_t)(c->conf->repos[repo_place].store - c->conf->stores);
}

static void catalog_say(struct catalog *c, struct serve_return to, int err, int fd)
{
    struct msg_writer w = {0};

    serve_reply_begin(&w, to);
    reply_err_put(&w, err);
    serve_reply(c->serve, to, &w, fd);
}

static void catalog_read(struct catalog *c, struct serve_return to, struct msg_reader *m,
                         turn_op op)
{
    struct msg_writer answer = {0};

    serve_reply_begin(&answer, to);
    op(c, m, &answer);
    serve_reply(c->serve, to, &answer, -1);
}

/* What whoever asks hears while it is closed. */
static int without_database(const struct catalog *c, enum way way)
{
    return way == CHANGE || way == HEAVY || way == FILE_CHANGE || c->refusal == ERR_INCOMPLETE
               ? c->refusal
               : ERR_UNAVAILABLE;
}

static void catalog_list(struct serve_return to, struct msg_reader *m, void *ctx)
{
    struct catalog *c = ctx;

    if (!c->db) {
        catalog_say(c, to, without_database(c, LIST), -1);
        return;
    }
    c->slice = (struct slice){0};
    catalog_read(c, to, m, questions[m->type].op);
    c->lists.slices++;
    if (c->slice.keys > c->lists.keys_max)
        c->lists.keys_max = c->slice.keys;
    if (c->slice.bytes > c->lists.bytes_max)
        c->lists.bytes_max = c->slice.bytes;
}

/* The store and file that a change is about: its question begins with repository, image and, where
 * a file is needed, digest. What cannot be read so is the operation's to refuse. */
static struct file_ask change_needs(const struct catalog *c, const struct msg_reader *m,
                                    enum way way)
{
    struct file_ask needs = {0};
    struct msg_reader question = *m;
    struct push_target target = {0};
    size_t place;

    if (way == FILE_CHANGE)
        push_target_get(&question, &target);
    else
        target.repo = push_repo_get(&question);
    if (question.bad || catalog_repo(c, target.repo, &place) != 0)
        return needs;
    needs.store = catalog_store_of(c, place);
    needs.digest = target.digest;
    needs.task = way == FILE_CHANGE && target.digest.alg != 0 ? FILE_LOOK : FILE_PASS;
    return needs;
}

static int catalog_change(struct catalog *c, struct serve_return to, const struct msg_reader *m,
                          const struct question *q)
{
    struct file_ask needs = change_needs(c, m, q->way);

    return turn_add(c->turn, to, m, q->op, q->way == HEAVY ? TURN_HEAVY : TURN_LIGHT, &needs);
}

static void catalog_peer_gone(uint64_t peer, void *ctx)
{
    readers_gone(((struct catalog *)ctx)->readers, peer);
}

static int catalog_message(struct serve *serve, struct serve_return to, struct msg_reader *m,
                           void *ctx)
{
    struct catalog *c = ctx;
    const struct question *q = &questions[m->type];
    int err = 0;

    (void)serve;
    if (q->way == HELLO) {
        catalog_say(c, to, 0, c->index.read_fd);
        return msg_end(m);
    }
    if (!c->db && !(q->way == TOLD && lacks_any(c)))
        err = without_database(c, q->way);
    else if (q->way == AT_ONCE || q->way == TOLD)
        catalog_read(c, to, m, q->op);
    else if (q->way == LIST)
        err = readers_add(c->readers, to, m);
    else
        err = catalog_change(c, to, m, q);
    if (err != 0)
        catalog_say(c, to, err, -1);
    return 0;
}

struct survey {
    struct sessions_count *sessions;
    size_t store;
};

static void survey_seen(void *ctx, const char *id)
{
    struct survey *s = ctx;

    sessions_count_one(s->sessions, s->store, sessions_tag_of(id));
}

static int survey_store(struct catalog *c, struct survey *s)
{
    int failed = FAIL_POINT(catalog_survey);

    if (failed != 0)
        return err_from_errno(failed);
    return store_uploads_survey(c->stores[s->store], c->conf->upload_expiry_ms, survey_seen, s,
                                &c->survey_count[s->store], &c->survey_bytes[s->store]);
}

static void survey_work(struct pool_job *job)
{
    struct catalog *c = CONTAINER_OF(job, struct catalog, survey_job);
    struct survey s = {.sessions = sessions_count_begin(c->sessions)};
    bool whole = true;

    for (s.store = 0; s.store < c->conf->store_count; s.store++) {
        if (!store_is_open(c->stores[s.store]) || survey_store(c, &s) == 0)
            continue;
        log_warn("cannot look through the upload sessions", "store=%s",
                 c->conf->stores[s.store].name);
        whole = false;
    }
    sessions_count_end(&s.sessions, whole);
}

static void survey_done(struct pool_job *job)
{
    struct catalog *c = CONTAINER_OF(job, struct catalog, survey_job);

    c->survey_running = false;
    publish_stores(c);
    loop_timer_set(c->loop, &c->survey, SURVEY_MS);
}

static void survey_begin(struct loop_timer *timer)
{
    struct catalog *c = CONTAINER_OF(timer, struct catalog, survey);

    c->survey_running = true;
    c->survey_job.work = survey_work;
    c->survey_job.done = survey_done;
    pool_submit(c->pool, &c->survey_job);
}

/* Nothing unanswered is lost: whoever asked repeats it to the successor. */
static void catalog_stop(bool drain, void *ctx)
{
    struct catalog *c = ctx;

    (void)drain;
    c->stopping = true;
    loop_stop(c->loop);
}

static void catalog_close(struct catalog *c)
{
    opening_end(c);
    pool_free(&c->pool); /* waits for the running sync and answers it */
    files_end(c->files);
    serve_free(&c->serve);
    readers_free(&c->readers);
    gc_free(&c->gc);
    orphans_free(&c->orphans);
    evict_free(&c->evict);
    trash_free(&c->trash);
    journals_free(&c->journals);
    drop_free(&c->drop);
    held_free(&c->held);
    scrub_free(&c->scrub);
    whereabouts_free(&c->whereabouts);
    turn_free(&c->turn);
    files_free(&c->files);
    if (c->index.header)
        index_writer_close(&c->index);
    db_close(&c->db);
    for (size_t i = 0; i < c->conf->store_count; i++)
        store_free(&c->stores[i]);
    free(c->counts);
    free(c->db_path);
    loop_free(&c->loop);
}

int catalog_main(const struct role_start *start)
{
    struct catalog *c = mem_alloc(sizeof(*c));
    struct str path = {0};
    struct role_setup role = {.start = start, .on_stop = catalog_stop, .ctx = c};
    struct serve_setup serve = {.listen_fd = start->listen_fd,
                                .role = MSG_ROLE_CATALOG,
                                .operator_uid = start->operator_uid,
                                .peers_max = PEERS_MAX,
                                .on_message = catalog_message,
                                .on_gone = catalog_peer_gone,
                                .ctx = c};

    role_confine(start);
    c->start = start;
    c->conf = start->conf;
    c->sessions = start->sessions;
    c->loop = loop_new();
    role.loop = serve.loop = c->loop;
    c->role = role_begin(&role);
    c->counts = mem_alloc_array(c->conf->repo_count + 1, sizeof(*c->counts));
    c->survey.fire = survey_begin;
    str_printf(&path, "%s/catalog", c->conf->data_dir);
    c->db_path = path.data;
    MUST(pool_new(c->loop, POOL_THREADS + c->conf->store_count, &c->pool) == 0);
    c->readers = readers_new(c->loop, catalog_list, c);
    MUST(serve_new(&serve, &c->serve) == 0);
    c->files = files_new(c);
    c->turn = turn_new(c);
    c->gc = gc_new(c);
    c->orphans = orphans_new(c);
    c->evict = evict_new(c);
    c->trash = trash_new(c);
    c->held = held_new(c);
    c->drop = drop_new(c);
    c->journals = journals_new(c);
    c->scrub = scrub_new(c);
    c->whereabouts = whereabouts_new(c);
    opening_begin(c);
    loop_timer_set(c->loop, &c->survey, SURVEY_FIRST_MS);
    role_ready(c->role);
    loop_run(c->loop);
    catalog_close(c);
    return EXIT_SUCCESS;
}
