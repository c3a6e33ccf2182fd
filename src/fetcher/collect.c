/*
 * collect.c - bodies in memory, bounded. The fetcher; owns nothing.
 */
#include "fetcher/collect.h"

#include "base/container.h"

static enum upstream_take collect_head(struct remote_request *r, const struct upstream_head *head)
{
    struct collect *c = CONTAINER_OF(r, struct collect, request);

    if (r->head || head->length == UINT64_MAX || head->length <= c->max)
        return UPSTREAM_TAKEN;
    c->too_big = true;
    return UPSTREAM_ABORT;
}

static enum upstream_take collect_body(struct remote_request *r, const void *data, size_t len)
{
    struct collect *c = CONTAINER_OF(r, struct collect, request);

    if (c->body.len + len > c->max) {
        c->too_big = true;
        return UPSTREAM_ABORT;
    }
    str_append(&c->body, data, len);
    return UPSTREAM_TAKEN;
}

/* Cut off in its middle: once more, from the next remote when there is one. */
static void collect_again(struct collect *c)
{
    c->request.first = c->request.used + 1;
    c->again = true;
    str_reset(&c->body);
    remote_start(&c->request);
}

static void collect_done(struct remote_request *r, int err, const struct upstream_head *head,
                         const struct fetch_failure *why)
{
    static const struct fetch_failure big = {.reason = "the upstream's answer is too large"};
    struct collect *c = CONTAINER_OF(r, struct collect, request);

    if (c->too_big)
        c->done(c, ERR_TOO_BIG, head, &big);
    else if (err == ERR_CLOSED && !c->again)
        collect_again(c);
    else
        c->done(c, err, head, why);
}

void collect_start(struct collect *c)
{
    str_reset(&c->body);
    c->too_big = c->again = false;
    c->request.first = 0;
    c->request.on_head = collect_head;
    c->request.on_body = collect_body;
    c->request.on_done = collect_done;
    remote_start(&c->request);
}
