/*
 * head.c - HEAD of blobs at the upstream, one a (repository, image, digest) at a time.
 *
 * The fetcher. Owns who waits for the answer. A crash here leaves nothing.
 */
#include "fetcher/head.h"

#include "base/container.h"
#include "base/mem.h"
#include "fetcher/job.h"
#include "fetcher/misses.h"
#include "fetcher/share.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct head_waiter {
    struct serve_return to;
    bool join;
    TAILQ_ENTRY(head_waiter) entry;
};

struct head {
    struct fetch *f;
    struct push_target target; /* strings owned */
    char *key;
    char path[16 + DIGEST_TEXT_MAX];
    struct remote_request request;
    struct share share;
    TAILQ_HEAD(, head_waiter) waiters;
    UT_hash_handle hh;
};

static void head_tell(struct head *h, const struct head_waiter *w, int err, uint64_t size,
                      const struct fetch_failure *why)
{
    struct msg_writer reply = {0};

    if (err != 0) {
        fetch_fail(h->f, w->to, err, why);
    } else if (w->join) {
        job_ask(h->f, w->to, &h->target, "", true);
    } else {
        serve_reply_begin(&reply, w->to);
        reply_err_put(&reply, 0);
        fetch_size_put(&reply, size);
        serve_reply(h->f->serve, w->to, &reply, -1);
    }
}

static void head_done(struct remote_request *r, int err, const struct upstream_head *head,
                      const struct fetch_failure *why)
{
    static const struct fetch_failure no_length = {.reason = "the upstream does not tell its size"};
    struct head *h = CONTAINER_OF(r, struct head, request);
    struct head_waiter *w;
    struct failed failed;

    HASH_DEL(h->f->heads, h);
    share_give(&h->share);
    if (err != 0) {
        failed_set(&failed, err, why->retry_after_s, why->reason);
        misses_add(r->proxy->misses, h->key, &failed, misses_ms(r->proxy, err));
    }
    while ((w = TAILQ_FIRST(&h->waiters)) != NULL) {
        TAILQ_REMOVE(&h->waiters, w, entry);
        if (err == 0 && !w->join && head->length == UINT64_MAX)
            head_tell(h, w, ERR_PROTOCOL, 0, &no_length);
        else
            head_tell(h, w, err, head->length, why);
        free(w);
    }
    free((char *)(uintptr_t)h->target.repo);
    free((char *)(uintptr_t)h->target.image);
    free(h->key);
    loop_free_later(h->f->loop, h);
}

static struct head *head_new(struct fetch *f, struct proxy *p, const struct push_target *t,
                             const char *key)
{
    struct head *h = mem_alloc(sizeof(*h));
    char text[DIGEST_TEXT_MAX];

    h->f = f;
    h->key = mem_strdup(key);
    h->target = *t;
    h->target.repo = mem_strdup(t->repo);
    h->target.image = mem_strdup(t->image);
    TAILQ_INIT(&h->waiters);
    snprintf(h->path, sizeof(h->path), "blobs/%s", digest_text(&t->digest, text));
    h->request.proxy = p;
    h->request.head = true;
    h->request.image = h->target.image;
    h->request.path = h->path;
    h->request.on_done = head_done;
    HASH_ADD_KEYPTR(hh, f->heads, h->key, strlen(h->key), h);
    remote_start(&h->request);
    return h;
}

void head_ask(struct fetch *f, struct serve_return to, const struct push_target *t,
              const char *client, bool join)
{
    struct proxy *p = fetch_proxy(f, t->repo);
    const struct failed *miss;
    struct head_waiter *w;
    char text[DIGEST_TEXT_MAX];
    const struct fetch_failure *busy;
    struct share share = {0};
    struct str key = {0};
    struct head *h;

    if (!p) {
        fetch_fail(f, to, ERR_UNSUPPORTED, NULL);
        return;
    }
    str_printf(&key, "head %s %s %s", t->repo, t->image, digest_text(&t->digest, text));
    miss = misses_find(p->misses, key.data);
    if (miss) {
        struct fetch_failure why = {.retry_after_s = miss->retry_after_s, .reason = miss->reason};

        str_free(&key);
        fetch_fail(f, to, miss->err, &why);
        return;
    }
    HASH_FIND_STR(f->heads, key.data, h);
    if (!h && share_take(&share, p, client, &busy) != 0) {
        str_free(&key);
        fetch_fail(f, to, ERR_BUSY, busy);
        return;
    }
    if (!h) {
        h = head_new(f, p, t, key.data);
        h->share = share;
    }
    str_free(&key);
    w = mem_alloc(sizeof(*w));
    w->to = to;
    w->join = join;
    TAILQ_INSERT_TAIL(&h->waiters, w, entry);
}
