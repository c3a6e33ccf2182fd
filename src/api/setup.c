/*
 * setup.c - what all handlers stand on: lines to the other roles, stores, threads, caches.
 *
 * Runs in workers, once, at their start. Owns struct api, which lives as long as the process. A
 * crash here leaves nothing.
 */
#include "api/api.h"

#include "api/burden.h"
#include "api/follow.h"
#include "api/hashes.h"
#include "api/hot.h"
#include "api/login.h"
#include "api/pipe.h"
#include "base/container.h"
#include "base/descriptors.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdlib.h>
#include <unistd.h>

#define POOL_THREADS 4
#define READ_THREADS 3
#define ROLE_QUEUE   4096
/* Of the cache: memory for small objects. */
#define HOT_BYTES (8u << 20)
/* For lists and manifests on their way. */
#define BURDEN_BYTES (64u << 20)
#define STORES_MS    1000

_Static_assert(INDEX_STORES_MAX == CONF_STORES_MAX, "each store has its place in the index");
_Static_assert(SESSIONS_ID_LEN == STORE_UPLOAD_ID_LEN && SESSIONS_TAG_LEN == STORE_UPLOAD_TAG_LEN,
               "a session's id tells who began it");

static void fetcher_connected(struct link *link, void *ctx)
{
    struct api *api = ctx;

    /* The first line comes to be within link_new. */
    if (!api->follows)
        api->follows = follows_new(api->loop, link, api->board);
    follows_connected(api->follows);
}

static void fetcher_message(struct link *link, struct msg_reader *message, int fd, void *ctx)
{
    (void)link;
    (void)ctx;
    log_warn("unexpected message from the fetcher", "type=%s", msg_name(message->type));
    if (fd >= 0)
        close(fd);
}

static void fetcher_open(struct api *api, const struct role_start *start)
{
    struct link_setup link = {.loop = api->loop,
                              .dir_fd = start->run_dir_fd,
                              .role = MSG_ROLE_FETCHER,
                              .queue_max = ROLE_QUEUE,
                              .on_connect = fetcher_connected,
                              .on_message = fetcher_message,
                              .ctx = api};

    api->board = start->board;
    api->fetcher = link_new(&link);
    if (!api->follows)
        api->follows = follows_new(api->loop, api->fetcher, api->board);
}

static void stores_open(struct loop_timer *timer)
{
    struct api *api = CONTAINER_OF(timer, struct api, stores_timer);
    bool all = true;

    for (size_t i = 0; i < api->conf->store_count; i++)
        all = store_try(api->stores[i], true) && all;
    if (!all)
        loop_timer_set(api->loop, timer, STORES_MS);
}

int api_new(const struct api_setup *setup, struct api **api_r)
{
    const struct role_start *start = setup->start;
    struct link_setup link = {.loop = setup->loop,
                              .dir_fd = start->run_dir_fd,
                              .role = MSG_ROLE_CATALOG,
                              .queue_max = ROLE_QUEUE,
                              .on_connect = setup->on_catalog,
                              .on_message = setup->on_catalog_message,
                              .ctx = setup->ctx};
    struct api *api = mem_alloc(sizeof(*api));
    int err = pool_new(setup->loop, POOL_THREADS, &api->pool);

    if (err == 0)
        err = pool_new(setup->loop, READ_THREADS, &api->reads);
    if (err != 0) {
        pool_free(&api->pool);
        free(api);
        return err;
    }
    api->conf = start->conf;
    api->loop = setup->loop;
    api->tally = tally_at(start->tally, start->slot);
    api->recent = start->recent;
    api->placed = start->placed;
    api->sessions = start->sessions;
    for (size_t i = 0; i < api->conf->store_count; i++)
        api->stores[i] = store_new(&api->conf->stores[i]);
    api->stores_timer.fire = stores_open;
    stores_open(&api->stores_timer);
    if (start->index_read_fd >= 0 && index_map_open(start->index_read_fd, &api->index) != 0)
        log_error("the index left by the master cannot be used", NULL);
    api->hashes = api_hashes_new();
    api->hot = hot_new(HOT_BYTES, descriptors_kept(descriptors_limit()));
    api->burden = burden_new(BURDEN_BYTES);
    api->pipes = pipes_new(api->pool);
    api->catalog = link_new(&link);
    if (api->conf->has_proxies)
        fetcher_open(api, start);
    if (api->conf->auth.on)
        api->logins = login_new(api, start->run_dir_fd);
    *api_r = api;
    return 0;
}
