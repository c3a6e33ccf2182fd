/*
 * upstream.c - questions to the fetcher.
 *
 * Runs in workers, on the loop. Owns nothing beyond a request's life; a crash here costs requests.
 */
#include "api/upstream.h"

#include "api/login.h"
#include "base/mem.h"

#include <netinet/in.h>
#include <stdio.h>
#include <unistd.h>

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
