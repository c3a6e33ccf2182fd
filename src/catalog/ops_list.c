/*
 * ops_list.c - what is listed: tags, images, referrers, counts.
 *
 * Runs in the catalog, outside turns: reads what is committed. Answers are
 * bounded by a count and by bytes; `more` tells that a next page exists.
 */
#include "catalog/ops.h"

#include "base/mem.h"
#include "meta/keys.h"
#include "meta/records.h"
#include "oci/name.h"

#include <stdlib.h>
#include <string.h>

#define ANSWER_BYTES_MAX (4u << 20)
/* A search looks at this many names an answer: others wait for the catalog too. */
#define SEARCH_LOOKS 4096

/* The answer's items go to a writer of their own: their count stands before them. */
struct list {
    struct msg_writer items;
    uint32_t count, limit;
    bool more;
};

static bool list_full(struct list *list)
{
    if (list->count < list->limit && list->items.buf.len < ANSWER_BYTES_MAX)
        return false;
    list->more = true;
    return true;
}

static void list_finish(struct list *list, int err, struct msg_writer *answer)
{
    msg_put_i32(answer, err);
    if (err == 0) {
        msg_put_u8(answer, list->more);
        msg_put_u32(answer, list->count);
        str_append(&answer->buf, list->items.buf.data ? list->items.buf.data : "",
                   list->items.buf.len);
    }
    msg_writer_free(&list->items);
}

/* Positions a walk behind `last` (exclusive; a string field right after the prefix). */
static struct db_walk *walk_after(struct catalog *c, const struct key *prefix, const char *last)
{
    struct key start = *prefix;

    if (!*last)
        return db_walk_new(c->db, prefix->data, prefix->len, NULL, 0);
    key_part(&start, last);
    key_char(&start, 1); /* behind "last\0", before any longer name: no name holds a byte 1 */
    return db_walk_new(c->db, prefix->data, prefix->len, start.data, start.len);
}

static int image_known(struct catalog *c, const char *repo, const char *image)
{
    struct key k;

    key_image(&k, 'I', repo, image);
    return db_get(c->db, k.data, k.len, NULL);
}

void op_tag_list(struct catalog *c, struct msg_reader *question, struct msg_writer *answer)
{
    struct push_list l;
    struct list list = {0};
    struct db_walk *walk;
    struct key prefix;
    int err, walk_err;

    push_list_get(question, &l);
    err = msg_end(question);
    if (err == 0 && (!name_image_ok(l.repo, strlen(l.repo)) ||
                     !name_image_ok(l.image, strlen(l.image)) || strlen(l.last) > NAME_TAG_MAX))
        err = ERR_PROTOCOL;
    if (err == 0)
        err = image_known(c, l.repo, l.image);
    if (err != 0) {
        list_finish(&list, err, answer);
        return;
    }
    list.limit = l.limit;
    key_image(&prefix, 'T', l.repo, l.image);
    for (walk = walk_after(c, &prefix, l.last); db_walk_valid(walk) && !list_full(&list);
         db_walk_next(walk)) {
        struct key_reader r;
        size_t len;
        const char *key = db_walk_key(walk, &len);

        key_reader_init(&r, key + prefix.len, len - prefix.len);
        msg_put_str(&list.items, key_get_str(&r));
        list.count++;
    }
    walk_err = db_walk_free(&walk);
    list_finish(&list, walk_err, answer);
}

/* The images of one repository after `last`; shown with `shown` before them. */
static int images_of(struct catalog *c, const char *repo, const char *shown, const char *last,
                     struct list *list)
{
    struct key prefix;
    struct db_walk *walk;
    struct str name = {0};

    key_begin(&prefix, 'I');
    key_str(&prefix, repo);
    for (walk = walk_after(c, &prefix, last); db_walk_valid(walk) && !list_full(list);
         db_walk_next(walk)) {
        struct key_reader r;
        size_t len;
        const char *key = db_walk_key(walk, &len);

        key_reader_init(&r, key + prefix.len, len - prefix.len);
        str_reset(&name);
        str_puts(&name, shown);
        str_puts(&name, key_get_str(&r));
        msg_put_str(&list->items, name.data);
        list->count++;
    }
    str_free(&name);
    return db_walk_free(&walk);
}

static int compare_shown(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* All repositories' images as REPO/IMAGE in byte order: repositories sort by
 * "REPO/", which is not the order of the keys ("a-b/x" < "a/x"). */
static int images_of_all(struct catalog *c, const char *last, struct list *list)
{
    struct mem_arena *arena = mem_arena_new();
    size_t count = c->conf->repo_count;
    char **shown = mem_arena_alloc(arena, count * sizeof(*shown));
    int err = 0;

    for (size_t i = 0; i < count; i++)
        shown[i] = mem_arena_printf(arena, "%s/", c->conf->repos[i].name);
    qsort(shown, count, sizeof(*shown), compare_shown);
    for (size_t i = 0; i < count && err == 0 && !list->more; i++) {
        size_t len = strlen(shown[i]);
        const char *name = mem_arena_strndup(arena, shown[i], len - 1);
        const struct conf_repo *repo = conf_repo_by_name(c->conf, name, len - 1);

        if (!repo->online)
            continue;
        if (strncmp(last, shown[i], len) == 0)
            err = images_of(c, name, shown[i], last + len, list);
        else if (strcmp(shown[i], last) > 0)
            err = images_of(c, name, shown[i], "", list);
    }
    mem_arena_free(&arena);
    return err;
}

void op_image_list(struct catalog *c, struct msg_reader *question, struct msg_writer *answer)
{
    struct push_list l;
    struct list list = {0};
    int err;

    push_list_get(question, &l);
    err = msg_end(question);
    if (err == 0 && strlen(l.last) > 2 * NAME_IMAGE_MAX)
        err = ERR_PROTOCOL;
    list.limit = l.limit;
    if (err == 0)
        err = *l.repo ? images_of(c, l.repo, "", l.last, &list) : images_of_all(c, l.last, &list);
    list_finish(&list, err, answer);
}

void op_image_search(struct catalog *c, struct msg_reader *question, struct msg_writer *answer)
{
    struct push_search s;
    struct list list = {.limit = SEARCH_LOOKS};
    struct str name = {0};
    struct db_walk *walk;
    struct key prefix;
    size_t looks = 0, shown;
    int err;

    push_search_get(question, &s);
    err = msg_end(question);
    if (err != 0) {
        list_finish(&list, err, answer);
        return;
    }
    shown = strlen(s.shown);
    str_puts(&name, s.shown);
    str_puts(&name, s.last);
    key_begin(&prefix, 'I');
    key_str(&prefix, s.repo);
    walk = walk_after(c, &prefix, s.last);
    for (; db_walk_valid(walk) && looks < SEARCH_LOOKS; db_walk_next(walk), looks++) {
        struct key_reader r;
        size_t len;
        const char *key = db_walk_key(walk, &len);

        key_reader_init(&r, key + prefix.len, len - prefix.len);
        str_reset(&name);
        str_puts(&name, s.shown);
        str_puts(&name, key_get_str(&r));
        if (strstr(name.data, s.term)) {
            msg_put_str(&list.items, name.data);
            list.count++;
        }
    }
    list.more = db_walk_valid(walk);
    err = db_walk_free(&walk);
    msg_put_i32(answer, err);
    if (err == 0) {
        msg_put_u8(answer, list.more);
        msg_put_str(answer, name.data + shown);
        msg_put_u32(answer, list.count);
        str_append(&answer->buf, list.items.buf.data ? list.items.buf.data : "",
                   list.items.buf.len);
    }
    msg_writer_free(&list.items);
    str_free(&name);
}

static bool type_wanted(const struct push_referrers *q, const char *type)
{
    for (uint32_t i = 0; i < q->type_count; i++)
        if (type && strcmp(q->types[i], type) == 0)
            return true;
    return q->type_count == 0;
}

/* One referrer's entry, when it is of a wanted type. */
static int referrer_add(struct catalog *c, const struct push_referrers *q,
                        const struct digest *digest, struct list *list)
{
    struct record_manifest record;
    struct mem_arena *arena = mem_arena_new();
    struct str value = {0};
    struct key k;
    int err;

    key_image(&k, 'M', q->subject.repo, q->subject.image);
    key_digest(&k, digest);
    err = db_get(c->db, k.data, k.len, &value);
    if (err == 0)
        err = record_manifest_decode(value.data, value.len, arena, &record);
    if (err == 0 && type_wanted(q, record.contents.artifact_type) && !list_full(list)) {
        record.contents.ref_count = 0; /* not needed there, and it may be long */
        msg_put_digest(&list->items, digest);
        msg_put_u64(&list->items, record.size);
        push_contents_put(&list->items, &record.contents);
        list->count++;
    }
    str_free(&value);
    mem_arena_free(&arena);
    return err == ERR_NOT_FOUND ? 0 : err; /* deleted a moment ago */
}

void op_referrer_list(struct catalog *c, struct msg_reader *question, struct msg_writer *answer)
{
    struct push_referrers q;
    struct list list = {0};
    struct db_walk *walk;
    struct key prefix, start;
    int err, walk_err;

    push_referrers_get(question, &q);
    err = msg_end(question);
    if (err == 0 && (!op_target_ok(&q.subject) || q.subject.digest.alg == 0))
        err = ERR_PROTOCOL;
    if (err != 0) {
        list_finish(&list, err, answer);
        return;
    }
    list.limit = q.limit;
    key_image(&prefix, 'R', q.subject.repo, q.subject.image);
    key_digest(&prefix, &q.subject.digest);
    start = prefix;
    if (q.last.alg != 0) {
        key_digest(&start, &q.last);
        key_char(&start, 0); /* behind `last` itself */
    }
    for (walk = db_walk_new(c->db, prefix.data, prefix.len, start.data, start.len);
         db_walk_valid(walk) && !list.more && err == 0; db_walk_next(walk)) {
        struct digest digest;
        struct key_reader r;
        size_t len;
        const char *key = db_walk_key(walk, &len);

        key_reader_init(&r, key + prefix.len, len - prefix.len);
        key_get_digest(&r, &digest);
        err = key_end(&r);
        if (err == 0)
            err = referrer_add(c, &q, &digest, &list);
    }
    walk_err = db_walk_free(&walk);
    list_finish(&list, err != 0 ? err : walk_err, answer);
}
