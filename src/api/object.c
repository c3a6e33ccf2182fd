/*
 * object.c - the bytes of a blob or manifest for a request.
 *
 * Runs in workers. What is not in the worker's cache is opened and read by a
 * thread of the pool: a cold directory or inode may take as long as a disk does,
 * and everybody else's requests wait for the loop. A crash here costs requests.
 */
#include "api/object.h"

#include "api/hot.h"
#include "base/container.h"
#include "base/mem.h"

#include <stdlib.h>
#include <unistd.h>

struct object_load {
    struct pool_job job;
    struct api_call *call;
    struct digest digest;
    uint64_t size;
    bool verify;
    int err;
    struct hot_object object;
    void (*next)(struct api_call *call, int err);
};

static void load_work(struct pool_job *job)
{
    struct object_load *load = CONTAINER_OF(job, struct object_load, job);

    load->err =
        hot_read(api_store(load->call), &load->digest, load->size, load->verify, &load->object);
}

static void load_done(struct pool_job *job)
{
    struct object_load *load = CONTAINER_OF(job, struct object_load, job);
    struct api_call *call = load->call;

    if (load->err == 0)
        call->object = hot_add(call->api->hot, &load->digest, &load->object);
    load->next(call, load->err);
}

void api_object(struct api_call *call, const struct digest *digest, uint64_t size, bool verify,
                void (*next)(struct api_call *call, int err))
{
    struct object_load *load;

    call->object = hot_find(call->api->hot, digest, size, verify);
    if (call->object) {
        next(call, 0);
        return;
    }
    load = mem_arena_alloc(call->r->arena, sizeof(*load));
    load->job.work = load_work;
    load->job.done = load_done;
    load->call = call;
    load->digest = *digest;
    load->size = size;
    load->verify = verify;
    load->next = next;
    pool_submit(call->api->pool, &load->job);
}

static void told(struct ask *ask, int err, struct msg_reader *reply, int fd)
{
    (void)reply;
    (void)err; /* the scrub finds it in the end */
    if (fd >= 0)
        close(fd);
    free(ask);
}

void api_tell_damaged(struct api_call *call, const struct digest *digest)
{
    struct push_target target = {
        .repo = call->route.repo->name, .image = call->route.image, .digest = *digest};
    struct ask *ask = mem_alloc(sizeof(*ask)); /* the request does not wait for it */

    push_target_put(link_ask_begin(call->api->catalog, ask, MSG_BLOB_DAMAGED), &target);
    ask->done = told;
    link_ask_send(call->api->catalog, ask);
}
