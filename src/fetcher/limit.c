/*
 * limit.c - see limit.h. The fetcher; owns no memory. A crash here forgets the limits: what the
 * next fetcher asks is told again.
 */
#include "fetcher/limit.h"

#include "base/must.h"

STATES_DEFINE(limit_states, "a remote's limit", LIMIT_STATES);

static void limit_move(struct limit *l, enum limit_state state)
{
    states_must(&limit_states, l->state, state);
    l->state = state;
}

void limit_init(struct limit *l)
{
    *l = (struct limit){0};
    TAILQ_INIT(&l->line);
}

static void wake_first(struct limit *l)
{
    struct limit_pass *pass = TAILQ_FIRST(&l->line);

    if (!pass)
        return;
    TAILQ_REMOVE(&l->line, pass, entry);
    pass->limit = NULL;
    pass->go(pass);
}

static void wake_all(struct limit *l)
{
    while (!TAILQ_EMPTY(&l->line))
        wake_first(l);
}

static void forget_probe(struct limit *l)
{
    if (l->probe)
        l->probe->limit = NULL;
    l->probe = NULL;
}

enum limit_word limit_ask(struct limit *l, struct limit_pass *pass, uint64_t now_ms)
{
    MUST(!pass->limit);
    if (l->state == LIMIT_OPEN)
        return LIMIT_GO;
    if (l->state == LIMIT_CLOSED && l->until_ms > now_ms)
        return LIMIT_NO;
    pass->limit = l;
    if (l->state == LIMIT_CLOSED) {
        limit_move(l, LIMIT_PROBED);
        l->probe = pass;
        return LIMIT_GO;
    }
    TAILQ_INSERT_TAIL(&l->line, pass, entry);
    return LIMIT_WAIT;
}

uint32_t limit_close(struct limit *l, uint64_t now_ms, uint32_t wait_s)
{
    /* Requests that were under way when it closed are the same strike. */
    if (l->state != LIMIT_CLOSED || l->until_ms <= now_ms)
        l->strikes++;
    if (wait_s == UINT32_MAX)
        wait_s = l->strikes > 9 ? LIMIT_CLOSED_MAX_S : 1u << (l->strikes - 1);
    if (wait_s == 0)
        wait_s = 1;
    if (wait_s > LIMIT_CLOSED_MAX_S)
        wait_s = LIMIT_CLOSED_MAX_S;
    limit_move(l, LIMIT_CLOSED);
    forget_probe(l);
    if (l->until_ms < now_ms + 1000u * (uint64_t)wait_s)
        l->until_ms = now_ms + 1000u * (uint64_t)wait_s;
    wake_all(l);
    return limit_closed_s(l, now_ms);
}

void limit_open(struct limit *l)
{
    if (l->state == LIMIT_OPEN)
        return;
    limit_move(l, LIMIT_OPEN);
    forget_probe(l);
    l->strikes = 0;
    l->until_ms = 0;
    wake_all(l);
}

void limit_passed(struct limit_pass *pass)
{
    if (pass->limit && pass->limit->probe == pass)
        limit_open(pass->limit);
}

void limit_leave(struct limit_pass *pass)
{
    struct limit *l = pass->limit;

    if (!l)
        return;
    pass->limit = NULL;
    if (l->probe != pass) {
        TAILQ_REMOVE(&l->line, pass, entry);
        return;
    }
    l->probe = NULL;
    limit_move(l, LIMIT_CLOSED);
    wake_first(l);
}

uint32_t limit_closed_s(const struct limit *l, uint64_t now_ms)
{
    return l->state == LIMIT_CLOSED && l->until_ms > now_ms
               ? (uint32_t)((l->until_ms - now_ms + 999) / 1000)
               : 0;
}
