/*
 * manage.c - robot tokens made, revoked, listed.
 *
 * Runs in AUTH for entrepotctl. One change at a time: a thread replaces the file
 * and only then the change counts and is answered, so that what was acknowledged
 * is durable and what was not never worked. A crash leaves the old file or the new one; of the new
 * one nobody may have been told, and who asks again hears that the name is taken.
 */
#include "auth/state.h"

#include "base/container.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "conf/conf.h"

#include <stdlib.h>
#include <string.h>

#define TOKEN_RANDOM_BYTES 32
#define LIFE_MAX_S         (100ULL * 365 * 86400)

struct change {
    struct pool_job job;
    struct auth *a;
    struct serve_return to;
    struct robots next; /* what counts when it is written */
    char *name, *user;
    struct str text, token; /* token: created, "" when revoked */
    int err;
};

/* In data_dir/auth, where this process is. */
#define ROBOTS_PATH "robots"

int auth_robots_open(struct auth *a)
{
    struct str mistakes = {0};
    int err = robots_load(ROBOTS_PATH, &a->robots, &mistakes);

    a->robots_bad = err != 0;
    log_lines(LOG_LEVEL_ERROR,
              "the file of robot tokens in data_dir/auth cannot be used: none is let in",
              &mistakes);
    return err;
}

static void change_free(struct change *c)
{
    robots_free(&c->next);
    free(c->name);
    free(c->user);
    str_free(&c->text);
    if (c->token.data)
        explicit_bzero(c->token.data, c->token.len);
    str_free(&c->token);
    free(c);
}

static void change_work(struct pool_job *job)
{
    struct change *c = CONTAINER_OF(job, struct change, job);

    c->err = file_replace(ROBOTS_PATH, c->text.data ? c->text.data : "", c->text.len, 0600,
                          (uid_t)-1, (gid_t)-1);
}

static void change_done(struct pool_job *job)
{
    struct change *c = CONTAINER_OF(job, struct change, job);
    struct auth *a = c->a;
    struct msg_writer answer = {0};

    a->saving = false;
    if (c->err != 0) {
        log_error("cannot write the file of robot tokens", "path=%s/auth/" ROBOTS_PATH " err=%s",
                  log_quote(a->start->conf->data_dir), log_quote(err_text(c->err)));
        auth_answer_err(a, c->to, c->err);
        change_free(c);
        return;
    }
    robots_free(&a->robots);
    a->robots = c->next;
    c->next = (struct robots){0};
    log_notice("audit", "event=robot-%s robot=%s user=%s", c->token.len > 0 ? "created" : "revoked",
               c->name, *c->user ? c->user : "-");
    auth_changed(a);
    serve_reply_begin(&answer, c->to);
    reply_err_put(&answer, 0);
    if (c->token.len > 0)
        auth_robot_token_put(&answer, c->token.data);
    serve_reply(a->serve, c->to, &answer, -1);
    change_free(c);
}

static struct change *change_new(struct auth *a, struct serve_return to, const char *name,
                                 const char *user)
{
    struct change *c = mem_alloc(sizeof(*c));

    c->a = a;
    c->to = to;
    c->name = mem_strdup(name);
    c->user = mem_strdup(user);
    c->job.work = change_work;
    c->job.done = change_done;
    for (size_t i = 0; i < a->robots.count; i++) {
        const struct robot *r = &a->robots.list[i];

        robots_add(&c->next, r->name, r->user, r->created_s, r->expires_s, &r->digest);
    }
    return c;
}

static void change_submit(struct change *c)
{
    robots_text(&c->next, &c->text);
    c->a->saving = true;
    pool_submit(c->a->pool, &c->job);
}

/* May it be changed now? */
static int changeable(const struct auth *a)
{
    if (a->robots_bad)
        return ERR_DAMAGED;
    return a->saving ? ERR_BUSY : 0;
}

static int create_check(const struct auth *a, const struct auth_robot *q)
{
    int err = changeable(a);

    if (err != 0)
        return err;
    if (!conf_user_ok(q->name) || (*q->user && !conf_user_ok(q->user)) || q->expires_s > LIFE_MAX_S)
        return ERR_INVALID;
    /* One name, one login: else whoever makes the one has what roles give the other. */
    if (robots_find(&a->robots, q->name) || (a->users && htpasswd_find(a->users, q->name)))
        return ERR_EXISTS;
    if (*q->user && (!a->users || !htpasswd_find(a->users, q->user)))
        return ERR_NOT_FOUND;
    return a->robots.count < ROBOTS_MAX ? 0 : ERR_QUOTA;
}

int auth_robot_create(struct auth *a, struct serve_return to, struct msg_reader *m)
{
    uint64_t now_s = (uint64_t)time(NULL);
    char random[2 * TOKEN_RANDOM_BYTES + 1];
    struct auth_robot q;
    struct digest digest;
    struct change *c;
    int err;

    auth_robot_get(m, &q);
    err = msg_end(m);
    if (err != 0)
        return err;
    err = create_check(a, &q);
    if (err != 0) {
        auth_answer_err(a, to, err);
        return 0;
    }
    c = change_new(a, to, q.name, q.user);
    file_random_hex(TOKEN_RANDOM_BYTES, random);
    str_printf(&c->token, "%s%s", AUTH_ROBOT_PREFIX, random);
    explicit_bzero(random, sizeof(random));
    digest_of(DIGEST_SHA256, c->token.data, c->token.len, &digest);
    robots_add(&c->next, q.name, q.user, now_s, q.expires_s > 0 ? now_s + q.expires_s : 0, &digest);
    change_submit(c);
    return 0;
}

int auth_robot_revoke(struct auth *a, struct serve_return to, struct msg_reader *m)
{
    const char *name = auth_name_get(m);
    struct change *c;
    int err = msg_end(m);

    if (err != 0)
        return err;
    err = changeable(a);
    if (err == 0 && !robots_find(&a->robots, name))
        err = ERR_NOT_FOUND;
    if (err != 0) {
        auth_answer_err(a, to, err);
        return 0;
    }
    c = change_new(a, to, name, robots_find(&a->robots, name)->user);
    robots_remove(&c->next, name);
    change_submit(c);
    return 0;
}

int auth_robot_list(struct auth *a, struct serve_return to, struct msg_reader *m)
{
    struct msg_writer answer = {0};
    int err = msg_end(m);

    if (err != 0)
        return err;
    serve_reply_begin(&answer, to);
    reply_err_put(&answer, a->robots_bad ? ERR_DAMAGED : 0);
    reply_count_put(&answer, (uint32_t)a->robots.count);
    for (size_t i = 0; i < a->robots.count; i++) {
        const struct robot *r = &a->robots.list[i];
        struct auth_robot entry = {r->name, r->user, r->created_s, r->expires_s};

        auth_robot_put(&answer, &entry);
    }
    serve_reply(a->serve, to, &answer, -1);
    return 0;
}
