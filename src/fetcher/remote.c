/*
 * remote.c - requests to remotes, with all that may come between question and answer.
 *
 * The fetcher. A remote that cannot be reached, times out, answers 5xx or 429 (limit.h) hands over
 * to the next; any other answer is final. Redirects are followed by hand, and no
 * credential ever follows one to another scheme, host or port. Owns nothing but the
 * running exchange; a crash here is a request that the asker repeats.
 */
#include "fetcher/remote.h"

#include "base/container.h"
#include "base/log.h"
#include "base/mem.h"
#include "fetcher/health.h"
#include "fetcher/hint.h"
#include "fetcher/url.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char remote_accept_manifests[] =
    "Accept: application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.docker.distribution.manifest.v2+json, */*";

STATES_DEFINE(remote_states, "a request to remotes", REMOTE_STATES);

static void remote_try(struct remote_request *r);
static void remote_send(struct remote_request *r);

void remote_image(const struct proxy *p, const char *image, struct str *out)
{
    str_printf(out, "%s%s", p->conf->docker_hub && !strchr(image, '/') ? "library/" : "", image);
}

/* By what is asked for and not by who asks: so remotes count. */
static struct limit *limit_of(const struct remote_request *r)
{
    enum fetch_limit kind = FETCH_LIMIT_LIST;

    if (strncmp(r->path, "manifests/", 10) == 0)
        kind = r->head ? FETCH_LIMIT_MANIFEST_HEAD : FETCH_LIMIT_MANIFEST;
    else if (strncmp(r->path, "blobs/", 6) == 0)
        kind = r->head ? FETCH_LIMIT_BLOB_HEAD : FETCH_LIMIT_BLOB;
    return &r->proxy->health[r->used].limits[kind];
}

static struct loop *loop_of(const struct remote_request *r)
{
    return r->proxy->f->loop;
}

static void remote_move(struct remote_request *r, enum remote_state state)
{
    states_must(&remote_states, r->state, state);
    r->state = state;
}

static void remote_over(struct remote_request *r)
{
    remote_move(r, REMOTE_IDLE);
    bearer_leave(&r->wait);
    limit_leave(&r->pass);
    loop_timer_cancel(loop_of(r), &r->later);
    if (r->wire)
        upstream_cancel(r->wire);
    r->wire = NULL;
    str_free(&r->url);
    str_free(&r->first_url);
    if (r->authorization.data)
        explicit_bzero(r->authorization.data, r->authorization.len);
    str_free(&r->authorization);
    if (r->token)
        explicit_bzero(r->token, strlen(r->token));
    free(r->token);
    r->token = NULL;
}

static void remote_finish(struct remote_request *r, int err, const struct upstream_head *head,
                          uint32_t retry_after_s, const char *reason)
{
    static const struct upstream_head none = {.length = UINT64_MAX};
    struct fetch_failure why = {.retry_after_s = retry_after_s, .reason = reason};

    if (err != 0 && err != ERR_NOT_FOUND)
        r->proxy->errors++;
    remote_over(r);
    r->on_done(r, err, head ? head : &none, &why);
}

/* This remote cannot answer: the next may. */
static void remote_next(struct remote_request *r, int err, uint32_t retry_after_s,
                        const char *reason)
{
    struct str text = {0};

    str_printf(&text, "%s: %s", r->one_hop_only ? "the index" : "the remote registry", reason);
    log_info("a remote cannot answer: the next is asked, if there is one",
             "repository=%s remote=%s reason=%s", r->proxy->repo->name,
             log_quote(r->one_hop_only ? "index" : r->proxy->conf->remotes[r->used].url),
             log_quote(reason));
    /* What a remote really said counts more than that another is down. */
    if (r->last.err == 0 || r->last.err == ERR_UNAVAILABLE)
        failed_set(&r->last, err, retry_after_s, text.data);
    str_free(&text);
    limit_leave(&r->pass);
    r->tried++;
    remote_try(r);
}

static bool final_status(int status)
{
    return status == 200 || status == 206 || status == 304;
}

static enum upstream_take wire_head(void *ctx, const struct upstream_head *head)
{
    struct remote_request *r = ctx;

    if (!final_status(head->status))
        return UPSTREAM_TAKEN;
    limit_passed(&r->pass);
    remote_move(r, REMOTE_ANSWER);
    return r->on_head ? r->on_head(r, head) : UPSTREAM_TAKEN;
}

static enum upstream_take wire_body(void *ctx, const void *data, size_t len)
{
    struct remote_request *r = ctx;

    r->proxy->bytes += len;
    if (r->state != REMOTE_ANSWER)
        return UPSTREAM_TAKEN; /* of an error page: nobody reads it */
    return r->on_body ? r->on_body(r, data, len) : UPSTREAM_TAKEN;
}

static void remote_redirect(struct remote_request *r, const struct upstream_head *head)
{
    struct url from, to;
    struct str next = {0};

    if (++r->redirects > REMOTE_REDIRECTS_MAX) {
        remote_finish(r, ERR_PROTOCOL, head, 0, "the upstream redirects without end");
        return;
    }
    if (!head->location || url_resolve(r->url.data, head->location, &next) != 0 ||
        url_parse(r->url.data, &from) != 0 || url_parse(next.data, &to) != 0) {
        str_free(&next);
        remote_finish(r, ERR_PROTOCOL, head, 0, "the upstream redirects to no usable URL");
        return;
    }
    if (from.tls && !to.tls) {
        str_free(&next);
        remote_finish(r, ERR_PROTOCOL, head, 0, "the upstream redirects from https to http");
        return;
    }
    if (!url_same_origin(&from, &to)) {
        r->foreign = true; /* and so it stays: a way back is not the remote's own word */
        r->challenged = false;
        free(r->token);
        r->token = NULL;
    }
    str_free(&r->url);
    r->url = next;
    remote_send(r);
}

static struct limit *token_limit(const struct remote_request *r)
{
    return &r->proxy->health[r->used].limits[FETCH_LIMIT_TOKEN];
}

static void token_done(struct bearer_wait *wait, int err, const char *token, uint32_t retry_after_s,
                       const char *why)
{
    struct remote_request *r = CONTAINER_OF(wait, struct remote_request, wait);

    if (err == ERR_BUSY && !r->foreign && !r->one_hop_only)
        retry_after_s = limit_close(token_limit(r), loop_now_ms(loop_of(r)), retry_after_s);
    if (err == 0) {
        if (!r->foreign && !r->one_hop_only)
            limit_open(token_limit(r));
        free(r->token);
        r->token = mem_strdup(token);
        remote_send(r);
    } else if (err == ERR_UNAVAILABLE || err == ERR_TIMEOUT || err == ERR_BUSY) {
        remote_next(r, err, retry_after_s, why);
    } else {
        remote_finish(r, err, NULL, retry_after_s, why);
    }
}

static void remote_token(struct remote_request *r, const struct challenge *c)
{
    const char *token = bearer_peek(r->proxy, c, !r->foreign && !r->one_hop_only);
    uint32_t closed_s;

    if (token) {
        r->token = mem_strdup(token);
        remote_send(r);
        return;
    }
    closed_s =
        r->foreign || r->one_hop_only ? 0 : limit_closed_s(token_limit(r), loop_now_ms(loop_of(r)));
    if (closed_s > 0) {
        remote_next(r, ERR_BUSY, closed_s, "its token server said: too many requests");
        return;
    }
    r->wait.done = token_done;
    remote_move(r, REMOTE_TOKEN);
    bearer_get(r->proxy, r->url.data, c, !r->foreign && !r->one_hop_only, &r->wait);
}

static void remote_unauthorized(struct remote_request *r, const struct upstream_head *head)
{
    struct mem_arena *arena;
    struct challenge c;

    if (r->token) {
        bearer_drop(r->proxy, r->token);
        free(r->token);
        r->token = NULL;
    }
    if (r->challenged) {
        remote_finish(r, ERR_DENIED, head, 0, "the upstream does not accept the credentials");
        return;
    }
    r->challenged = true;
    arena = mem_arena_new();
    if (challenge_choose(arena, head->challenges, head->challenge_count, &c) != 0) {
        remote_finish(r, ERR_DENIED, head, 0, "the upstream wants credentials of an unknown kind");
    } else if (c.bearer) {
        c.inner = r->inner;
        if (!r->foreign && r->image)
            hint_set(r->proxy, r->used, r->image, &c);
        remote_token(r, &c);
    } else if (r->foreign || r->basic || !bearer_password(r->proxy)) {
        remote_finish(r, ERR_DENIED, head, 0,
                      "the upstream wants credentials that it was not given");
    } else {
        r->proxy->health[r->used].basic = true;
        remote_send(r);
    }
    mem_arena_free(&arena);
}

static void remote_refused(struct remote_request *r, const struct upstream_head *head)
{
    char text[128];
    uint32_t wait = limit_retry_after(head->retry_after, time(NULL));

    snprintf(text, sizeof(text), "it answered %d", head->status);
    switch (head->status) {
    case 404:
    case 410:
        remote_finish(r, ERR_NOT_FOUND, head, 0, "the upstream does not have it");
        return;
    case 401:
        remote_unauthorized(r, head);
        return;
    case 403:
        remote_finish(r, ERR_DENIED, head, 0, "the upstream does not permit it");
        return;
    case 429:
        if (!r->foreign && !r->one_hop_only)
            wait = limit_close(limit_of(r), loop_now_ms(loop_of(r)), wait);
        remote_next(r, ERR_BUSY, wait == UINT32_MAX ? 1 : wait,
                    "too many requests: it answered 429");
        return;
    default:
        if (head->status >= 500)
            remote_next(r, ERR_UNAVAILABLE, wait == UINT32_MAX ? 0 : wait, text);
        else
            remote_finish(r, ERR_PROTOCOL, head, 0, text);
    }
}

static bool is_redirect(int status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static void wire_done(void *ctx, int err, const struct upstream_head *head, const char *why)
{
    struct remote_request *r = ctx;

    r->wire = NULL;
    if (head->status != 0 && !r->foreign && !r->one_hop_only) {
        r->inner = head->inner;
        health_good(r->proxy, r->used);
        limit_rate_take(&r->proxy->health[r->used].rate, head->rate_limit, head->rate_remaining,
                        loop_now_ms(loop_of(r)));
        if (head->status != 401 && head->status != 429 && head->status < 500)
            limit_passed(&r->pass);
    }
    if (r->state == REMOTE_SENT && (err == 0 || r->resumes))
        wire_head(r, head); /* no body came, so nobody told it */
    if (r->state == REMOTE_ANSWER) {
        remote_finish(r, err, head, 0, why); /* how to go on is the asker's business */
    } else if (err == 0 && is_redirect(head->status)) {
        remote_redirect(r, head);
    } else if (err == 0 || (err == ERR_CLOSED && head->status >= 400)) {
        remote_refused(r, head);
    } else if (err == ERR_DENIED) {
        remote_finish(r, err, head, 0, why);
    } else {
        if (err == ERR_UNAVAILABLE && !r->foreign && !r->one_hop_only)
            health_failed(r->proxy, r->used);
        remote_next(r, err, 0, why);
    }
}

_Static_assert(REMOTE_EXTRA_MAX + 1 < UPSTREAM_HEADERS_MAX, "with Authorization and the end");

static void remote_send(struct remote_request *r)
{
    struct proxy *p = r->proxy;
    struct upstream_ask ask = {.url = r->url.data,
                               .head = r->head,
                               .proxy = p->conf,
                               .bucket = p->bucket,
                               .on_head = wire_head,
                               .on_body = wire_body,
                               .on_done = wire_done,
                               .ctx = r};
    size_t n = 0;

    for (size_t i = 0; i < REMOTE_EXTRA_MAX && r->extra[i]; i++)
        ask.headers[n++] = r->extra[i];
    ask.any_address = p->conf->allow_private || r->inner || p->conf->http_proxy[0] || !r->foreign;
    r->basic = false;
    if (r->token) {
        str_reset(&r->authorization);
        str_printf(&r->authorization, "Authorization: Bearer %s", r->token);
        ask.headers[n++] = r->authorization.data;
    } else if (!r->foreign && p->health[r->used].basic && !r->one_hop_only) {
        ask.password = bearer_password(p);
        ask.username = ask.password ? p->conf->username : NULL;
        r->basic = ask.username != NULL;
    }
    p->requests++;
    remote_move(r, REMOTE_SENT);
    r->wire = upstream_start(p->upstream, &ask);
}

/* A token that is there, or that will be asked for, saves the request without one. */
static void remote_begin(struct remote_request *r)
{
    struct challenge c;

    if (!r->one_hop_only && r->image && hint_get(r->proxy, r->used, r->image, &c)) {
        remote_token(r, &c);
        return;
    }
    remote_send(r);
}

static void remote_url(struct remote_request *r)
{
    const struct conf_remote *remote = &r->proxy->conf->remotes[r->used];

    str_reset(&r->url);
    if (r->one_hop_only) {
        str_puts(&r->url, r->path);
        return;
    }
    str_printf(&r->url, "%s://%s:%u%s", remote->tls ? "https" : "http", remote->host, remote->port,
               remote->prefix);
    if (r->path[0] == '/') {
        str_puts(&r->url, r->path);
        return;
    }
    str_puts(&r->url, "/v2/");
    remote_image(r->proxy, r->image, &r->url);
    str_printf(&r->url, "/%s", r->path);
}

/* May the remote r->used be asked? NO: r->last says why not. */
static enum limit_word remote_may(struct remote_request *r)
{
    uint64_t now = loop_now_ms(loop_of(r));
    const struct remote_health *h = &r->proxy->health[r->used];
    enum limit_word word;

    if (r->one_hop_only)
        return LIMIT_GO;
    if (h->down_until_ms > now) {
        if (r->last.err == 0)
            failed_set(&r->last, ERR_UNAVAILABLE, (uint32_t)((h->down_until_ms - now + 999) / 1000),
                       "the remote is down: it could not be reached several times");
        return LIMIT_NO;
    }
    word = limit_ask(limit_of(r), &r->pass, now);
    if (word == LIMIT_NO && (r->last.err == 0 || r->last.err == ERR_UNAVAILABLE))
        failed_set(&r->last, ERR_BUSY, limit_closed_s(limit_of(r), now),
                   "the upstream said: too many requests");
    return word;
}

static void remote_try(struct remote_request *r)
{
    struct proxy *p = r->proxy;
    size_t count = r->one_hop_only ? 1 : p->conf->remote_count;

    for (; r->tried < count; r->tried++) {
        enum limit_word word;

        r->used = (r->first + r->tried) % count;
        word = remote_may(r);
        if (word == LIMIT_WAIT) {
            remote_move(r, REMOTE_LINE);
            return;
        }
        if (word == LIMIT_GO)
            break;
    }
    if (r->tried >= count) {
        struct failed last = r->last;

        remote_finish(r, last.err ? last.err : ERR_UNAVAILABLE, NULL, last.retry_after_s,
                      last.reason);
        return;
    }
    r->redirects = 0;
    r->foreign = r->challenged = r->inner = false;
    free(r->token);
    r->token = NULL;
    remote_url(r);
    remote_begin(r);
}

/* From the loop, so that an answer never comes from inside remote_start, nor from inside what lets
 * it out of a limit's line. */
static void remote_later(struct loop_timer *timer)
{
    remote_try(CONTAINER_OF(timer, struct remote_request, later));
}

static void remote_go(struct limit_pass *pass)
{
    struct remote_request *r = CONTAINER_OF(pass, struct remote_request, pass);

    loop_timer_set(loop_of(r), &r->later, 0);
}

void remote_start(struct remote_request *r)
{
    remote_move(r, REMOTE_STARTED);
    r->tried = 0;
    r->last = (struct failed){0};
    r->later.fire = remote_later;
    r->pass.go = remote_go;
    loop_timer_set(loop_of(r), &r->later, 0);
}

void remote_cancel(struct remote_request *r)
{
    if (r->state != REMOTE_IDLE)
        remote_over(r);
}

void remote_resume(struct remote_request *r)
{
    if (r->wire)
        upstream_resume(r->wire);
}
