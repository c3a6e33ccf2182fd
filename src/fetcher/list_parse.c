/*
 * list_parse.c - JSON of upstreams' lists. The fetcher; pure.
 */
#include "fetcher/list_parse.h"

#include "base/json.h"
#include "oci/name.h"

#include <string.h>

_Static_assert(LIST_BYTES_MAX < MSG_MAX, "a list is one message, with the head of the reply");

static bool full(const struct list_out *out)
{
    return out->count >= FETCH_NAMES_MAX || out->items.buf.len >= LIST_BYTES_MAX;
}

static const char *text_of(const struct json_value *object, const char *key)
{
    const struct json_value *v = NULL;

    return json_member(object, key, &v) == 0 && v && v->type == JSON_STRING ? v->text : "";
}

/* The array `key` of the document, NULL when it is absent. */
static int array_of(struct mem_arena *arena, const struct str *body, const char *key,
                    const struct json_value **array_r)
{
    struct json_value *top;
    const char *reason;

    if (body->len == 0 || json_parse(arena, body->data, body->len, &top, &reason) != 0 ||
        top->type != JSON_OBJECT || json_member(top, key, array_r) != 0)
        return ERR_PROTOCOL;
    return *array_r && (*array_r)->type != JSON_ARRAY ? ERR_PROTOCOL : 0;
}

int list_parse_names(struct list_out *out, const struct str *body, const char *key, bool tags)
{
    struct mem_arena *arena = mem_arena_new();
    const struct json_value *array = NULL;
    int err = array_of(arena, body, key, &array);

    for (const struct json_value *v = err == 0 && array ? array->first : NULL; v && !full(out);
         v = v->next) {
        if (v->type != JSON_STRING ||
            !(tags ? name_tag_ok(v->text, v->len) : name_image_ok(v->text, v->len)))
            continue;
        list_name_put(&out->items, v->text);
        out->count++;
    }
    mem_arena_free(&arena);
    return err;
}

/* Those that lists show. */
static void annotations(struct mem_arena *arena, const struct json_value *v, struct manifest *m)
{
    const struct json_value *all = NULL;
    const struct manifest_annotation *shown;
    struct manifest_shown next = {0};
    struct manifest every = {0};

    if (json_member(v, "annotations", &all) != 0 || !all || all->type != JSON_OBJECT)
        return;
    every.annotations = mem_arena_alloc(arena, all->count * sizeof(*every.annotations));
    for (const struct json_value *a = all->first; a; a = a->next)
        if (a->type == JSON_STRING)
            every.annotations[every.annotation_count++] =
                (struct manifest_annotation){.key = a->key, .value = a->text};
    m->annotations = mem_arena_alloc(arena, all->count * sizeof(*m->annotations));
    while ((shown = manifest_shown_next(&every, &next)) != NULL)
        m->annotations[m->annotation_count++] = *shown;
}

static void referrer(struct list_out *out, struct mem_arena *arena, const struct json_value *v)
{
    struct list_referrer entry = {.contents = {.media_type = text_of(v, "mediaType"),
                                               .artifact_type = text_of(v, "artifactType")}};
    struct manifest *m = &entry.contents;
    const struct json_value *size_value = NULL;
    int64_t size = 0;

    if (v->type != JSON_OBJECT || digest_parse(text_of(v, "digest"), &entry.digest) != 0 ||
        !name_media_type_with_parameters_ok(m->media_type, strlen(m->media_type)) ||
        json_member(v, "size", &size_value) != 0 || json_integer(size_value, &size) != 0)
        return;
    if (!name_media_type_with_parameters_ok(m->artifact_type, strlen(m->artifact_type)))
        m->artifact_type = NULL;
    annotations(arena, v, m);
    entry.size = (uint64_t)size;
    list_referrer_put(&out->items, &entry);
    out->count++;
}

int list_parse_referrers(struct list_out *out, const struct str *body)
{
    struct mem_arena *arena = mem_arena_new();
    const struct json_value *array = NULL;
    int err = array_of(arena, body, "manifests", &array);

    for (const struct json_value *v = err == 0 && array ? array->first : NULL; v && !full(out);
         v = v->next)
        referrer(out, arena, v);
    mem_arena_free(&arena);
    return err;
}

int list_parse_search(struct list_out *out, const struct str *body, uint32_t limit)
{
    struct mem_arena *arena = mem_arena_new();
    const struct json_value *array = NULL;
    int err = array_of(arena, body, "results", &array);

    for (const struct json_value *v = err == 0 && array ? array->first : NULL;
         v && !full(out) && out->count < limit; v = v->next) {
        const struct json_value *official = NULL, *stars_value = NULL;
        const char *name = text_of(v, "name");
        char *description;
        int64_t stars = 0;

        if (v->type != JSON_OBJECT || !name_image_ok(name, strlen(name)) ||
            json_member(v, "is_official", &official) != 0 ||
            json_member(v, "star_count", &stars_value) != 0)
            continue;
        if (json_integer(stars_value, &stars) != 0)
            stars = 0;
        description = mem_arena_strdup(arena, text_of(v, "description"));
        if (strlen(description) > FETCH_DESCRIPTION_MAX) {
            size_t end = FETCH_DESCRIPTION_MAX;

            while (end > 0 && ((unsigned char)description[end] & 0xc0) == 0x80)
                end--; /* not in the middle of a character */
            description[end] = 0;
        }
        fetch_hit_put(&out->items,
                      &(struct fetch_hit){.name = name,
                                          .description = description,
                                          .stars = (uint64_t)stars,
                                          .official = official && official->type == JSON_BOOL &&
                                                      official->boolean});
        out->count++;
    }
    mem_arena_free(&arena);
    return err;
}
