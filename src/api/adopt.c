/*
 * adopt.c - blobs of other members of a group become the pushed image's own.
 *
 * Runs in workers, on the loop: one BLOB_MOUNT after the other. A crash here leaves
 * links without a manifest, which garbage collection takes.
 */
#include "api/adopt.h"

#include "api/members.h"
#include "base/mem.h"

struct adopt {
    const struct digest *missing;
    size_t count, at;
    struct members members;
    void (*next)(struct api_call *call);
};

static void adopt_next(struct api_call *call);

static void adopted(struct ask *ask, int err, struct msg_reader *reply, int fd)
{
    struct api_call *call = api_call_of_ask(ask);
    struct adopt *a = call->adopt;

    /* What could not be had is found missing afterwards, and told so. */
    (void)api_reply_err(err, reply, fd);
    a->at++;
    adopt_next(call);
}

/* The member that has it, where it can be linked without copying. */
static const struct conf_repo *owner_of(const struct api_call *call, const struct adopt *a,
                                        const struct digest *digest)
{
    const struct conf_repo *to = call->route.repo;
    char text[DIGEST_TEXT_MAX];

    digest_text(digest, text);
    for (size_t i = 0; i < a->members.count; i++) {
        const struct conf_repo *repo = a->members.repos[i];
        struct index_entry entry;

        if (repo != to && repo->store == to->store &&
            index_find(&call->api->index, INDEX_BLOB, repo->name, call->route.image, text,
                       &entry) == 0)
            return repo;
    }
    return NULL;
}

static void adopt_next(struct api_call *call)
{
    struct adopt *a = call->adopt;

    for (; a->at < a->count; a->at++) {
        const struct conf_repo *owner = owner_of(call, a, &a->missing[a->at]);
        struct push_mount mount = {.to = {.repo = call->route.repo->name,
                                          .image = call->route.image,
                                          .digest = a->missing[a->at]},
                                   .from_image = call->route.image};

        if (!owner)
            continue;
        mount.from_repo = owner->name;
        push_mount_put(api_ask_begin(call, MSG_BLOB_MOUNT), &mount);
        api_ask(call, adopted);
        return;
    }
    a->next(call);
}

void adopt_blobs(struct api_call *call, const struct digest *missing, size_t count,
                 void (*next)(struct api_call *call))
{
    struct adopt *a = mem_arena_alloc(call->r->arena, sizeof(*a));

    call->adopt = a;
    a->missing = missing;
    a->count = count;
    a->next = next;
    members_find(call, call->group, call->route.image, &a->members);
    adopt_next(call);
}
