/*
 * upstream.c - members of groups, and questions to the fetcher.
 *
 * Runs in workers, on the loop. Owns nothing beyond a request's life.
 */
#include "api/upstream.h"

#include "api/login.h"
#include "api/rights.h"
#include "base/log.h"
#include "base/mem.h"

#include <netinet/in.h>
#include <stdio.h>
#include <unistd.h>

static void members_add(struct api_call *call, struct members *m, const struct conf_repo *repo,
                        const char *image)
{
    if (repo->kind == CONF_GROUP) {
        for (size_t i = 0; i < repo->group->member_count; i++)
            members_add(call, m, repo->group->members[i], image);
        return;
    }
    if (!repo->online ||
        (image && (conf_reserved(repo, image) || !api_may(call, repo, image, RIGHT_PULL))))
        return;
    for (size_t i = 0; i < m->count; i++)
        if (m->repos[i] == repo)
            return;
    m->repos[m->count++] = repo;
}

void members_find(struct api_call *call, const struct conf_repo *repo, const char *image,
                  struct members *m_r)
{
    *m_r = (struct members){.group = repo->kind == CONF_GROUP ? repo : NULL};
    m_r->repos = mem_arena_alloc(call->r->arena, call->api->conf->repo_count * sizeof(*m_r->repos));
    members_add(call, m_r, repo, image);
}

bool members_failed(struct api_call *call, struct members *m, int err,
                    const struct fetch_failure *why)
{
    log_info("a remote cannot be asked", "repo=%s image=%s err=%s why=%s req=%s",
             m->repos[m->at]->name, call->route.image, log_quote(err_text(err)),
             log_quote(why->reason ? why->reason : ""), call->r->id);
    if (m->group && m->group->group->skip_errors)
        return true;
    if (m->err == 0) {
        m->err = err;
        m->why.retry_after_s = why->retry_after_s;
        m->why.reason = mem_arena_strdup(call->r->arena, why->reason ? why->reason : "");
    }
    return false;
}

static enum problem problem_of(int err)
{
    switch (err) {
    case ERR_BUSY:
        return PROBLEM_TOO_MANY_REQUESTS;
    case ERR_TIMEOUT:
        return PROBLEM_UPSTREAM_TIMEOUT;
    case ERR_PROTOCOL:
    case ERR_MISMATCH:
    case ERR_TOO_BIG:
    case ERR_INVALID:
        return PROBLEM_BAD_UPSTREAM;
    default:
        return problem_from_err(err);
    }
}

void upstream_answer(struct api_call *call, const struct members *m, enum problem absent)
{
    if (m->err == 0)
        problem_answer(call->r, absent, NULL);
    else if (!m->why.reason || !*m->why.reason)
        problem_answer(call->r, problem_of(m->err), NULL);
    else
        problem_answer_retry(call->r, problem_of(m->err), m->why.retry_after_s, m->why.reason);
}

const char *upstream_quotable(struct api_call *call, const char *text)
{
    char *copy = mem_arena_strdup(call->r->arena, text);

    for (char *p = copy; *p; p++)
        if (*p == '"' || *p == '\\' || (unsigned char)*p < ' ' || (unsigned char)*p > '~')
            *p = '\'';
    return copy;
}

void upstream_count(const struct api_call *call, const struct conf_repo *repo, bool hit)
{
    struct tally_page *tally = call->api->tally;

    if (repo->kind == CONF_PROXY)
        atomic_fetch_add_explicit(hit ? &tally->proxy_hits : &tally->proxy_misses, 1,
                                  memory_order_relaxed);
}

struct msg_writer *upstream_ask_begin(struct api_call *call, enum msg_type type)
{
    atomic_fetch_add_explicit(&call->api->tally->asks, 1, memory_order_relaxed);
    return link_ask_begin(call->api->fetcher, &call->ask, type);
}

/* Whoever has logged in counts by name, others by address. */
const char *upstream_client(const struct api_call *call, char *out)
{
    struct net_prefix holder;

    if (call->user && call->user->known) {
        snprintf(out, FETCH_CLIENT_MAX + 1, "user %s", call->user->name);
        return out;
    }
    net_prefix_holder(&call->r->client, &holder);
    return net_prefix_text(&holder, out);
}

void upstream_ask(struct api_call *call, struct msg_writer *w,
                  void (*done)(struct ask *ask, int err, struct msg_reader *reply, int fd))
{
    char client[FETCH_CLIENT_MAX + 1];

    fetch_client_put(w, upstream_client(call, client));
    call->ask.done = done;
    link_ask_send(call->api->fetcher, &call->ask);
}

int upstream_reply_err(int err, struct msg_reader *reply, int fd, struct fetch_failure *why_r)
{
    *why_r = (struct fetch_failure){.reason = ""};
    if (fd >= 0)
        close(fd);
    if (err == ERR_BUSY) /* our own queue: not the remote's rate limit */
        return ERR_UNAVAILABLE;
    if (err != 0)
        return err;
    err = reply_err_get(reply);
    if (err != 0)
        fetch_failure_get(reply, why_r);
    return reply->bad ? ERR_UNAVAILABLE : err;
}
