/*
 * fetcher.c - the fetcher process: the only one that will ever see password hashes.
 *
 * Started by the master. Owns its role socket's peers and nothing else.
 */
#include "fetcher/fetcher.h"

#include "base/mem.h"
#include "base/must.h"
#include "ipc/serve.h"

#include <stdlib.h>

#define PEERS_MAX 512

static void fetcher_stop(bool drain, void *ctx)
{
    (void)drain;
    loop_stop(ctx);
}

static int fetcher_message(struct serve *serve, struct serve_return to, struct msg_reader *m,
                           void *ctx)
{
    struct msg_writer answer = {0};

    (void)m;
    (void)ctx;
    serve_reply_begin(&answer, to);
    msg_put_i32(&answer, ERR_UNSUPPORTED);
    serve_reply(serve, to, &answer, -1);
    return 0;
}

int fetcher_main(const struct role_start *start)
{
    struct loop *loop;
    struct serve *serve = NULL;
    struct role_setup role = {.start = start, .on_stop = fetcher_stop};
    struct serve_setup setup = {
        .listen_fd = start->listen_fd, .peers_max = PEERS_MAX, .on_message = fetcher_message};

    role_confine(start);
    loop = loop_new();
    role.loop = role.ctx = setup.loop = loop;
    role_ready(role_begin(&role));
    MUST(serve_new(&setup, &serve) == 0);
    loop_run(loop);
    serve_free(&serve);
    loop_free(&loop);
    return EXIT_SUCCESS;
}
