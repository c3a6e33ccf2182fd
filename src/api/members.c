/*
 * members.c - the repositories that a request's name may be found in, and what becomes of those
 * that cannot be asked.
 *
 * Runs in workers, on the loop. Owns nothing beyond a request's life; a crash here costs requests.
 */
#include "api/members.h"

#include "api/rights.h"
#include "base/log.h"
#include "base/mem.h"

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

void members_answer(struct api_call *call, const struct members *m, enum problem absent)
{
    if (m->err == 0)
        problem_answer(call->r, absent, NULL);
    else if (!m->why.reason || !*m->why.reason)
        problem_answer(call->r, problem_of(m->err), NULL);
    else
        problem_answer_retry(call->r, problem_of(m->err), m->why.retry_after_s, m->why.reason);
}
