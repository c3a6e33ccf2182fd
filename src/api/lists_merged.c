/*
 * lists_merged.c - lists of proxies and groups: what is here and what remotes have,
 * of all members, once each and in order.
 *
 * Runs in workers, on the loop: one question after the other, each answer into one
 * array that lives in the request's arena. The catalog answers in slices (lists.c): each member is
 * asked for one more than the page takes. A remote that cannot be asked leaves its
 * part out as long as somebody else knew anything: a list is for people and
 * clean-ups, and half of it beats none. A crash here costs requests.
 */
#include "api/lists.h"

#include "api/burden.h"
#include "api/members.h"
#include "api/rights.h"
#include "api/upstream.h"
#include "base/fail.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/must.h"
#include "oci/name.h"

#include <stdlib.h>
#include <string.h>

#define ENTRIES_MAX 1000000

struct merge_entry {
    const char *name; /* of a tag or image; of a referrer its digest */
    const char *json; /* of a referrer */
};

struct merge {
    struct members members;
    bool remote; /* which of the member's two sides is asked now */
    bool known;  /* somebody knows the image */
    enum fetch_list_kind kind;
    struct merge_entry *entries; /* malloc'd */
    size_t count, room;
    /* Of what is here of the present member: */
    const char *place; /* up to which the catalog has looked */
    size_t taken, bytes;
    /* Somebody has more behind this than was taken: what others have there comes with the next
     * page. */
    const char *cut; /* NULL: nobody has */
};

static void ask_next(struct api_call *call);

static struct merge *merge_of(struct api_call *call)
{
    const struct list *l = call->op;

    return l->merge;
}

static void merge_finish(struct api_call *call)
{
    free(merge_of(call)->entries);
}

static struct merge_entry *entry_add(struct merge *m)
{
    if (m->count == ENTRIES_MAX)
        return NULL;
    if (m->count == m->room) {
        m->room = m->room ? 2 * m->room : 64;
        m->entries = mem_resize_array(m->entries, m->room, sizeof(*m->entries));
    }
    m->entries[m->count] = (struct merge_entry){0};
    return &m->entries[m->count++];
}

/* True: the catalog has more. */
static bool take_names(struct api_call *call, struct msg_reader *reply)
{
    struct merge *m = merge_of(call);
    struct list_page head;

    list_page_get(reply, &head);
    for (uint32_t i = 0; i < head.count && !reply->bad; i++) {
        const char *name = list_name_get(reply);
        bool seen =
            !reply->bad && (m->kind == FETCH_LIST_TAGS ||
                            (api_may(call, m->members.repos[m->members.at], name, RIGHT_PULL) &&
                             !conf_reserved(m->members.repos[m->members.at], name)));
        struct merge_entry *entry = seen ? entry_add(m) : NULL;

        if (!entry)
            continue;
        entry->name = mem_arena_strdup(call->r->arena, name);
        m->taken++;
        m->bytes += strlen(name);
    }
    if (head.more)
        m->place = mem_arena_strdup(call->r->arena, head.place);
    return head.more && !reply->bad;
}

static bool take_referrers(struct api_call *call, struct msg_reader *reply)
{
    struct merge *m = merge_of(call);
    char text[DIGEST_TEXT_MAX];
    struct list_referrers_page page;
    struct digest digest;

    list_referrers_page_get(reply, &page);
    if (page.place.alg != 0)
        m->place = mem_arena_strdup(call->r->arena, digest_text(&page.place, text));
    for (uint32_t i = 0; i < page.count && !reply->bad; i++) {
        struct str json = {0};

        if (list_append_referrer(call, reply, &json, &digest)) {
            struct merge_entry *entry = entry_add(m);

            if (entry) {
                entry->name = mem_arena_strdup(call->r->arena, digest_text(&digest, text));
                entry->json = mem_arena_strndup(call->r->arena, json.data, json.len);
                m->taken++;
                m->bytes += json.len;
            }
        }
        str_free(&json);
    }
    return page.more && !reply->bad;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct merge_entry *)a)->name, ((const struct merge_entry *)b)->name);
}

/* The catalog has more of the present member. True: it is wanted. */
static bool want_more(struct api_call *call)
{
    struct merge *m = merge_of(call);

    if (m->taken <= ((const struct list *)call->op)->n && m->bytes < LIST_BYTES_MAX)
        return true;
    if (!m->cut || strcmp(m->place, m->cut) < 0)
        m->cut = m->place;
    return false;
}

/* On to what the remote of a proxy has, or to the next member. */
static void member_next(struct api_call *call)
{
    const struct list *l = call->op;
    struct merge *m = merge_of(call);

    if (!m->remote && m->members.repos[m->members.at]->kind == CONF_PROXY) {
        m->remote = true;
        return;
    }
    m->remote = false;
    m->members.at++;
    m->place = l->last;
    m->taken = m->bytes = 0;
}

static void answered(struct ask *ask, int err, struct msg_reader *reply, int fd)
{
    struct api_call *call = api_call_of_ask(ask);
    struct merge *m = merge_of(call);
    struct fetch_failure why = {.reason = ""};
    bool more = false;

    err = m->remote ? upstream_reply_err(err, reply, fd, &why) : api_reply_err(err, reply, fd);
    if (err == 0) {
        m->known = true;
        more =
            m->kind == FETCH_LIST_REFERRERS ? take_referrers(call, reply) : take_names(call, reply);
    } else if (err != ERR_NOT_FOUND && err != ERR_UNSUPPORTED) {
        members_failed(call, &m->members, err, &why);
    }
    if (!burden_fits(call, m->room * sizeof(*m->entries)))
        return;
    if (more && want_more(call))
        FAIL_POINT(worker_list_more);
    else
        member_next(call);
    ask_next(call);
}

/* Sorted, without doubles, behind `last`; the place of the first. */
static size_t arrange(struct merge *m, const char *last)
{
    size_t kept = 0, from = 0;

    if (m->count > 0)
        qsort(m->entries, m->count, sizeof(*m->entries), by_name);
    for (size_t i = 0; i < m->count; i++)
        if ((kept == 0 || strcmp(m->entries[kept - 1].name, m->entries[i].name) != 0) &&
            (!m->cut || strcmp(m->entries[i].name, m->cut) <= 0))
            m->entries[kept++] = m->entries[i];
    m->count = kept;
    while (from < m->count && strcmp(m->entries[from].name, last) <= 0)
        from++;
    return from;
}

/* Is there more behind the page that ends before `end`? */
static bool page_linked(const struct merge *m, size_t from, size_t end)
{
    return end > from && (end < m->count || m->cut);
}

static void answer_names(struct api_call *call)
{
    const struct list *l = call->op;
    struct merge *m = merge_of(call);
    size_t from = arrange(m, l->last);
    size_t end = m->count - from > l->n ? from + l->n : m->count;
    bool tags = m->kind == FETCH_LIST_TAGS;

    if (tags)
        list_begin_tags(call);
    else
        str_puts(&call->body, "{\"repositories\":[");
    for (size_t i = from; i < end; i++) {
        if (i > from)
            str_putc(&call->body, ',');
        json_append_string(&call->body, m->entries[i].name);
        if (call->body.len >= LIST_BYTES_MAX)
            end = i + 1;
    }
    str_puts(&call->body, "]}");
    if (!burden_fits(call, m->room * sizeof(*m->entries)))
        return;
    if (page_linked(m, from, end))
        list_add_link(call, tags ? "tags/list" : "_catalog", m->entries[end - 1].name);
    api_answer_json(call, "application/json");
}

static void answer_referrers(struct api_call *call)
{
    const struct list *l = call->op;
    struct merge *m = merge_of(call);
    size_t from = arrange(m, l->last);
    size_t end = m->count - from > l->n ? from + l->n : m->count;

    str_puts(&call->body, LIST_REFERRERS_BEGIN);
    for (size_t i = from; i < end; i++) {
        if (i > from)
            str_putc(&call->body, ',');
        str_puts(&call->body, m->entries[i].json);
        if (call->body.len >= LIST_BYTES_MAX)
            end = i + 1;
    }
    str_puts(&call->body, "]}");
    if (!burden_fits(call, m->room * sizeof(*m->entries)))
        return;
    if (l->referrers.type_count > 0)
        http_header_add(call->r, "OCI-Filters-Applied", "artifactType");
    if (page_linked(m, from, end))
        list_add_link(call, list_referrers_path(call), m->entries[end - 1].name);
    api_answer_json(call, MANIFEST_TYPE_OCI_INDEX);
}

static void merge_done(struct api_call *call)
{
    struct merge *m = merge_of(call);

    if (m->kind == FETCH_LIST_REFERRERS)
        answer_referrers(call); /* 200 for whatever subject (distribution-spec, end-12a) */
    else if (m->known || (m->kind == FETCH_LIST_CATALOG && m->members.err == 0))
        answer_names(call);
    else
        members_answer(call, &m->members, PROBLEM_NAME_UNKNOWN);
}

static void ask_catalog(struct api_call *call, const char *repo)
{
    const struct list *l = call->op;
    struct merge *m = merge_of(call);
    struct list_names names = {.repo = repo,
                               .image = m->kind == FETCH_LIST_TAGS ? call->route.image : "",
                               .last = m->place,
                               .limit = l->n + 1};
    struct list_referrers q = l->referrers;

    if (m->kind == FETCH_LIST_REFERRERS) {
        q.repo = repo;
        q.last.alg = 0;
        if (*m->place)
            MUST(digest_parse(m->place, &q.last) == 0);
        q.limit = l->n + 1;
        list_referrers_put(api_ask_begin(call, MSG_REFERRER_LIST), &q);
    } else {
        list_names_put(
            api_ask_begin(call, m->kind == FETCH_LIST_TAGS ? MSG_TAG_LIST : MSG_IMAGE_LIST),
            &names);
    }
    api_ask(call, answered);
}

static void ask_remote(struct api_call *call, const char *repo)
{
    const struct list *l = call->op;
    struct fetch_list q = {.kind = (uint8_t)merge_of(call)->kind,
                           .repo = repo,
                           .image = call->route.image ? call->route.image : "",
                           .subject = l->referrers.subject};
    struct msg_writer *w;

    w = upstream_ask_begin(call, MSG_FETCH_LIST);
    fetch_list_put(w, &q);
    upstream_ask(call, w, answered);
}

static void ask_next(struct api_call *call)
{
    struct merge *m = merge_of(call);

    if (m->members.at == m->members.count)
        merge_done(call);
    else if (m->remote)
        ask_remote(call, m->members.repos[m->members.at]->name);
    else
        ask_catalog(call, m->members.repos[m->members.at]->name);
}

static void merge_begin(struct api_call *call, enum fetch_list_kind kind)
{
    struct merge *m = mem_arena_alloc(call->r->arena, sizeof(*m));
    struct list *l = call->op;

    l->merge = m;
    call->finish = merge_finish;
    m->kind = kind;
    m->place = l->last;
    members_find(call, call->route.repo, call->route.image, &m->members);
    ask_next(call);
}

void list_merge_tags(struct api_call *call)
{
    merge_begin(call, FETCH_LIST_TAGS);
}

void list_merge_images(struct api_call *call)
{
    merge_begin(call, FETCH_LIST_CATALOG);
}

void list_merge_referrers(struct api_call *call)
{
    merge_begin(call, FETCH_LIST_REFERRERS);
}
