/*
 * ops_list.c - lists of names: tags, images, search.
 *
 * Runs in the catalog, outside turns: reads what is committed. Each answer is a slice
 * (slice.h), bounded by the question's limit too; `more` tells that the list goes on, and
 * `place` from where. Changes nothing.
 */
#include "catalog/ops.h"

#include "base/mem.h"
#include "meta/records.h"
#include "oci/name.h"

#include <stdlib.h>
#include <string.h>

/* The answer's names go to a writer of their own: their count stands before them. */
struct list {
    struct slice *slice;
    struct msg_writer names;
    uint32_t count, limit;
    bool more;
    struct str place; /* all up to here was looked at */
};

/* What is wanted of the images of a repository. */
struct images {
    const char *repo;
    const char *shown; /* stands before each name */
    const char *term;  /* that a name with `shown` before it must hold; "": all */
    const char *last;  /* image; exclusive */
};

static bool list_full(struct list *list)
{
    if (list->count < list->limit && !slice_over(list->slice))
        return false;
    list->more = true;
    return true;
}

static void list_place(struct list *list, const char *prefix, const char *name)
{
    str_reset(&list->place);
    str_puts(&list->place, prefix);
    str_puts(&list->place, name);
}

static void list_finish(struct list *list, int err, struct msg_writer *answer)
{
    struct list_page head = {.more = list->more, .place = list->place.data, .count = list->count};

    reply_err_put(answer, err);
    if (err == 0) {
        list_page_put(answer, &head);
        reply_entries_put(answer, &list->names);
    }
    msg_writer_free(&list->names);
    str_free(&list->place);
}

/* Over the names of one kind, behind the one that `after` ends with. */
static struct meta_walk *names_walk(struct catalog *c, struct list *list, struct meta_key prefix,
                                    struct meta_key after)
{
    struct meta_place place;

    slice_look(list->slice, SLICE_SEEK, 0);
    meta_place_of(&after, &place);
    return meta_walk_new(db_committed(c->db), prefix, &place);
}

static bool names_next(struct meta_walk *walk, struct list *list, struct meta_key *key_r)
{
    if (!meta_walk_next(walk, key_r) || list_full(list))
        return false;
    slice_look(list->slice, 1, meta_walk_size(walk));
    return true;
}

void op_tag_list(struct catalog *c, struct msg_reader *question, struct msg_writer *answer)
{
    struct list_names l;
    struct list list = {.slice = &c->slice};
    struct meta_walk *walk;
    struct meta_key key;
    int err;

    list_names_get(question, &l);
    err = msg_end(question);
    if (err == 0 && (!name_image_ok(l.repo, strlen(l.repo)) ||
                     !name_image_ok(l.image, strlen(l.image)) || strlen(l.last) > NAME_TAG_MAX))
        err = ERR_PROTOCOL;
    if (err == 0)
        err = meta_find(db_committed(c->db), meta_image(l.repo, l.image));
    if (err != 0) {
        list_finish(&list, err, answer);
        return;
    }
    list.limit = l.limit;
    list_place(&list, "", l.last);
    walk = names_walk(c, &list, meta_of_image(META_TAG, l.repo, l.image),
                      meta_tag(l.repo, l.image, l.last));
    while (names_next(walk, &list, &key)) {
        list_place(&list, "", key.tag);
        list_name_put(&list.names, key.tag);
        list.count++;
    }
    list_finish(&list, meta_walk_end(&walk), answer);
}

/* The images of one repository, from one behind `last` on. list->place becomes an image. */
static int images_of(struct catalog *c, const struct images *wanted, struct list *list)
{
    struct meta_walk *walk =
        names_walk(c, list, meta_image(wanted->repo, NULL), meta_image(wanted->repo, wanted->last));
    struct meta_key key;
    struct str name = {0};

    while (names_next(walk, list, &key)) {
        list_place(list, "", key.image);
        str_reset(&name);
        str_puts(&name, wanted->shown);
        str_puts(&name, key.image);
        if (!strstr(name.data, wanted->term))
            continue;
        list_name_put(&list->names, name.data);
        list->count++;
    }
    str_free(&name);
    return meta_walk_end(&walk);
}

static int compare_shown(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Those of one repository as a part of all; list->place becomes REPO/IMAGE. */
static int images_shown(struct catalog *c, const char *repo, const char *shown, const char *last,
                        struct list *list)
{
    struct images wanted = {.repo = repo, .shown = shown, .term = "", .last = last};
    struct str image = {0};
    int err;

    list_place(list, "", last);
    err = images_of(c, &wanted, list);
    str_puts(&image, list->place.data);
    list_place(list, shown, image.data);
    str_free(&image);
    return err;
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
        bool within = strncmp(last, shown[i], len) == 0;

        if (!repo->online || (!within && strcmp(shown[i], last) < 0))
            continue;
        if (slice_over(list->slice)) {
            list_place(list, shown[i], ""); /* nothing of it was looked at */
            list->more = true;
        } else {
            err = images_shown(c, name, shown[i], within ? last + len : "", list);
        }
    }
    mem_arena_free(&arena);
    return err;
}

void op_image_list(struct catalog *c, struct msg_reader *question, struct msg_writer *answer)
{
    struct list_names l;
    struct list list = {.slice = &c->slice};
    int err;

    list_names_get(question, &l);
    err = msg_end(question);
    if (err == 0 && strlen(l.last) > 2 * NAME_IMAGE_MAX)
        err = ERR_PROTOCOL;
    list.limit = l.limit;
    list_place(&list, "", l.last);
    if (err == 0 && *l.repo)
        err = images_of(
            c, &(struct images){.repo = l.repo, .shown = "", .term = "", .last = l.last}, &list);
    else if (err == 0)
        err = images_of_all(c, l.last, &list);
    list_finish(&list, err, answer);
}

void op_image_search(struct catalog *c, struct msg_reader *question, struct msg_writer *answer)
{
    struct list_search s;
    struct list list = {.slice = &c->slice, .limit = UINT32_MAX};
    int err;

    list_search_get(question, &s);
    err = msg_end(question);
    list_place(&list, "", s.last);
    if (err == 0)
        err = images_of(
            c, &(struct images){.repo = s.repo, .shown = s.shown, .term = s.term, .last = s.last},
            &list);
    list_finish(&list, err, answer);
}
