/*
 * status.c - what runs, and how the proxies are: for entrepotctl and metrics.
 *
 * The fetcher; owns nothing.
 */
#include "fetcher/status.h"

#include "fetcher/job.h"

void status_fetches(struct fetch *f, struct serve_return to)
{
    struct msg_writer w = {0};
    const struct job *job;
    uint64_t now = loop_now_ms(f->loop);
    uint32_t count = 0;

    TAILQ_FOREACH(job, &f->jobs->list, all)
        count += !job_over(job);
    serve_reply_begin(&w, to);
    reply_err_put(&w, 0);
    reply_count_put(&w, count);
    TAILQ_FOREACH(job, &f->jobs->list, all) {
        struct fetch_running r = {.repo = job->proxy->repo->name,
                                  .digest = job->digest,
                                  .state = board_state_name(job_shown(job)),
                                  .total = job->total,
                                  .have = job->part.size,
                                  .age_ms = now - job->started_ms,
                                  .resumes = job->resumes};
        const struct job_waiter *waiter;
        const struct job_peer *peer;

        if (job_over(job))
            continue;
        r.image = TAILQ_FIRST(&job->images)->name;
        TAILQ_FOREACH(waiter, &job->waiters, entry)
            r.waiting++;
        TAILQ_FOREACH(peer, &job->peers, entry)
            r.followers++;
        fetch_running_put(&w, &r);
    }
    serve_reply(f->serve, to, &w, -1);
}

static void put_proxy(const struct proxy *p, uint64_t now, struct msg_writer *w)
{
    struct fetch_proxy_status s = {.repo = p->repo->name,
                                   .rate_limit = UINT64_MAX,
                                   .rate_left = UINT64_MAX,
                                   .tokens = (uint32_t)bearer_count(p),
                                   .requests = p->requests,
                                   .errors = p->errors,
                                   .bytes = p->bytes,
                                   .resumes = p->resumes,
                                   .remotes = (uint32_t)p->conf->remote_count};

    for (size_t i = 0; i < p->conf->remote_count && s.rate_left == UINT64_MAX; i++)
        if (limit_rate_known(&p->health[i].rate, now)) {
            s.rate_limit = p->health[i].rate.limit;
            s.rate_left = p->health[i].rate.left;
        }
    fetch_proxy_status_put(w, &s);
    for (size_t i = 0; i < p->conf->remote_count; i++) {
        const struct remote_health *h = &p->health[i];
        struct fetch_remote_status r = {.url = p->conf->remotes[i].url, .failures = h->failures};

        if (h->down_until_ms > now)
            r.down_s = (uint32_t)((h->down_until_ms - now + 999) / 1000);
        for (size_t kind = 0; kind < FETCH_LIMIT_COUNT; kind++)
            r.limited_s[kind] = limit_closed_s(&h->limits[kind], now);
        fetch_remote_status_put(w, &r);
    }
}

void status_proxies(struct fetch *f, struct serve_return to)
{
    const struct conf *conf = f->start->conf;
    struct msg_writer w = {0};
    uint32_t count = 0;

    for (size_t i = 0; i < conf->repo_count; i++)
        count += f->proxies[i] != NULL;
    serve_reply_begin(&w, to);
    reply_err_put(&w, 0);
    reply_count_put(&w, count);
    for (size_t i = 0; i < conf->repo_count; i++)
        if (f->proxies[i])
            put_proxy(f->proxies[i], loop_now_ms(f->loop), &w);
    serve_reply(f->serve, to, &w, -1);
}
