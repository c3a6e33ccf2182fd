/* Messages: bytes of one process are hostile to the others, questions and replies alike. An input
 * is the name of its row below, a newline, and the contents. What is read without a complaint is
 * written again, and must be read again. */
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

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* T_put(w, &contents) and T_get(r, &contents) of a struct T. */
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
    X(stats_place)                                                                                 \
    X(stats_waiting)                                                                               \
    X(stats_gc)                                                                                    \
    X(stats_scrub)                                                                                 \
    X(stats_lists)
/* T_put(w, &contents) and T_get(r, arena, &contents): its arrays live in the arena. */
#define IN_ARENA(X)                                                                                \
    X(push_manifest, push_manifest)                                                                \
    X(push_contents, manifest)                                                                     \
    X(list_referrer, list_referrer)
/* T_put(w, value) and value = T_get(r): a single one of that type. */
#define VALUES(X)                                                                                  \
    X(push_repo, const char *)                                                                     \
    X(push_redeployed, const char *)                                                               \
    X(push_held_type, const char *)                                                                \
    X(list_name, const char *)                                                                     \
    X(fetch_client, const char *)                                                                  \
    X(fetch_size, uint64_t)                                                                        \
    X(fetch_warm_id, uint64_t)                                                                     \
    X(auth_name, const char *)                                                                     \
    X(auth_robot_token, const char *)                                                              \
    X(operator_gc, bool)                                                                           \
    X(operator_orphans, bool)                                                                      \
    X(reply_err, int)                                                                              \
    X(reply_count, uint32_t)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Were the last contents read without a complaint? replay.c asks that of the corpus. */
extern bool fuzz_accepted;
bool fuzz_accepted;

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
    fuzz_accepted = msg_end(r) == 0 || msg_end(&same) == 0;
    r->bad = true; /* written by struct role alone */
}

static const struct row {
    const char *name;
    again_fn again;
} rows[] = {
#define X(name, ...) {#name, name##_again},
    STRUCTS(X) IN_ARENA(X) VALUES(X)
#undef X
        {"push_named", push_named_again},
    {"told_to_the_master", told_to_the_master},
};

#define ROWS (sizeof(rows) / sizeof(rows[0]))

/* A name that a mutation has broken leads somewhere, too. */
static again_fn again_of(const char *name, size_t len)
{
    for (size_t i = 0; i < ROWS; i++)
        if (strlen(rows[i].name) == len && memcmp(rows[i].name, name, len) == 0)
            return rows[i].again;
    return rows[len > 0 ? (unsigned char)*name % ROWS : 0].again;
}

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
            fuzz_accepted = true;
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

/* The database's values. What decodes is encoded again, and must decode again. */
static void stored_value(const char *data, size_t size)
{
    struct mem_arena *arena = mem_arena_new();
    struct record_manifest manifest, referrer;
    struct record_blob blob;
    struct record_tag tag;
    struct str again = {0};
    const char *type;
    uint64_t bytes;
    bool index;

    if (record_blob_decode(data, size, &blob) == 0) {
        record_blob_encode(&again, &blob);
        MUST(record_blob_decode(again.data, again.len, &blob) == 0);
    }
    if (record_tag_decode(data, size, &tag) == 0) {
        record_tag_encode(&again, &tag);
        MUST(record_tag_decode(again.data, again.len, &tag) == 0);
    }
    if (record_parent_decode(data, size, &index) == 0) {
        record_parent_encode(&again, index);
        MUST(record_parent_decode(again.data, again.len, &index) == 0);
    }
    if (record_referrer_decode(data, size, arena, &referrer) == 0) {
        record_referrer_encode(&again, &referrer);
        MUST(record_referrer_decode(again.data, again.len, arena, &referrer) == 0);
    }
    if (record_manifest_decode(data, size, arena, &manifest) == 0) {
        MUST(record_manifest_peek(data, size, &bytes, &type) == 0 && bytes == manifest.size);
        record_manifest_encode(&again, &manifest);
        MUST(record_manifest_decode(again.data, again.len, arena, &manifest) == 0);
    }
    str_free(&again);
    mem_arena_free(&arena);
}

static void stored_key(const char *data, size_t size)
{
    struct meta_place place;
    struct meta_key key;

    if (size <= META_PLACE_MAX && meta_key_read(data, size, &key)) {
        meta_place_of(&key, &place);
        MUST(place.len == size && memcmp(place.data, data, size) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *name = (const char *)data, *end = size > 0 ? memchr(name, '\n', size) : NULL;
    size_t len = end ? (size_t)(end - name) : 0, skip = end ? len + 1 : 0;

    fuzz_accepted = false;
    message(again_of(name, len), name + skip, size - skip);
    stored_value(name + skip, size - skip);
    stored_key(name + skip, size - skip);
    return 0;
}
