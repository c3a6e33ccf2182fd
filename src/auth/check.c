/*
 * check.c - is it the right password? And the token that follows.
 *
 * Runs in AUTH. bcrypt runs on a few threads behind a bounded queue: who finds it
 * full is told to come again, and no flood of guesses makes anybody else wait for
 * long. An unknown user costs as much time as a known one. Whoever's address or
 * name has failed too often is not locked out: some of those questions are still
 * checked, and only their failures are told late, so that a good password works
 * from behind the noisiest address. A crash here leaves questions that its successor is asked
 * again; failures that were counted stay counted (shm/throttle.h).
 */
#include "auth/state.h"

#include "base/container.h"
#include "base/fail.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

struct check {
    struct pool_job job;
    struct loop_timer late;
    struct auth *a;
    struct serve_return to;
    struct mem_arena *arena;
    struct auth_question q; /* strings in the arena */
    char *hash;             /* of the user; NULL: there is none */
    int cost;               /* what a wrong password takes */
    bool token, good;
    enum auth_lane lane;
};

static uint64_t clock_s(const struct auth *a)
{
    return loop_now_ms(a->loop) / 1000;
}

static void check_free(struct check *c)
{
    c->a->in_lane[c->lane]--;
    explicit_bzero((char *)(uintptr_t)c->q.password, strlen(c->q.password));
    mem_arena_free(&c->arena);
    loop_free_later(c->a->loop, c);
}

/* The epoch and stamp of a principal, and the token they sign. */
static void answer_good(struct auth *a, struct serve_return to, const struct auth_question *q,
                        bool token, const char *principal, const char *secret)
{
    struct msg_writer answer = {0};
    struct token t = {.user = principal,
                      .stamp = secret ? auth_stamp(a, secret) : 0,
                      .epoch = a->epoch,
                      .issued_s = (uint64_t)time(NULL),
                      .scope_count = q->scope_count,
                      .catalog = q->catalog};
    uint32_t ttl_s = (uint32_t)(a->start->conf->auth.token_ttl_ms / 1000);

    serve_reply_begin(&answer, to);
    reply_err_put(&answer, 0);
    if (token) {
        struct str text = {0};

        memcpy(t.scopes, q->scopes, sizeof(t.scopes));
        t.expires_s = t.issued_s + ttl_s;
        token_write(&t, a->key, &text);
        auth_issued_put(&answer, &(struct auth_issued){text.data, t.issued_s, ttl_s});
        str_free(&text);
    } else {
        auth_name_put(&answer, principal);
    }
    serve_reply(a->serve, to, &answer, -1);
}

static void verdict_of(struct auth *a, const struct auth_question *q, const char *hash,
                       uint8_t out[SIGN_MAC_BYTES])
{
    struct str text = {0};

    str_append(&text, q->user, strlen(q->user) + 1);
    str_append(&text, hash, strlen(hash) + 1);
    str_puts(&text, q->password);
    sign_mac_of(a->mac, text.data, text.len, out);
    explicit_bzero(text.data, text.len);
    str_free(&text);
}

static uint8_t *verdict_place(struct auth *a, const uint8_t mac[SIGN_MAC_BYTES])
{
    uint32_t number;

    memcpy(&number, mac, sizeof(number));
    return a->verdicts[number % AUTH_VERDICTS];
}

static void check_late(struct loop_timer *timer)
{
    struct check *c = CONTAINER_OF(timer, struct check, late);

    auth_answer_err(c->a, c->to, ERR_DENIED);
    check_free(c);
}

static void failed(struct auth *a, const struct auth_question *q)
{
    throttle_fail(a->start->throttle, THROTTLE_ADDRESS, q->peer, clock_s(a));
    throttle_fail(a->start->throttle, THROTTLE_USER, q->user, clock_s(a));
}

static void check_work(struct pool_job *job)
{
    struct check *c = CONTAINER_OF(job, struct check, job);

    c->good = htpasswd_verify_evenly(c->hash, c->cost, c->q.password);
    FAIL_POINT(auth_verified);
}

static void check_done(struct pool_job *job)
{
    struct check *c = CONTAINER_OF(job, struct check, job);
    struct auth *a = c->a;
    uint8_t mac[SIGN_MAC_BYTES];
    const struct htpasswd_user *now = htpasswd_find(a->users, c->q.user);

    a->checking--;
    /* The file may have changed meanwhile: what counts is now. */
    if (c->good && now && strcmp(now->hash, c->hash) == 0) {
        verdict_of(a, &c->q, c->hash, mac);
        memcpy(verdict_place(a, mac), mac, sizeof(mac));
        throttle_forget(a->start->throttle, THROTTLE_USER, c->q.user);
        answer_good(a, c->to, &c->q, c->token, c->q.user, c->hash);
        check_free(c);
        return;
    }
    failed(a, &c->q);
    if (c->lane != AUTH_FAST) {
        loop_timer_set(a->loop, &c->late, AUTH_SLOW_MS);
        return;
    }
    auth_answer_err(a, c->to, ERR_DENIED);
    check_free(c);
}

/* A robot's token is checked at once: it cannot be guessed, so nothing is slowed. */
static void check_robot(struct auth *a, struct serve_return to, const struct auth_question *q,
                        bool token)
{
    const struct robot *robot = robots_find(&a->robots, q->user);
    const char *principal = robot && *robot->user ? robot->user : q->user;
    char secret[DIGEST_TEXT_MAX];
    static const struct robot nobody;

    /* Who does not exist takes as long as who does. */
    if (!robots_match(robot ? robot : &nobody, q->password, (uint64_t)time(NULL)) || !robot ||
        (*robot->user && (!a->users || !htpasswd_find(a->users, robot->user)))) {
        failed(a, q);
        auth_answer_err(a, to, ERR_DENIED);
        return;
    }
    answer_good(a, to, q, token, principal, digest_text(&robot->digest, secret));
}

static enum auth_lane lane_of(struct auth *a, const struct auth_question *q)
{
    if (throttle_slowed(a->start->throttle, THROTTLE_ADDRESS, q->peer, clock_s(a)))
        return AUTH_SLOW_ADDRESS;
    if (throttle_slowed(a->start->throttle, THROTTLE_USER, q->user, clock_s(a)))
        return AUTH_SLOW_USER;
    return AUTH_FAST;
}

static void check_begin(struct auth *a, struct serve_return to, const struct auth_question *q,
                        bool token, const struct htpasswd_user *user)
{
    struct mem_arena *arena = mem_arena_new();
    struct check *c = mem_alloc(sizeof(*c));

    c->a = a;
    c->to = to;
    c->arena = arena;
    c->q = *q;
    c->q.user = mem_arena_strdup(arena, q->user);
    c->q.password = mem_arena_strdup(arena, q->password);
    c->q.peer = mem_arena_strdup(arena, q->peer);
    for (uint32_t i = 0; i < q->scope_count; i++)
        c->q.scopes[i].name = mem_arena_strdup(arena, q->scopes[i].name);
    c->hash = user ? mem_arena_strdup(arena, user->hash) : NULL;
    c->cost = htpasswd_cost(a->users);
    c->token = token;
    c->lane = lane_of(a, q);
    c->job.work = check_work;
    c->job.done = check_done;
    c->late.fire = check_late;
    a->in_lane[c->lane]++;
    a->checking++;
    pool_submit(a->pool, &c->job);
}

static void check_user(struct auth *a, struct serve_return to, const struct auth_question *q,
                       bool token)
{
    const struct htpasswd_user *user = htpasswd_find(a->users, q->user);
    enum auth_lane lane = lane_of(a, q);
    uint8_t mac[SIGN_MAC_BYTES];

    verdict_of(a, q, user ? user->hash : "", mac);
    if (user && str_equal_constant_time(verdict_place(a, mac), mac, sizeof(mac)))
        answer_good(a, to, q, token, user->name, user->hash);
    else if (a->checking >= AUTH_QUEUE_MAX)
        auth_answer_err(a, to, ERR_BUSY);
    else if (lane != AUTH_FAST && a->in_lane[lane] >= AUTH_SLOW_MAX)
        auth_answer_err(a, to, ERR_QUOTA);
    else
        check_begin(a, to, q, token, user);
}

/* A robot's token stamps its own secret, but its user is the one it acts for. */
static bool stamp_counts(const struct auth *a, const struct auth_check *q)
{
    const struct htpasswd_user *user = a->users ? htpasswd_find(a->users, q->user) : NULL;
    char secret[DIGEST_TEXT_MAX];

    if (!*q->user || (user && auth_stamp(a, user->hash) == q->stamp))
        return true;
    for (size_t i = 0; i < a->robots.count; i++) {
        const struct robot *r = &a->robots.list[i];

        if (strcmp(*r->user ? r->user : r->name, q->user) == 0 && (user || !*r->user) &&
            auth_stamp(a, digest_text(&r->digest, secret)) == q->stamp)
            return true;
    }
    return false;
}

int auth_check(struct auth *a, struct serve_return to, struct msg_reader *m)
{
    struct auth_check check;

    auth_check_get(m, &check);
    if (msg_end(m) != 0)
        return ERR_PROTOCOL;
    auth_answer_err(a, to, stamp_counts(a, &check) ? 0 : ERR_DENIED);
    return 0;
}

static int check(struct auth *a, struct serve_return to, struct msg_reader *m, bool token)
{
    struct auth_question q;

    auth_question_get(m, &q);
    if (msg_end(m) != 0)
        return ERR_PROTOCOL;
    if (token && !*q.user && !*q.password)
        answer_good(a, to, &q, token, "", NULL);
    else if (strncmp(q.password, AUTH_ROBOT_PREFIX, strlen(AUTH_ROBOT_PREFIX)) == 0)
        check_robot(a, to, &q, token);
    else if (!a->users)
        auth_answer_err(a, to, ERR_UNAVAILABLE);
    else
        check_user(a, to, &q, token);
    return 0;
}

int auth_login(struct auth *a, struct serve_return to, struct msg_reader *m)
{
    return check(a, to, m, false);
}

int auth_token(struct auth *a, struct serve_return to, struct msg_reader *m)
{
    return check(a, to, m, true);
}
