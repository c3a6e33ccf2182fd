/*
 * lists.c - tags and images of hosted repositories (doc/protocol.md, "Lists").
 *
 * Runs in workers; the catalog has the order, the worker makes the JSON. The catalog answers
 * in slices, so that no list keeps others waiting: it is asked until the page is full. A crash here
 * costs requests.
 */
#include "api/lists.h"

#include "api/base_url.h"
#include "api/burden.h"
#include "api/rights.h"
#include "base/fail.h"
#include "base/json.h"
#include "base/mem.h"
#include "oci/name.h"

#include <string.h>

/* Asked pages are at most this long; without `n` all comes that fits LIST_BYTES_MAX. */
#define PAGE_MAX 1000

/* Link: <...?last=X&n=K>; rel="next". Clients cut at the first ';': everything is encoded. */
void list_add_link(struct api_call *call, const char *what, const char *last)
{
    const struct list *l = call->op;
    struct str link = {0};

    str_printf(&link, "<%s%s%s%s?", api_location_base(call),
               call->route.image ? call->route.image : "", call->route.image ? "/" : "", what);
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

struct list *list_new(struct api_call *call, uint32_t absent, uint32_t max)
{
    struct list *l = mem_arena_alloc(call->r->arena, sizeof(*l));
    const char *n;

    call->op = l;
    if (!api_page(call, absent, max, &l->n, &l->last))
        return NULL;
    l->n_given = http_query_get(call->r, "n", 0, &n) == 0 && n;
    l->place = l->last;
    l->last_shown = "";
    return l;
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

/* Names the caller may not read are left out, and the page filled up from behind
 * them: not even a link's `last` tells one. */
static int append_names(struct api_call *call, struct msg_reader *reply, bool *more_r)
{
    struct list *l = call->op;
    const char *last = NULL;
    struct list_page head;

    list_page_get(reply, &head);
    for (uint32_t i = 0; i < head.count && !reply->bad && l->shown < l->n; i++) {
        const char *name = list_name_get(reply);

        if (reply->bad || (!l->tags && !may_see(call, name)))
            continue;
        if (l->shown++ > 0)
            str_putc(&call->body, ',');
        json_append_string(&call->body, name);
        last = name;
    }
    if (reply->bad)
        return ERR_PROTOCOL;
    if (last)
        l->last_shown = mem_arena_strdup(call->r->arena, last);
    *more_r = head.more || reply->at < reply->len;
    l->place = mem_arena_strdup(call->r->arena, head.place);
    return 0;
}

static void names_done(struct ask *ask, int err, struct msg_reader *reply, int fd);

static void names_ask(struct api_call *call)
{
    const struct list *l = call->op;
    struct list_names q = {.repo = call->route.repo ? call->route.repo->name : "",
                           .image = l->tags ? call->route.image : "",
                           .last = l->place,
                           .limit = l->tags ? l->n - l->shown : l->n};

    list_names_put(api_ask_begin(call, l->tags ? MSG_TAG_LIST : MSG_IMAGE_LIST), &q);
    api_ask(call, names_done);
}

static void names_done(struct ask *ask, int err, struct msg_reader *reply, int fd)
{
    struct api_call *call = api_call_of_ask(ask);
    struct list *l = call->op;
    bool more = false;

    err = api_reply_err(err, reply, fd);
    if (err == 0)
        err = append_names(call, reply, &more);
    else if (err == ERR_NOT_FOUND && l->shown > 0)
        err = 0; /* deleted while it was listed */
    if (err != 0) {
        problem_answer(call->r, err == ERR_NOT_FOUND ? PROBLEM_NAME_UNKNOWN : problem_from_err(err),
                       NULL);
        return;
    }
    if (!burden_fits(call, 0))
        return;
    if (more && l->shown < l->n && call->body.len < LIST_BYTES_MAX) {
        FAIL_POINT(worker_list_more);
        names_ask(call);
        return;
    }
    str_puts(&call->body, "]}");
    if (more && *l->last_shown && l->n > 0)
        list_add_link(call, l->tags ? "tags/list" : "_catalog", l->last_shown);
    api_answer_json(call, "application/json");
}

void api_tags(struct api_call *call)
{
    struct list *l = list_new(call, LIST_ABSENT, PAGE_MAX);

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
    l->tags = true;
    list_begin_tags(call);
    names_ask(call);
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
    str_puts(&call->body, "{\"repositories\":[");
    names_ask(call);
}
