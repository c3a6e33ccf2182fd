/*
 * keep.c - from an upstream's answer to a manifest that is served.
 *
 * The fetcher. Nothing is kept whose digest is not the one asked for (or, for a tag, the
 * one the upstream itself tells) and that is no manifest. A crash here leaves a blob
 * without a record.
 */
#include "fetcher/keep.h"

#include "base/container.h"
#include "base/fail.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

static void keep_end(struct keep *k, int err, const char *reason)
{
    struct fetch_manifest m = {.digest = k->digest,
                               .size = k->body->len,
                               .media_type = k->put.manifest.media_type,
                               .reason = ""};
    struct mem_arena *arena = k->arena;

    k->arena = NULL;
    k->done(k, err, &m, reason);
    mem_arena_free(&arena);
}

static void put_done(struct ask *ask, int err, struct msg_reader *reply, int fd)
{
    struct keep *k = CONTAINER_OF(ask, struct keep, ask);

    (void)fd;
    if (err == 0)
        err = reply_err_get(reply);
    if (err != 0) {
        log_warn("the catalog does not take a manifest", "repository=%s image=%s err=%s",
                 k->proxy->repo->name, log_quote(k->image), log_quote(err_text(err)));
        keep_end(k, err == ERR_NO_SPACE ? err : ERR_UNAVAILABLE, "the manifest cannot be kept");
        return;
    }
    keep_end(k, 0, "");
}

static void write_done(struct pool_job *job)
{
    struct keep *k = CONTAINER_OF(job, struct keep, job);

    if (k->err != 0) {
        keep_end(k, k->err,
                 k->err == ERR_NO_SPACE    ? "there is not enough space for it in the blob store"
                 : k->err == ERR_READ_ONLY ? "the blob store is read-only"
                                           : "the manifest cannot be written");
        return;
    }
    FAIL_POINT(fetcher_manifest);
    k->ask.done = put_done;
    push_manifest_put(link_ask_begin(k->f->catalog, &k->ask, MSG_MANIFEST_PUT), &k->put);
    link_ask_send(k->f->catalog, &k->ask);
}

static void write_work(struct pool_job *job)
{
    struct keep *k = CONTAINER_OF(job, struct keep, job);

    k->err = store_blob_write(k->proxy->store, &k->digest, k->body->data, k->body->len);
}

/* NULL: it is what was asked for. */
static const char *keep_mismatch(struct keep *k)
{
    struct digest said = {0};

    digest_of(k->want.alg ? k->want.alg : (uint8_t)DIGEST_SHA256, k->body->data, k->body->len,
              &k->digest);
    if (k->want.alg)
        return digest_equal(&k->want, &k->digest)
                   ? NULL
                   : "the upstream sent a manifest of another digest";
    if (k->said && digest_parse(k->said, &said) == 0) {
        digest_of(said.alg, k->body->data, k->body->len, &k->digest);
        if (!digest_equal(&said, &k->digest))
            return "the upstream's manifest does not have the digest that it tells";
    }
    return NULL;
}

void keep_manifest(struct keep *k)
{
    char type[128];
    const char *reason;
    char text[FETCH_REASON_MAX];

    memset(&k->put, 0, sizeof(k->put));
    snprintf(type, sizeof(type), "%s", k->content_type ? k->content_type : "");
    type[strcspn(type, "; \t")] = 0;
    k->arena = mem_arena_new();
    if (k->body->len == 0) {
        keep_end(k, ERR_PROTOCOL, "the upstream sent an empty manifest");
        return;
    }
    reason = keep_mismatch(k);
    if (reason) {
        log_warn("an upstream sent another manifest than was asked for", "repository=%s image=%s",
                 k->proxy->repo->name, log_quote(k->image));
        keep_end(k, ERR_MISMATCH, reason);
        return;
    }
    if (manifest_parse(k->arena, type, k->body->data, k->body->len, &k->put.manifest, &reason) !=
        0) {
        snprintf(text, sizeof(text), "the upstream answered with no manifest (%.100s): %.300s",
                 type[0] ? type : "no type", reason);
        keep_end(k, ERR_PROTOCOL, text);
        return;
    }
    k->put.target = (struct push_target){
        .repo = k->proxy->repo->name, .image = k->image, .digest = k->digest, .size = k->body->len};
    if (k->tag) {
        k->put.tags[0] = k->tag;
        k->put.tag_count = 1;
    }
    k->put.condition = PUSH_ALWAYS;
    k->job.work = write_work;
    k->job.done = write_done;
    pool_submit(k->f->pool, &k->job);
}
