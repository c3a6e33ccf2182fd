/*
 * warm.c - an image fetched as a client would: manifest, children of the wanted
 * platforms, blobs.
 *
 * The fetcher. Owns the list of what is still to come for each image being warmed. A
 * crash here forgets them: what was fetched stays, and the tool says so.
 */
#include "fetcher/warm.h"

#include "base/container.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "fetcher/job.h"
#include "fetcher/tag.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WARMS_MAX 256
#define ITEMS_MAX 100000
#define AT_ONCE   4
#define KEEP_MS   600000

struct warm_item {
    struct warm *warm;
    struct digest digest;
    uint64_t size;
    bool manifest;
    struct job_want want;
    TAILQ_ENTRY(warm_item) entry;
};

struct warm {
    struct fetch *f;
    struct proxy *proxy;
    uint64_t id;
    char *image, *ref, *platform;
    struct fetch_warm_status status; /* FETCH_WARM_RUNNING until warm_end, and for good then */
    char reason[FETCH_REASON_MAX + 1];
    TAILQ_HEAD(, warm_item) todo;
    unsigned items, at_once;
    char ref_text[DIGEST_TEXT_MAX];
    struct tag_wait wait;
    struct fetch_manifest manifest; /* being read */
    char media_type[256];
    struct str body;
    struct pool_job job;
    int err;
    struct loop_timer forget;
    TAILQ_ENTRY(warm) entry;
};

struct warms {
    TAILQ_HEAD(, warm) list;
    uint64_t last_id;
    unsigned count;
};

static void warm_go_on(struct warm *w);

static void warm_forget(struct loop_timer *timer)
{
    struct warm *w = CONTAINER_OF(timer, struct warm, forget);

    TAILQ_REMOVE(&w->f->warms->list, w, entry);
    w->f->warms->count--;
    free(w->image);
    free(w->ref);
    free(w->platform);
    str_free(&w->body);
    free(w);
}

static void warm_note(struct warm *w, const char *reason)
{
    w->status.failed++;
    if (!w->reason[0])
        snprintf(w->reason, sizeof(w->reason), "%s", reason ? reason : "");
}

static void warm_end(struct warm *w)
{
    w->status.state = w->status.failed ? FETCH_WARM_FAILED : FETCH_WARM_DONE;
    w->forget.fire = warm_forget;
    loop_timer_set(w->f->loop, &w->forget, KEEP_MS);
    log_info("an image was fetched ahead of need",
             "repository=%s image=%s ref=%s blobs=%llu failed=%u", w->proxy->repo->name,
             log_quote(w->image), log_quote(w->ref), (unsigned long long)w->status.blobs_done,
             w->status.failed);
}

static void warm_add(struct warm *w, const struct digest *digest, uint64_t size, bool manifest)
{
    struct warm_item *item;

    TAILQ_FOREACH(item, &w->todo, entry)
        if (digest_equal(&item->digest, digest))
            return;
    if (++w->items > ITEMS_MAX)
        return;
    item = mem_alloc(sizeof(*item));
    item->warm = w;
    item->digest = *digest;
    item->size = size;
    item->manifest = manifest;
    if (manifest) {
        TAILQ_INSERT_HEAD(&w->todo, item, entry);
    } else {
        TAILQ_INSERT_TAIL(&w->todo, item, entry);
        w->status.blobs++;
        w->status.bytes += size;
    }
}

static const char *member_text(const struct json_value *v, const char *key)
{
    const struct json_value *m = NULL;

    return v && json_member(v, key, &m) == 0 && m && m->type == JSON_STRING ? m->text : "";
}

/* `platform` is "os/arch" or "os/arch/variant". A child of an index that names no platform is
 * wanted for all of them. */
static bool platform_wanted(const struct warm *w, const struct json_value *child)
{
    const struct json_value *p = NULL;
    const char *os, *arch, *variant, *want = w->platform;
    size_t len;

    if (!want[0] || json_member(child, "platform", &p) != 0 || !p)
        return true;
    os = member_text(p, "os");
    arch = member_text(p, "architecture");
    variant = member_text(p, "variant");
    len = strlen(os);
    if (strncmp(want, os, len) != 0 || want[len] != '/')
        return false;
    want += len + 1;
    len = strlen(arch);
    if (strncmp(want, arch, len) != 0 || (want[len] != '/' && want[len] != 0))
        return false;
    return want[len] == 0 || strcmp(want + len + 1, variant) == 0;
}

static void warm_children(struct warm *w, struct mem_arena *arena)
{
    const struct json_value *all = NULL;
    struct json_value *top;
    const char *reason;

    if (json_parse(arena, w->body.data, w->body.len, &top, &reason) != 0 ||
        json_member(top, "manifests", &all) != 0 || !all || all->type != JSON_ARRAY)
        return;
    for (const struct json_value *v = all->first; v; v = v->next) {
        struct digest digest;

        if (v->type == JSON_OBJECT && digest_parse(member_text(v, "digest"), &digest) == 0 &&
            platform_wanted(w, v))
            warm_add(w, &digest, 0, true);
    }
}

static void read_done(struct pool_job *job)
{
    struct warm *w = CONTAINER_OF(job, struct warm, job);
    struct mem_arena *arena = mem_arena_new();
    struct manifest m;
    const char *reason;

    if (w->err != 0 ||
        manifest_parse(arena, w->media_type, w->body.data, w->body.len, &m, &reason) != 0) {
        warm_note(w, "a manifest cannot be read from the blob store");
    } else if (m.is_index) {
        w->status.manifests++;
        warm_children(w, arena);
    } else {
        w->status.manifests++;
        for (size_t i = 0; i < m.ref_count; i++)
            if (!m.refs[i].exempt)
                warm_add(w, &m.refs[i].digest, m.refs[i].size, false);
    }
    mem_arena_free(&arena);
    w->at_once--;
    warm_go_on(w);
}

static void read_work(struct pool_job *job)
{
    struct warm *w = CONTAINER_OF(job, struct warm, job);
    int fd;

    w->err = store_blob_open(w->proxy->store, &w->manifest.digest, w->manifest.size, &fd);
    if (w->err != 0)
        return;
    w->err = file_pread_full(fd, w->body.data, w->body.len, 0);
    close(fd);
}

static void manifest_done(struct tag_wait *wait, int err, const struct fetch_manifest *m,
                          const struct fetch_failure *why)
{
    struct warm *w = CONTAINER_OF(wait, struct warm, wait);

    if (err != 0 || m->size > w->f->start->conf->max_manifest) {
        warm_note(w, err != 0 && why ? why->reason : "a manifest is too large");
        w->at_once--;
        warm_go_on(w);
        return;
    }
    w->manifest = *m;
    snprintf(w->media_type, sizeof(w->media_type), "%s", m->media_type);
    str_reset(&w->body);
    str_reserve(&w->body, (size_t)m->size + 1);
    w->body.len = (size_t)m->size;
    w->job.work = read_work;
    w->job.done = read_done;
    pool_submit_slow(w->f->pool, &w->job);
}

static void blob_done(struct job_want *want, int err, const char *reason)
{
    struct warm_item *item = CONTAINER_OF(want, struct warm_item, want);
    struct warm *w = item->warm;

    if (err != 0) {
        warm_note(w, reason);
    } else {
        w->status.blobs_done++;
        w->status.bytes_done += item->size;
    }
    free(item);
    w->at_once--;
    warm_go_on(w);
}

/* Manifests one after the other and first; then a few blobs at once. */
static void warm_go_on(struct warm *w)
{
    struct warm_item *item;

    while (w->at_once < AT_ONCE && (item = TAILQ_FIRST(&w->todo)) != NULL) {
        struct push_target t = {
            .repo = w->proxy->repo->name, .image = w->image, .digest = item->digest};

        if (item->manifest && w->at_once > 0)
            return;
        TAILQ_REMOVE(&w->todo, item, entry);
        w->at_once++;
        if (item->manifest) {
            digest_text(&item->digest, w->ref_text);
            free(item);
            w->wait.done = manifest_done;
            tag_get(w->f, w->proxy->repo->name, w->image, w->ref_text, "", &w->wait);
            return;
        }
        item->want.done = blob_done;
        job_want(w->f, &t, &item->want);
    }
    if (w->at_once == 0 && w->status.state == FETCH_WARM_RUNNING)
        warm_end(w);
}

void warm_ask(struct fetch *f, struct serve_return to, const struct fetch_warm *q)
{
    static const struct fetch_failure many = {.retry_after_s = 60,
                                              .reason = "too many images are being fetched"};
    static const struct fetch_failure none = {.reason = "there is no such proxy repository"};
    struct proxy *p = fetch_proxy(f, q->repo);
    struct msg_writer reply = {0};
    struct warm *w;

    if (!f->warms) {
        f->warms = mem_alloc(sizeof(*f->warms));
        TAILQ_INIT(&f->warms->list);
    }
    if (!p || f->warms->count >= WARMS_MAX) {
        fetch_fail(f, to, p ? ERR_BUSY : ERR_NOT_FOUND, p ? &many : &none);
        return;
    }
    w = mem_alloc(sizeof(*w));
    w->f = f;
    w->proxy = p;
    w->id = fetch_now_s() << 20 | ++f->warms->last_id; /* not one of an earlier fetcher */
    w->image = mem_strdup(q->image);
    w->ref = mem_strdup(q->ref);
    w->platform = mem_strdup(q->platform);
    w->at_once = 1;
    TAILQ_INIT(&w->todo);
    TAILQ_INSERT_TAIL(&f->warms->list, w, entry);
    f->warms->count++;
    w->wait.done = manifest_done;
    tag_get(f, p->repo->name, w->image, w->ref, "", &w->wait);
    serve_reply_begin(&reply, to);
    reply_err_put(&reply, 0);
    fetch_warm_id_put(&reply, w->id);
    serve_reply(f->serve, to, &reply, -1);
}

void warm_status(struct fetch *f, struct serve_return to, uint64_t id)
{
    static const struct fetch_failure none = {
        .reason = "the fetcher was started anew meanwhile: start again, what came is kept"};
    struct msg_writer reply = {0};
    struct warm *w = NULL;

    if (f->warms)
        TAILQ_FOREACH(w, &f->warms->list, entry)
            if (w->id == id)
                break;
    if (!w) {
        fetch_fail(f, to, ERR_NOT_FOUND, &none);
        return;
    }
    w->status.reason = w->reason;
    serve_reply_begin(&reply, to);
    reply_err_put(&reply, 0);
    fetch_warm_status_put(&reply, &w->status);
    serve_reply(f->serve, to, &reply, -1);
}
