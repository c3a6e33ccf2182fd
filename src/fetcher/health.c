/*
 * health.c - see health.h. The fetcher; owns nothing. A crash here forgets what is down: the next
 * fetcher finds out.
 */
#include "fetcher/health.h"

#include "base/log.h"

#define FAILURES_DOWN 3
#define DOWN_MAX_S    60

void health_failed(struct proxy *p, size_t remote)
{
    struct remote_health *h = &p->health[remote];
    unsigned over;

    if (++h->failures < FAILURES_DOWN)
        return;
    over = h->failures - FAILURES_DOWN;
    h->down_until_ms = loop_now_ms(p->f->loop) + 1000u * (over > 5 ? DOWN_MAX_S : 1u << over);
    if (over == 0)
        log_warn("a remote is down: it is left alone for a while", "repository=%s remote=%s",
                 p->repo->name, log_quote(p->conf->remotes[remote].url));
}

void health_good(struct proxy *p, size_t remote)
{
    struct remote_health *h = &p->health[remote];

    if (h->failures >= FAILURES_DOWN)
        log_notice("a remote is up again", "repository=%s remote=%s", p->repo->name,
                   log_quote(p->conf->remotes[remote].url));
    h->failures = 0;
    h->down_until_ms = 0;
}

bool health_spared(const struct proxy *p)
{
    uint64_t now = loop_now_ms(p->f->loop);

    for (size_t i = 0; i < p->conf->remote_count; i++) {
        const struct remote_health *h = &p->health[i];

        if (h->down_until_ms <= now && limit_closed_s(&h->limits[FETCH_LIMIT_MANIFEST], now) == 0)
            return limit_rate_known(&h->rate, now) && h->rate.left < p->conf->rate_reserve;
    }
    return false;
}

uint32_t health_wait_s(const struct proxy *p, enum fetch_limit kind)
{
    uint64_t now = loop_now_ms(p->f->loop);
    uint32_t least = UINT32_MAX;

    for (size_t i = 0; i < p->conf->remote_count; i++) {
        const struct remote_health *h = &p->health[i];
        uint32_t down =
            h->down_until_ms > now ? (uint32_t)((h->down_until_ms - now + 999) / 1000) : 0;
        uint32_t closed = limit_closed_s(&h->limits[kind], now);
        uint32_t wait = down > closed ? down : closed;

        least = wait < least ? wait : least;
    }
    return least;
}
