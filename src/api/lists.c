/*
 * lists.c - tags and images (protocol notes 1.8), referrers (1.9).
 *
 * Runs in workers; the catalog has the order, the worker makes the JSON.
 */
#include "api/lists.h"

#include "api/rights.h"
#include "base/json.h"
#include "base/mem.h"
#include "oci/name.h"

#include <string.h>

/* Asked pages are at most this long; without `n` all comes that fits one answer of the catalog. */
#define PAGE_MAX      1000
#define REFERRERS_MAX 1000
/* A catalog without `n` is not filled up beyond what one answer may have. */
#define ANSWER_FULL (4u << 20)
#define TEXT_MAX    (MSG_MAX / 2)

/* Link: <...?last=X&n=K>; rel="next". Clients cut at the first ';': everything is encoded. */
void list_add_link(struct api_call *call, const char *what, const char *last)
{
    const struct list *l = call->op;
    struct str link = {0};

    str_printf(&link, "<%s%s%s%s?", call->route.base, call->route.image ? call->route.image : "",
               call->route.image ? "/" : "", what);
    for (uint32_t i = 0; i < l->referrers.type_count; i++) {
        str_puts(&link, "artifactType=");
        str_percent_encode(&link, l->referrers.types[i]);
        str_putc(&link, '&');
    }
    str_puts(&link, "last=");
    str_percent_encode(&link, last);
    if (l->n_given)
        str_printf(&link, "&n=%u", l->n);
    str_puts(&link, ">; rel=\"next\"");
    http_header_add(call->r, "Link", "%s", link.data);
    str_free(&link);
}

/* Appends the strings of a list reply; the last one in *last_r. */
static int append_names(struct api_call *call, struct msg_reader *reply, bool *more_r,
                        const char **last_r)
{
    uint32_t count;

    *more_r = msg_get_u8(reply);
    count = msg_get_u32(reply);
    *last_r = "";
    for (uint32_t i = 0; i < count && !reply->bad; i++) {
        *last_r = msg_get_str(reply, 2 * NAME_IMAGE_MAX);
        if (i > 0)
            str_putc(&call->body, ',');
        json_append_string(&call->body, *last_r);
    }
    return msg_end(reply);
}

static void answer_names(struct api_call *call, struct msg_reader *reply, const char *what)
{
    const struct list *l = call->op;
    const char *last;
    bool more;

    if (append_names(call, reply, &more, &last) != 0) {
        problem_answer(call->r, PROBLEM_INTERNAL, NULL);
        return;
    }
    str_puts(&call->body, "]}");
    if (more && *last && l->n > 0)
        list_add_link(call, what, last);
    api_answer_json(call, "application/json");
}

void list_begin_tags(struct api_call *call)
{
    str_puts(&call->body, "{\"name\":");
    json_append_string(&call->body, mem_arena_printf(call->r->arena, "%s%s",
                                                     strcmp(call->route.base, "/v2/") != 0 &&
                                                             call->route.base[1] == 'v'
                                                         ? call->route.base + 4
                                                         : "",
                                                     call->route.image));
    str_puts(&call->body, ",\"tags\":[");
}

static void tags_done(struct ask *ask, int err, struct msg_reader *reply, int fd)
{
    struct api_call *call = api_call_of_ask(ask);

    err = api_reply_err(err, reply, fd);
    if (err != 0) {
        problem_answer(call->r, err == ERR_NOT_FOUND ? PROBLEM_NAME_UNKNOWN : problem_from_err(err),
                       NULL);
        return;
    }
    list_begin_tags(call);
    answer_names(call, reply, "tags/list");
}

static struct list *list_new(struct api_call *call, uint32_t absent, uint32_t max)
{
    struct list *l = mem_arena_alloc(call->r->arena, sizeof(*l));
    const char *n;

    call->op = l;
    if (!api_page(call, absent, max, &l->n, &l->last))
        return NULL;
    l->n_given = http_query_get(call->r, "n", 0, &n) == 0 && n;
    return l;
}

void api_tags(struct api_call *call)
{
    struct list *l = list_new(call, LIST_ABSENT, PAGE_MAX);
    struct push_list q = {.repo = call->route.repo->name, .image = call->route.image};

    if (!l)
        return;
    if (strlen(l->last) > NAME_TAG_MAX) {
        problem_answer(call->r, PROBLEM_PARAMETER, "parameter last is longer than any tag");
        return;
    }
    if (call->route.repo->kind != CONF_HOSTED) {
        list_merge_tags(call);
        return;
    }
    q.last = l->last;
    q.limit = l->n;
    push_list_put(api_ask_begin(call, MSG_TAG_LIST), &q);
    api_ask(call, tags_done);
}

/* A listed name is IMAGE within a repository, REPOSITORY/IMAGE over all. */
static bool may_see(struct api_call *call, const char *name)
{
    const struct conf_repo *repo = call->route.repo;
    const char *slash;

    if (!repo) {
        slash = strchr(name, '/');
        repo = slash ? conf_repo_by_name(call->api->conf, name, (size_t)(slash - name)) : NULL;
        name = slash ? slash + 1 : name;
    }
    return repo && api_may(call, repo, name, RIGHT_PULL);
}

static void catalog_done(struct ask *ask, int err, struct msg_reader *reply, int fd);

static void catalog_ask(struct api_call *call)
{
    const struct list *l = call->op;
    struct push_list q = {.repo = call->route.repo ? call->route.repo->name : "",
                          .image = "",
                          .last = l->last,
                          .limit = l->n};

    push_list_put(api_ask_begin(call, MSG_IMAGE_LIST), &q);
    api_ask(call, catalog_done);
}

/* Names the caller may not read are left out, and the page filled up from behind
 * them: not even a link's `last` tells one. */
static int append_seen(struct api_call *call, struct msg_reader *reply, bool *more_r)
{
    struct list *l = call->op;
    const char *name = "";
    uint32_t count;

    *more_r = msg_get_u8(reply);
    count = msg_get_u32(reply);
    for (uint32_t i = 0; i < count && !reply->bad && l->shown < l->n; i++) {
        name = msg_get_str(reply, 2 * NAME_IMAGE_MAX);
        if (reply->bad || !may_see(call, name))
            continue;
        if (l->shown++ > 0)
            str_putc(&call->body, ',');
        json_append_string(&call->body, name);
        l->last_shown = mem_arena_strdup(call->r->arena, name);
    }
    if (reply->bad)
        return ERR_PROTOCOL;
    *more_r = *more_r || reply->at < reply->len;
    l->last = mem_arena_strdup(call->r->arena, name);
    return 0;
}

static void catalog_done(struct ask *ask, int err, struct msg_reader *reply, int fd)
{
    struct api_call *call = api_call_of_ask(ask);
    struct list *l = call->op;
    bool more = false;

    err = api_reply_err(err, reply, fd);
    if (err == 0)
        err = append_seen(call, reply, &more);
    if (err != 0) {
        problem_answer(call->r, problem_from_err(err), NULL);
        return;
    }
    if (more && *l->last && l->shown < l->n && call->body.len < ANSWER_FULL) {
        catalog_ask(call);
        return;
    }
    str_puts(&call->body, "]}");
    if (more && *l->last_shown && l->n > 0)
        list_add_link(call, "_catalog", l->last_shown);
    api_answer_json(call, "application/json");
}

void api_catalog(struct api_call *call)
{
    struct list *l = list_new(call, LIST_ABSENT, PAGE_MAX);

    if (!l)
        return;
    if (strlen(l->last) > 2 * NAME_IMAGE_MAX) {
        problem_answer(call->r, PROBLEM_PARAMETER, "parameter last is longer than any name");
        return;
    }
    if (call->route.repo && call->route.repo->kind != CONF_HOSTED) {
        list_merge_images(call);
        return;
    }
    l->last_shown = "";
    str_puts(&call->body, "{\"repositories\":[");
    catalog_ask(call);
}

static void append_annotations(struct str *body, const struct manifest *m)
{
    if (m->annotation_count == 0)
        return;
    str_puts(body, ",\"annotations\":{");
    for (size_t i = 0; i < m->annotation_count; i++) {
        if (i > 0)
            str_putc(body, ',');
        json_append_string(body, m->annotations[i].key);
        str_putc(body, ':');
        json_append_string(body, m->annotations[i].value);
    }
    str_putc(body, '}');
}

static bool type_wanted(const struct push_referrers *q, const char *type)
{
    for (uint32_t i = 0; i < q->type_count; i++)
        if (type && strcmp(q->types[i], type) == 0)
            return true;
    return q->type_count == 0;
}

bool list_append_referrer(struct api_call *call, struct msg_reader *reply, struct str *body,
                          struct digest *digest_r)
{
    const struct list *l = call->op;
    char text[DIGEST_TEXT_MAX];
    struct manifest m;
    uint64_t size;

    msg_get_digest(reply, false, digest_r);
    size = msg_get_u64(reply);
    push_contents_get(reply, call->r->arena, &m);
    if (reply->bad || !type_wanted(&l->referrers, m.artifact_type))
        return false;
    str_puts(body, "{\"mediaType\":");
    json_append_string(body, m.media_type);
    str_printf(body, ",\"digest\":\"%s\",\"size\":%llu", digest_text(digest_r, text),
               (unsigned long long)size);
    if (m.artifact_type) {
        str_puts(body, ",\"artifactType\":");
        json_append_string(body, m.artifact_type);
    }
    append_annotations(body, &m);
    str_putc(body, '}');
    return true;
}

const char *list_referrers_path(struct api_call *call)
{
    const struct list *l = call->op;
    char subject[DIGEST_TEXT_MAX];

    return mem_arena_printf(call->r->arena, "referrers/%s",
                            digest_text(&l->referrers.subject.digest, subject));
}

static void referrers_done(struct ask *ask, int err, struct msg_reader *reply, int fd)
{
    struct api_call *call = api_call_of_ask(ask);
    struct list *l = call->op;
    struct digest last = {0};
    char text[DIGEST_TEXT_MAX];
    uint32_t count;
    bool more;

    err = api_reply_err(err, reply, fd);
    if (err != 0) {
        problem_answer(call->r, problem_from_err(err), NULL);
        return;
    }
    str_puts(&call->body,
             "{\"schemaVersion\":2,\"mediaType\":\"" MANIFEST_TYPE_OCI_INDEX "\",\"manifests\":[");
    more = msg_get_u8(reply);
    count = msg_get_u32(reply);
    for (uint32_t i = 0; i < count && !reply->bad; i++) {
        if (i > 0)
            str_putc(&call->body, ',');
        list_append_referrer(call, reply, &call->body, &last);
    }
    if (msg_end(reply) != 0) {
        problem_answer(call->r, PROBLEM_INTERNAL, NULL);
        return;
    }
    str_puts(&call->body, "]}");
    if (l->referrers.type_count > 0)
        http_header_add(call->r, "OCI-Filters-Applied", "artifactType");
    if (more && last.alg != 0)
        list_add_link(call, list_referrers_path(call), digest_text(&last, text));
    api_answer_json(call, MANIFEST_TYPE_OCI_INDEX);
}

/* Repeated artifactType parameters mean any of them. */
static bool take_types(struct api_call *call, struct push_referrers *q)
{
    const char *type;

    for (size_t nth = 0;; nth++) {
        if (http_query_get(call->r, "artifactType", nth, &type) != 0 ||
            (type && *type && !name_media_type_ok(type, strlen(type))) ||
            (type && q->type_count == PUSH_TYPES_MAX)) {
            problem_answer(call->r, PROBLEM_PARAMETER,
                           "artifactType takes a media type, at most %d times", PUSH_TYPES_MAX);
            return false;
        }
        if (!type)
            return true;
        if (*type)
            q->types[q->type_count++] = type;
    }
}

void api_referrers(struct api_call *call)
{
    struct list *l = list_new(call, REFERRERS_MAX, REFERRERS_MAX);
    struct push_referrers *q;

    if (!l)
        return;
    q = &l->referrers;
    q->subject.repo = call->route.repo->name;
    q->subject.image = call->route.image;
    q->limit = l->n;
    if (!api_digest(call, call->route.ref, &q->subject.digest) || !take_types(call, q))
        return;
    if (*l->last && !api_digest(call, l->last, &q->last))
        return;
    if (call->route.repo->kind != CONF_HOSTED) {
        list_merge_referrers(call);
        return;
    }
    push_referrers_put(api_ask_begin(call, MSG_REFERRER_LIST), q);
    api_ask(call, referrers_done);
}
