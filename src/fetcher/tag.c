/*
 * tag.c - one question about a manifest at a time, for all who ask it.
 *
 * The fetcher. A tag is confirmed by HEAD (which Docker Hub does not count as a pull);
 * only when it points elsewhere is the manifest fetched, by digest. What is kept:
 * verified, parsed, durable in the store, then in the catalog; the answer comes last.
 * Owns the waiters and the running request. A crash here loses the question, which
 * the worker repeats.
 */
#include "fetcher/tag.h"

#include "base/container.h"
#include "base/log.h"
#include "base/mem.h"
#include "fetcher/health.h"
#include "fetcher/keep.h"
#include "fetcher/misses.h"
#include "fetcher/share.h"
#include "oci/name.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

/* An upstream that fails is not asked about the same tag for that long. */
#define FAILED_MS 10000

struct tag {
    struct fetch *f;
    struct proxy *proxy;
    char *key, *repo, *image, *ref;
    bool by_digest;
    struct digest want;   /* by_digest, or what HEAD said; alg 0: not known */
    struct digest cached; /* the tag's, alg 0: none */
    uint64_t cached_size;
    char cached_type[NAME_MEDIA_TYPE_MAX + 1];
    struct collect get;
    struct str none_match;
    char path[16 + NAME_IMAGE_MAX];
    struct keep keep;
    struct ask ask;
    struct loop_timer later;
    char client[FETCH_CLIENT_MAX + 1]; /* who asked first */
    struct share share;
    struct failed failed;
    TAILQ_HEAD(, tag_wait) waits;
    UT_hash_handle hh;
};

struct tags {
    struct tag *table;
};

static void tag_get_manifest(struct tag *t);

static void tag_free(struct tag *t)
{
    loop_timer_cancel(t->f->loop, &t->later);
    remote_cancel(&t->get.request);
    share_give(&t->share);
    str_free(&t->get.body);
    str_free(&t->none_match);
    free(t->key);
    free(t->repo);
    free(t->image);
    free(t->ref);
    loop_free_later(t->f->loop, t);
}

static void tag_end(struct tag *t, int err, const struct fetch_manifest *m,
                    const struct fetch_failure *why)
{
    struct tag_wait *w;

    HASH_DEL(t->f->tags->table, t);
    while ((w = TAILQ_FIRST(&t->waits)) != NULL) {
        TAILQ_REMOVE(&t->waits, w, entry);
        w->done(w, err, m, why);
    }
    tag_free(t);
}

static void tag_cached(struct tag *t, bool stale, const char *reason)
{
    struct fetch_manifest m = {.digest = t->cached,
                               .size = t->cached_size,
                               .media_type = t->cached_type,
                               .stale = stale,
                               .reason = reason};

    tag_end(t, 0, &m, NULL);
}

static bool failure_is_passing(int err)
{
    return err == ERR_TIMEOUT || err == ERR_UNAVAILABLE || err == ERR_BUSY || err == ERR_CLOSED;
}

/* The upstream gave no usable answer: an old one may do. */
static void tag_failed(struct tag *t, int err, const struct fetch_failure *why)
{
    struct failed failed;
    bool passing = failure_is_passing(err);

    failed_set(&failed, err == ERR_CLOSED ? ERR_UNAVAILABLE : err, why->retry_after_s, why->reason);
    misses_add(t->proxy->misses, t->key, &failed,
               passing && t->cached.alg ? FAILED_MS : misses_ms(t->proxy, err));
    if (passing && t->cached.alg && t->proxy->conf->serve_stale)
        tag_cached(t, true, failed.reason);
    else
        tag_end(t, failed.err, NULL,
                &(struct fetch_failure){.retry_after_s = failed.retry_after_s,
                                        .reason = failed.reason});
}

static void gone_done(struct ask *ask, int err, struct msg_reader *reply, int fd)
{
    struct tag *t = CONTAINER_OF(ask, struct tag, ask);
    struct fetch_failure why = {.reason = "the upstream does not have it"};

    (void)fd;
    if (err == 0)
        err = reply_err_get(reply);
    if (err != 0 && err != ERR_NOT_FOUND)
        log_warn("the catalog did not drop a tag that is gone", "repository=%s image=%s err=%s",
                 t->repo, log_quote(t->image), log_quote(err_text(err)));
    tag_end(t, ERR_NOT_FOUND, NULL, &why);
}

static void touch_done(struct ask *ask, int err, struct msg_reader *reply, int fd)
{
    struct tag *t = CONTAINER_OF(ask, struct tag, ask);

    (void)fd;
    if (err == 0)
        err = reply_err_get(reply);
    if (err == ERR_NOT_FOUND) {
        t->cached.alg = 0; /* it went or moved meanwhile */
        tag_get_manifest(t);
        return;
    }
    tag_cached(t, false, "");
}

static void tag_tell_catalog(struct tag *t, enum msg_type type,
                             void (*done)(struct ask *, int, struct msg_reader *, int))
{
    struct proxy_tag q = {.tag = {.repo = t->repo, .image = t->image, .tag = t->ref},
                          .digest = t->cached};
    struct msg_writer *w;

    t->ask.done = done;
    w = link_ask_begin(t->f->catalog, &t->ask, type);
    proxy_tag_put(w, &q);
    link_ask_send(t->f->catalog, &t->ask);
}

static void tag_missing(struct tag *t, const struct fetch_failure *why)
{
    struct failed failed;

    failed_set(&failed, ERR_NOT_FOUND, 0, why->reason);
    misses_add(t->proxy->misses, t->key, &failed, misses_ms(t->proxy, ERR_NOT_FOUND));
    if (!t->by_digest && t->cached.alg)
        tag_tell_catalog(t, MSG_TAG_GONE, gone_done);
    else
        tag_end(t, ERR_NOT_FOUND, NULL, why);
}

static void keep_done(struct keep *keep, int err, const struct fetch_manifest *m,
                      const char *reason)
{
    struct tag *t = CONTAINER_OF(keep, struct tag, keep);
    struct fetch_failure why = {.reason = reason};

    if (err == 0)
        tag_end(t, 0, m, NULL);
    else
        tag_failed(t, err, &why);
}

static void get_done(struct collect *c, int err, const struct upstream_head *head,
                     const struct fetch_failure *why)
{
    struct tag *t = CONTAINER_OF(c, struct tag, get);

    static const struct fetch_failure lost = {
        .reason = "the upstream does not have the manifest that its tag names"};

    if (err == ERR_NOT_FOUND && !t->by_digest && t->want.alg) {
        tag_failed(t, ERR_PROTOCOL, &lost);
        return;
    }
    if (err == ERR_NOT_FOUND) {
        tag_missing(t, why);
        return;
    }
    if (err != 0) {
        tag_failed(t, err, why);
        return;
    }
    if (head->status == 304 && t->cached.alg) {
        tag_tell_catalog(t, MSG_TAG_TOUCH, touch_done);
        return;
    }
    t->keep.f = t->f;
    t->keep.proxy = t->proxy;
    t->keep.image = t->image;
    t->keep.tag = t->by_digest ? NULL : t->ref;
    t->keep.want = t->want;
    t->keep.said = head->digest;
    t->keep.content_type = head->content_type;
    t->keep.body = &c->body;
    t->keep.done = keep_done;
    keep_manifest(&t->keep);
}

static void tag_path(struct tag *t)
{
    char text[DIGEST_TEXT_MAX];

    snprintf(t->path, sizeof(t->path), "manifests/%s",
             t->want.alg ? digest_text(&t->want, text) : t->ref);
}

/* A tag that moved, or may have, while few pulls are left: what is here spares one. HEADs go on;
 * they cost no pull. */
static bool tag_spared(struct tag *t)
{
    if (t->by_digest || !t->cached.alg || !health_spared(t->proxy))
        return false;
    tag_cached(t, true, "few pulls are left at the upstream: an old answer spares them");
    return true;
}

/* By digest when that is known: whatever the tag does meanwhile, it is what HEAD said. */
static void tag_get_manifest(struct tag *t)
{
    char text[DIGEST_TEXT_MAX];
    size_t n = 0;

    if (tag_spared(t))
        return;
    tag_path(t);
    t->get.request.head = false;
    t->get.request.extra[n++] = remote_accept_manifests;
    t->get.request.extra[1] = NULL;
    if (t->cached.alg && !t->want.alg) {
        str_reset(&t->none_match);
        str_printf(&t->none_match, "If-None-Match: \"%s\"", digest_text(&t->cached, text));
        t->get.request.extra[n++] = t->none_match.data;
    }
    t->get.max = (size_t)t->f->start->conf->max_manifest;
    t->get.done = get_done;
    collect_start(&t->get);
}

static void head_done(struct collect *c, int err, const struct upstream_head *head,
                      const struct fetch_failure *why)
{
    struct tag *t = CONTAINER_OF(c, struct tag, get);

    if (err == ERR_NOT_FOUND) {
        tag_missing(t, why);
        return;
    }
    if (err == ERR_BUSY || (err == ERR_PROTOCOL && head->status == 405)) {
        tag_get_manifest(t); /* no HEAD here, or not now: that says nothing about GET */
        return;
    }
    if (err != 0) {
        tag_failed(t, err, why);
        return;
    }
    if (!head->digest || digest_parse(head->digest, &t->want) != 0)
        t->want.alg = 0;
    if (t->want.alg && t->cached.alg && digest_equal(&t->want, &t->cached))
        tag_tell_catalog(t, MSG_TAG_TOUCH, touch_done);
    else
        tag_get_manifest(t);
}

static void tag_head(struct tag *t)
{
    tag_path(t);
    t->get.request.head = true;
    t->get.request.extra[0] = remote_accept_manifests;
    t->get.request.extra[1] = NULL;
    t->get.max = SIZE_MAX;
    t->get.done = head_done;
    collect_start(&t->get);
}

static bool tag_remembered(struct tag *t)
{
    const struct failed *miss = misses_find(t->proxy->misses, t->key);
    struct fetch_failure why;

    if (!miss)
        return false;
    t->failed = *miss;
    why = (struct fetch_failure){.retry_after_s = t->failed.retry_after_s,
                                 .reason = t->failed.reason};
    if (failure_is_passing(t->failed.err) && t->cached.alg && t->proxy->conf->serve_stale)
        tag_cached(t, true, t->failed.reason);
    else
        tag_end(t, t->failed.err, NULL, &why);
    return true;
}

/* The first who asks needs a share of the fetcher. Not remembered: another client may have one. */
static bool tag_admitted(struct tag *t)
{
    const struct fetch_failure *why;

    if (share_take(&t->share, t->proxy, t->client, &why) == 0)
        return true;
    if (t->cached.alg && t->proxy->conf->serve_stale)
        tag_cached(t, true, why->reason);
    else
        tag_end(t, ERR_BUSY, NULL, why);
    return false;
}

static void tag_begin(struct loop_timer *timer)
{
    struct tag *t = CONTAINER_OF(timer, struct tag, later);
    struct index_entry entry;

    if (fetch_index_find(t->f, t->by_digest ? INDEX_MANIFEST : INDEX_TAG, t->repo, t->image, t->ref,
                         &entry) == 0 &&
        entry.digest) {
        t->cached = *entry.digest;
        t->cached_size = entry.size;
        snprintf(t->cached_type, sizeof(t->cached_type), "%s", entry.media_type);
    }
    if (t->by_digest && t->cached.alg)
        tag_cached(t, false, "");
    else if (!tag_remembered(t) && tag_admitted(t)) {
        if (t->by_digest)
            tag_get_manifest(t);
        else
            tag_head(t);
    }
}

void tag_get(struct fetch *f, const char *repo, const char *image, const char *ref,
             const char *client, struct tag_wait *wait)
{
    struct str key = {0};
    struct tag *t;

    if (!f->tags)
        f->tags = mem_alloc(sizeof(*f->tags));
    str_printf(&key, "manifest %s %s %s", repo, image, ref);
    HASH_FIND_STR(f->tags->table, key.data, t);
    if (!t) {
        t = mem_alloc(sizeof(*t));
        t->f = f;
        t->proxy = fetch_proxy(f, repo);
        t->key = mem_strdup(key.data);
        t->repo = mem_strdup(repo);
        t->image = mem_strdup(image);
        t->ref = mem_strdup(ref);
        snprintf(t->client, sizeof(t->client), "%s", client);
        t->by_digest = digest_parse(ref, &t->want) == 0;
        if (!t->by_digest)
            t->want.alg = 0;
        TAILQ_INIT(&t->waits);
        t->get.request.proxy = t->proxy;
        t->get.request.image = t->image;
        t->get.request.path = t->path;
        t->later.fire = tag_begin;
        loop_timer_set(f->loop, &t->later, 0);
        HASH_ADD_KEYPTR(hh, f->tags->table, t->key, strlen(t->key), t);
    }
    str_free(&key);
    TAILQ_INSERT_TAIL(&t->waits, wait, entry);
}

struct tag_question {
    struct tag_wait wait;
    struct fetch *f;
    struct serve_return to;
};

static void question_done(struct tag_wait *wait, int err, const struct fetch_manifest *m,
                          const struct fetch_failure *why)
{
    struct tag_question *q = CONTAINER_OF(wait, struct tag_question, wait);
    struct msg_writer w = {0};

    if (err != 0) {
        fetch_fail(q->f, q->to, err, why);
    } else {
        serve_reply_begin(&w, q->to);
        reply_err_put(&w, 0);
        fetch_manifest_put(&w, m);
        serve_reply(q->f->serve, q->to, &w, -1);
    }
    free(q);
}

void tag_ask(struct fetch *f, struct serve_return to, const struct fetch_wanted *q,
             const char *client)
{
    struct tag_question *asked;

    if (!fetch_proxy(f, q->repo)) {
        fetch_fail(f, to, ERR_UNSUPPORTED, NULL);
        return;
    }
    asked = mem_alloc(sizeof(*asked));
    asked->wait.done = question_done;
    asked->f = f;
    asked->to = to;
    tag_get(f, q->repo, q->image, q->ref, client, &asked->wait);
}
