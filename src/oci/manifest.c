/*
 * manifest.c - reading manifests. Pure; workers, fetcher, entrepotctl.
 *
 * One document must not be readable as two kinds of thing: the keys that decide
 * may stand there once, image and index exclude each other, and the type in the
 * document must be the one it is pushed as.
 */
#include "oci/manifest.h"

#include "base/json.h"
#include "oci/name.h"

#include <string.h>

struct parse {
    struct mem_arena *arena;
    struct manifest *m;
    const char *reason;
};

static int refuse(struct parse *p, const char *reason)
{
    p->reason = reason;
    return ERR_INVALID;
}

bool manifest_type_known(const char *type)
{
    return strcmp(type, MANIFEST_TYPE_OCI_IMAGE) == 0 ||
           strcmp(type, MANIFEST_TYPE_OCI_INDEX) == 0 ||
           strcmp(type, MANIFEST_TYPE_DOCKER_IMAGE) == 0 ||
           strcmp(type, MANIFEST_TYPE_DOCKER_LIST) == 0;
}

bool manifest_type_is_index(const char *type)
{
    return strcmp(type, MANIFEST_TYPE_OCI_INDEX) == 0 ||
           strcmp(type, MANIFEST_TYPE_DOCKER_LIST) == 0;
}

/* A member that may be absent, or null (NULL), but not doubled. */
static int member(struct parse *p, const struct json_value *object, const char *key,
                  const struct json_value **member_r)
{
    if (json_member(object, key, member_r) == 0)
        return 0;
    return refuse(p, mem_arena_printf(p->arena, "the key %s stands there twice", key));
}

/* An optional member that must be a media type when present; NULL when absent or empty. */
static int media_type_member(struct parse *p, const struct json_value *object, const char *key,
                             const char **type_r)
{
    const struct json_value *value;
    int err = member(p, object, key, &value);

    *type_r = NULL;
    if (err != 0 || !value)
        return err;
    if (value->type != JSON_STRING)
        return refuse(p, mem_arena_printf(p->arena, "%s must be a string", key));
    if (value->len == 0)
        return 0;
    if (!name_media_type_with_parameters_ok(value->text, value->len))
        return refuse(p, mem_arena_printf(p->arena, "%s is not a media type", key));
    *type_r = value->text;
    return 0;
}

static int has_urls(struct parse *p, const struct json_value *object, bool *has_r)
{
    const struct json_value *urls;
    int err = member(p, object, "urls", &urls);

    *has_r = false;
    if (err != 0 || !urls)
        return err;
    if (urls->type != JSON_ARRAY)
        return refuse(p, "urls of a descriptor must be an array");
    for (const struct json_value *url = urls->first; url; url = url->next) {
        if (url->type == JSON_NULL)
            continue;
        if (url->type != JSON_STRING)
            return refuse(p, "urls of a descriptor must be strings");
        *has_r = true;
    }
    return 0;
}

/* A content descriptor (image-spec, descriptor.md). */
static int descriptor(struct parse *p, const struct json_value *object, struct manifest_ref *ref_r,
                      const char **media_type_r)
{
    const struct json_value *digest, *size;
    int64_t bytes;
    bool urls;
    int err;

    if (object->type != JSON_OBJECT)
        return refuse(p, "a descriptor must be an object");
    err = member(p, object, "digest", &digest);
    if (err == 0)
        err = member(p, object, "size", &size);
    if (err == 0)
        err = media_type_member(p, object, "mediaType", media_type_r);
    if (err == 0)
        err = has_urls(p, object, &urls);
    if (err != 0)
        return err;
    if (!digest || digest->type != JSON_STRING || digest_parse(digest->text, &ref_r->digest) != 0)
        return refuse(p, "a descriptor needs a digest (sha256 or sha512)");
    if (json_integer(size, &bytes) != 0)
        return refuse(p, "a descriptor needs a size that is a non-negative integer");
    ref_r->size = (uint64_t)bytes;
    ref_r->exempt = urls || (*media_type_r && (strstr(*media_type_r, "nondistributable") ||
                                               strstr(*media_type_r, "foreign")));
    return 0;
}

/* Of an array of that name, behind those that are kept already; an absent one is empty. */
static int descriptors(struct parse *p, const struct json_value *array, const char *key,
                       uint8_t kind)
{
    const char *ignored;

    if (array && array->type != JSON_ARRAY)
        return refuse(p, mem_arena_printf(p->arena, "%s must be an array", key));
    for (const struct json_value *item = array ? array->first : NULL; item; item = item->next) {
        struct manifest_ref *ref = &p->m->refs[p->m->ref_count];
        int err = descriptor(p, item, ref, &ignored);

        if (err != 0)
            return err;
        ref->kind = kind;
        if (kind == MANIFEST_REF_CHILD)
            ref->exempt = false; /* urls exempt layers only */
        p->m->ref_count++;
    }
    return 0;
}

static int parse_image(struct parse *p, const struct json_value *config,
                       const struct json_value *layers)
{
    struct manifest_ref *ref;
    const char *config_type;
    int err;

    if (!config || config->type != JSON_OBJECT)
        return refuse(p, "an image manifest needs a config descriptor");
    p->m->refs =
        mem_arena_alloc(p->arena, ((layers ? layers->count : 0) + 1) * sizeof(*p->m->refs));
    ref = &p->m->refs[p->m->ref_count];
    err = descriptor(p, config, ref, &config_type);
    if (err != 0)
        return err;
    ref->kind = MANIFEST_REF_CONFIG;
    ref->exempt = false;
    p->m->ref_count++;
    if (!p->m->artifact_type)
        p->m->artifact_type = config_type;
    return descriptors(p, layers, "layers", MANIFEST_REF_LAYER);
}

static int parse_index(struct parse *p, const struct json_value *manifests)
{
    p->m->refs =
        mem_arena_alloc(p->arena, ((manifests ? manifests->count : 0) + 1) * sizeof(*p->m->refs));
    return descriptors(p, manifests, "manifests", MANIFEST_REF_CHILD);
}

static int parse_subject(struct parse *p, const struct json_value *root)
{
    const struct json_value *subject;
    struct manifest_ref ref = {0};
    const char *ignored;
    int err = member(p, root, "subject", &subject);

    if (err != 0 || !subject)
        return err;
    err = descriptor(p, subject, &ref, &ignored);
    p->m->subject = ref.digest;
    return err;
}

const struct manifest_annotation *manifest_shown_next(const struct manifest *m,
                                                      struct manifest_shown *shown)
{
    while (shown->next < m->annotation_count) {
        const struct manifest_annotation *a = &m->annotations[shown->next++];
        size_t bytes = strlen(a->key) + strlen(a->value) + strlen("\"\":\"\",");

        if (bytes > MANIFEST_ANNOTATIONS_SHOWN - shown->bytes)
            continue;
        shown->bytes += bytes;
        return a;
    }
    return NULL;
}

/* All are checked; kept are those that are shown: nobody asks for more, and whatever keeps or
 * carries a manifest's contents stays small. */
static void annotations_keep_shown(struct manifest *m)
{
    const struct manifest_annotation *a;
    struct manifest_shown shown = {0};
    size_t kept = 0;

    while ((a = manifest_shown_next(m, &shown)) != NULL)
        m->annotations[kept++] = *a;
    m->annotation_count = kept;
}

static int parse_annotations(struct parse *p, const struct json_value *root)
{
    const struct json_value *annotations;
    int err = member(p, root, "annotations", &annotations);

    if (err != 0 || !annotations)
        return err;
    if (annotations->type != JSON_OBJECT)
        return refuse(p, "annotations must be an object");
    if (annotations->count > MANIFEST_ANNOTATIONS_MAX)
        return refuse(
            p, mem_arena_printf(p->arena, "more than %d annotations", MANIFEST_ANNOTATIONS_MAX));
    p->m->annotations = mem_arena_alloc(p->arena, annotations->count * sizeof(*p->m->annotations));
    for (const struct json_value *a = annotations->first; a; a = a->next) {
        if (a->type == JSON_NULL)
            continue;
        if (a->type != JSON_STRING)
            return refuse(p, "annotations must be strings");
        p->m->annotations[p->m->annotation_count++] =
            (struct manifest_annotation){.key = a->key, .value = a->text};
    }
    annotations_keep_shown(p->m);
    return 0;
}

/* Which type it is: the request's, which the document may repeat; or, without a
 * request type, the document's own. */
static int decide_type(struct parse *p, const struct json_value *root, const char *content_type)
{
    const char *own;
    int err = media_type_member(p, root, "mediaType", &own);

    if (err != 0)
        return err;
    if (!content_type || !*content_type)
        content_type = own;
    if (!content_type)
        return refuse(p, "the request has no Content-Type and the manifest no mediaType");
    if (strstr(content_type, "manifest.v1+json") && strstr(content_type, "docker"))
        return refuse(p, "schema 1 manifests are not supported; push with a newer client");
    if (strstr(content_type, "manifest.v1+prettyjws"))
        return refuse(p, "schema 1 manifests are not supported; push with a newer client");
    if (!manifest_type_known(content_type))
        return refuse(p, "unknown manifest media type");
    if (own && strcmp(own, content_type) != 0)
        return refuse(p, "mediaType of the manifest and Content-Type of the request differ");
    p->m->media_type = mem_arena_strdup(p->arena, content_type);
    p->m->is_index = manifest_type_is_index(content_type);
    return 0;
}

static int parse_root(struct parse *p, const struct json_value *root, const char *content_type)
{
    const struct json_value *version, *config, *layers, *manifests, *unused;
    int64_t number;
    int err;

    if (root->type != JSON_OBJECT)
        return refuse(p, "a manifest must be a JSON object");
    err = member(p, root, "schemaVersion", &version);
    if (err == 0)
        err = decide_type(p, root, content_type);
    if (err != 0)
        return err;
    if (!version || json_integer(version, &number) != 0 || number != 2)
        return refuse(p, "schemaVersion must be 2");
    if ((err = member(p, root, "config", &config)) != 0 ||
        (err = member(p, root, "layers", &layers)) != 0 ||
        (err = member(p, root, "manifests", &manifests)) != 0 ||
        (err = member(p, root, "fsLayers", &unused)) != 0 ||
        (err = media_type_member(p, root, "artifactType", &p->m->artifact_type)) != 0)
        return err;
    if ((manifests || p->m->is_index) && (config || layers || unused))
        return refuse(p, "a manifest is an image or an index, not both");
    if (unused)
        return refuse(p, "schema 1 manifests are not supported; push with a newer client");
    err = p->m->is_index ? parse_index(p, manifests) : parse_image(p, config, layers);
    if (err == 0)
        err = parse_subject(p, root);
    if (err == 0)
        err = parse_annotations(p, root);
    return err;
}

int manifest_parse(struct mem_arena *arena, const char *content_type, const char *data, size_t len,
                   struct manifest *manifest_r, const char **reason_r)
{
    struct parse p = {.arena = arena, .m = manifest_r};
    struct json_value *root = NULL;
    int err;

    *manifest_r = (struct manifest){0};
    err = json_parse(arena, data, len, &root, &p.reason);
    if (err == 0)
        err = parse_root(&p, root, content_type);
    if (err != 0)
        *reason_r = p.reason;
    return err;
}
