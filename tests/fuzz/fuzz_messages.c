/* Messages: bytes of one process are hostile to the others, questions and replies alike. First
 * byte: which contents. What is read without a complaint is written again, and must be read again.
 */
#include "base/must.h"
#include "ipc/msg_auth.h"
#include "ipc/msg_fetch.h"
#include "ipc/msg_list.h"
#include "ipc/msg_operator.h"
#include "ipc/msg_push.h"
#include "ipc/msg_stats.h"
#include "ipc/role.h"
#include "meta/key.h"
#include "meta/values.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* A struct T with T_put and T_get; those whose arrays live in an arena; a single value of that
 * type. */
#define STRUCTS(X)                                                                                 \
    X(push_target)                                                                                 \
    X(push_tag)                                                                                    \
    X(push_mount)                                                                                  \
    X(push_missing)                                                                                \
    X(push_size)                                                                                   \
    X(list_names)                                                                                  \
    X(list_page)                                                                                   \
    X(list_search)                                                                                 \
    X(list_referrers)                                                                              \
    X(list_referrers_page)                                                                         \
    X(fetch_range)                                                                                 \
    X(fetch_wanted)                                                                                \
    X(fetch_search)                                                                                \
    X(fetch_hit)                                                                                   \
    X(fetch_failure)                                                                               \
    X(fetch_ready)                                                                                 \
    X(fetch_manifest)                                                                              \
    X(fetch_list)                                                                                  \
    X(fetch_running)                                                                               \
    X(fetch_proxy_status)                                                                          \
    X(fetch_remote_status)                                                                         \
    X(fetch_warm)                                                                                  \
    X(fetch_warm_status)                                                                           \
    X(proxy_link)                                                                                  \
    X(proxy_tag)                                                                                   \
    X(auth_state)                                                                                  \
    X(auth_question)                                                                               \
    X(auth_issued)                                                                                 \
    X(auth_check)                                                                                  \
    X(auth_robot)                                                                                  \
    X(operator_evict)                                                                              \
    X(operator_drop)                                                                               \
    X(operator_dropped)                                                                            \
    X(operator_daemon)                                                                             \
    X(operator_process)                                                                            \
    X(stats_repo)                                                                                  \
    X(stats_store)                                                                                 \
    X(stats_gc)                                                                                    \
    X(stats_scrub)                                                                                 \
    X(stats_lists)
#define IN_ARENA(X)                                                                                \
    X(push_manifest, push_manifest)                                                                \
    X(push_contents, manifest)                                                                     \
    X(list_referrer, list_referrer)
#define VALUES(X)                                                                                  \
    X(push_redeployed, const char *)                                                               \
    X(push_held_type, const char *)                                                                \
    X(list_name, const char *)                                                                     \
    X(fetch_client, const char *)                                                                  \
    X(fetch_size, uint64_t)                                                                        \
    X(fetch_warm_id, uint64_t)                                                                     \
    X(auth_name, const char *)                                                                     \
    X(auth_robot_token, const char *)                                                              \
    X(operator_orphans, bool)                                                                      \
    X(reply_err, int)                                                                              \
    X(reply_count, uint32_t)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Reads the contents out of `r`; when that went well, writes them to `w`. */
typedef void (*again_fn)(struct msg_reader *r, struct mem_arena *arena, struct msg_writer *w);

#define X(name)                                                                                    \
    static void name##_again(struct msg_reader *r, struct mem_arena *arena, struct msg_writer *w)  \
    {                                                                                              \
        struct name contents;                                                                      \
                                                                                                   \
        (void)arena;                                                                               \
        name##_get(r, &contents);                                                                  \
        if (!r->bad)                                                                               \
            name##_put(w, &contents);                                                              \
    }
STRUCTS(X)
#undef X

#define X(name, type)                                                                              \
    static void name##_again(struct msg_reader *r, struct mem_arena *arena, struct msg_writer *w)  \
    {                                                                                              \
        struct type contents;                                                                      \
                                                                                                   \
        name##_get(r, arena, &contents);                                                           \
        if (!r->bad)                                                                               \
            name##_put(w, &contents);                                                              \
    }
IN_ARENA(X)
#undef X

#define X(name, type)                                                                              \
    static void name##_again(struct msg_reader *r, struct mem_arena *arena, struct msg_writer *w)  \
    {                                                                                              \
        type value = name##_get(r);                                                                \
                                                                                                   \
        (void)arena;                                                                               \
        if (!r->bad)                                                                               \
            name##_put(w, value);                                                                  \
    }
VALUES(X)
#undef X

static void push_named_again(struct msg_reader *r, struct mem_arena *arena, struct msg_writer *w)
{
    struct digest parent;

    (void)arena;
    push_named_get(r, &parent);
    if (!r->bad)
        push_named_put(w, &parent);
}

static void told_to_the_master(struct msg_reader *r, struct mem_arena *arena, struct msg_writer *w)
{
    struct msg_reader same = *r;

    (void)arena;
    (void)w;
    (void)role_trouble_get(r);
    (void)role_index_fd_get(&same);
    r->bad = true; /* written by struct role alone */
}

static const again_fn all[] = {
#define X(name, ...) name##_again,
    STRUCTS(X) IN_ARENA(X) VALUES(X)
#undef X
        push_named_again,
    told_to_the_master,
};

static void message(again_fn again, const char *data, size_t size)
{
    struct mem_arena *arena = mem_arena_new();
    struct msg_writer first = {0}, second = {0};
    struct msg_reader r;

    if (msg_reader_init(&r, data, size) == 0) {
        msg_begin(&first, MSG_REPLY, 1);
        again(&r, arena, &first);
        /* Else it is malformed, or a head whose entries follow. */
        if (msg_end(&r) == 0) {
            MUST(msg_reader_init(&r, first.buf.data, first.buf.len) == 0);
            msg_begin(&second, MSG_REPLY, 1);
            again(&r, arena, &second);
            MUST(msg_end(&r) == 0);
            MUST(first.buf.len == second.buf.len &&
                 memcmp(first.buf.data, second.buf.data, first.buf.len) == 0);
        }
    }
    msg_writer_free(&first);
    msg_writer_free(&second);
    mem_arena_free(&arena);
}

/* The database's bytes, which the catalog reads. */
static void stored(const char *data, size_t size)
{
    struct mem_arena *arena = mem_arena_new();
    struct record_manifest record;
    struct meta_place place;
    struct meta_key key;

    (void)!record_manifest_decode(data, size, arena, &record);
    if (size <= META_PLACE_MAX && meta_key_read(data, size, &key)) {
        meta_place_of(&key, &place); /* the same bytes again */
        MUST(place.len == size && memcmp(place.data, data, size) == 0);
    }
    mem_arena_free(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0) {
        message(all[*data % (sizeof(all) / sizeof(all[0]))], (const char *)data + 1, size - 1);
        stored((const char *)data + 1, size - 1);
    }
    return 0;
}
