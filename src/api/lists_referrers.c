/*
 * lists_referrers.c - the referrers of a digest, in a hosted repository (doc/protocol.md,
 * "Referrers").
 *
 * Runs in workers; the catalog has the order and filters, the worker makes the JSON. Asked in
 * slices like the names (lists.c). A crash here costs requests.
 */
#include "api/lists.h"

#include "api/burden.h"
#include "base/fail.h"
#include "base/json.h"
#include "base/mem.h"
#include "oci/name.h"

#include <string.h>

#define REFERRERS_MAX 1000

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

bool list_append_referrer(struct api_call *call, struct msg_reader *reply, struct str *body,
                          struct digest *digest_r)
{
    const struct list *l = call->op;
    char text[DIGEST_TEXT_MAX];
    struct list_referrer entry;
    const struct manifest *m = &entry.contents;

    list_referrer_get(reply, call->r->arena, &entry);
    if (reply->bad || !list_type_wanted(&l->referrers, m->artifact_type))
        return false;
    *digest_r = entry.digest;
    str_puts(body, "{\"mediaType\":");
    json_append_string(body, m->media_type);
    str_printf(body, ",\"digest\":\"%s\",\"size\":%llu", digest_text(digest_r, text),
               (unsigned long long)entry.size);
    if (m->artifact_type) {
        str_puts(body, ",\"artifactType\":");
        json_append_string(body, m->artifact_type);
    }
    append_annotations(body, m);
    str_putc(body, '}');
    return true;
}

const char *list_referrers_path(struct api_call *call)
{
    const struct list *l = call->op;
    char subject[DIGEST_TEXT_MAX];

    return mem_arena_printf(call->r->arena, "referrers/%s",
                            digest_text(&l->referrers.subject, subject));
}

static void referrers_done(struct ask *ask, int err, struct msg_reader *reply, int fd);

static void referrers_ask(struct api_call *call)
{
    const struct list *l = call->op;
    struct list_referrers q = l->referrers;

    q.last = l->place_digest;
    q.limit = l->n - l->shown;
    list_referrers_put(api_ask_begin(call, MSG_REFERRER_LIST), &q);
    api_ask(call, referrers_done);
}

static int append_referrers(struct api_call *call, struct msg_reader *reply, bool *more_r)
{
    struct list *l = call->op;
    struct list_referrers_page page;

    list_referrers_page_get(reply, &page);
    *more_r = page.more;
    l->place_digest = page.place;
    for (uint32_t i = 0; i < page.count && !reply->bad; i++) {
        if (l->shown++ > 0)
            str_putc(&call->body, ',');
        list_append_referrer(call, reply, &call->body, &l->last_digest);
    }
    return msg_end(reply);
}

static void referrers_done(struct ask *ask, int err, struct msg_reader *reply, int fd)
{
    struct api_call *call = api_call_of_ask(ask);
    struct list *l = call->op;
    char text[DIGEST_TEXT_MAX];
    bool more = false;

    err = api_reply_err(err, reply, fd);
    if (err == 0)
        err = append_referrers(call, reply, &more);
    if (err != 0) {
        problem_answer(call->r, problem_from_err(err), NULL);
        return;
    }
    if (!burden_fits(call, 0))
        return;
    if (more && l->shown < l->n && call->body.len < LIST_BYTES_MAX) {
        FAIL_POINT(worker_list_more);
        referrers_ask(call);
        return;
    }
    str_puts(&call->body, "]}");
    if (l->referrers.type_count > 0)
        http_header_add(call->r, "OCI-Filters-Applied", "artifactType");
    if (more && l->last_digest.alg != 0)
        list_add_link(call, list_referrers_path(call), digest_text(&l->last_digest, text));
    api_answer_json(call, MANIFEST_TYPE_OCI_INDEX);
}

/* One type of a filter, in the arena; NULL: it cannot be in a header either. What is no media type
 * is only one that nothing here has. No type or subtype holds a space, so one there is a '+' that
 * the client did not encode: application/spdx+json. */
static const char *type_wanted(struct api_call *call, const char *type)
{
    char *text = mem_arena_strdup(call->r->arena, type);

    if (strlen(text) > NAME_MEDIA_TYPE_MAX)
        return NULL;
    for (char *p = text; *p; p++)
        if (*p < ' ' || *p > '~')
            return NULL;
    for (char *p = text; *p && *p != ';'; p++)
        if (*p == ' ')
            *p = '+';
    return text;
}

/* Repeated artifactType parameters mean any of them. */
static bool take_types(struct api_call *call, struct list_referrers *q)
{
    const char *type;

    for (size_t nth = 0;; nth++) {
        if (http_query_get(call->r, "artifactType", nth, &type) != 0)
            break;
        if (!type)
            return true;
        if (!*type)
            continue;
        type = type_wanted(call, type);
        if (!type || q->type_count == LIST_TYPES_MAX)
            break;
        q->types[q->type_count++] = type;
    }
    problem_answer(call->r, PROBLEM_PARAMETER,
                   "artifactType takes a media type of at most %d bytes, at most %d times",
                   NAME_MEDIA_TYPE_MAX, LIST_TYPES_MAX);
    return false;
}

void api_referrers(struct api_call *call)
{
    struct list *l = list_new(call, REFERRERS_MAX, REFERRERS_MAX);
    struct list_referrers *q;

    if (!l)
        return;
    q = &l->referrers;
    q->repo = call->route.repo->name;
    q->image = call->route.image;
    if (!api_digest(call, call->route.ref, &q->subject) || !take_types(call, q))
        return;
    if (*l->last && !api_digest(call, l->last, &q->last))
        return;
    if (call->route.repo->kind != CONF_HOSTED) {
        list_merge_referrers(call);
        return;
    }
    l->place_digest = q->last;
    str_puts(&call->body, LIST_REFERRERS_BEGIN);
    referrers_ask(call);
}
