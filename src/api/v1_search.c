/*
 * v1_search.c - GET /v1/search: images whose names hold a term (doc/protocol.md,
 * "The V1 API").
 *
 * Runs in workers. Goes through the repositories the connector serves, one after
 * the other, each by a function for its kind; every name found comes by
 * search_add(). The catalog is asked in small pieces, so that a search of many
 * images keeps nobody waiting, and the whole is bounded. A crash here costs requests.
 */
#include "api/api.h"

#include "api/members.h"
#include "api/rights.h"
#include "api/upstream.h"
#include "base/fail.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "ipc/msg_list.h"
#include "oci/name.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#define N_ABSENT      25
#define N_MAX         100
#define PAGE_MAX      1000000
#define QUESTIONS_MAX 1024 /* to the catalog: about a million names */

struct search {
    const char *query; /* as asked */
    const char *term;  /* lower case: names are */
    uint32_t n, page;  /* page counts from 1 */
    uint64_t found;    /* so far, on all pages */
    unsigned questions;
    const struct conf_repo **repos; /* to go through */
    size_t repo_count, repo;
    bool named;          /* names begin with the repository's */
    struct str last;     /* image of the present repository looked at last; "" when empty */
    struct shown *shown; /* all so far; NULL where names cannot come twice */
    bool several;        /* they can */
};

/* A name that was shown: members of a group may have the same. */
struct shown {
    UT_hash_handle hh;
    char name[];
};

/* Each searches the present repository and ends with search_next(). Groups are
 * their members (take_repos). */
static void search_kept(struct api_call *call);
static void search_index(struct api_call *call);
static void (*const searchers[])(struct api_call *call) = {
    [CONF_HOSTED] = search_kept,
    [CONF_PROXY] = search_index, /* and then what is kept */
    [CONF_GROUP] = NULL,
};

static void search_finish(struct api_call *call)
{
    struct search *s = call->op;

    struct shown *shown, *next;

    HASH_ITER(hh, s->shown, shown, next) {
        HASH_DEL(s->shown, shown);
        free(shown);
    }
    str_free(&s->last);
}

/* Was it shown before? From now on it was. */
static bool shown_before(struct search *s, const char *name)
{
    size_t len = strlen(name);
    struct shown *shown;

    if (!s->several)
        return false;
    HASH_FIND(hh, s->shown, name, len, shown);
    if (shown)
        return true;
    shown = mem_alloc(sizeof(*shown) + len + 1);
    memcpy(shown->name, name, len + 1);
    HASH_ADD(hh, s->shown, name, len, shown);
    return false;
}

struct search_hit {
    const char *image; /* its name in the repository */
    const char *name;  /* what clients write behind HOST/ */
    const char *description;
    uint64_t stars;
    bool official;
};

/* Every result passes through here: whoever may not read an image is not told
 * of it, neither by name nor by count. */
static void search_add(struct api_call *call, const struct conf_repo *repo,
                       const struct search_hit *hit)
{
    struct search *s = call->op;
    uint64_t first = (uint64_t)(s->page - 1) * s->n, place = s->found;

    if (!api_may(call, repo, hit->image, RIGHT_PULL) || conf_reserved(repo, hit->image) ||
        shown_before(s, hit->name))
        return;
    s->found++;
    if (place < first || place >= first + s->n)
        return;
    str_puts(&call->body, place > first ? ",{\"name\":" : "{\"name\":");
    json_append_string(&call->body, hit->name);
    str_puts(&call->body, ",\"description\":");
    json_append_string(&call->body, hit->description ? hit->description : "");
    str_printf(&call->body, ",\"star_count\":%llu,\"is_official\":%s,\"is_automated\":false}",
               (unsigned long long)hit->stars, hit->official ? "true" : "false");
}

static void search_answer(struct api_call *call)
{
    struct search *s = call->op;

    str_printf(&call->body,
               "],\"num_results\":%llu,\"num_pages\":%llu,\"page\":%u,\"page_size\":%u,\"query\":",
               (unsigned long long)s->found, (unsigned long long)(s->found + s->n - 1) / s->n,
               s->page, s->n);
    json_append_string(&call->body, s->query);
    str_puts(&call->body, "}");
    api_answer_json(call, "application/json");
}

/* On to the repository at s->repo, or to the answer. */
static void search_run(struct api_call *call)
{
    struct search *s = call->op;

    while (s->repo < s->repo_count && !searchers[s->repos[s->repo]->kind])
        s->repo++;
    if (s->repo < s->repo_count)
        searchers[s->repos[s->repo]->kind](call);
    else
        search_answer(call);
}

static void search_next(struct api_call *call)
{
    struct search *s = call->op;

    s->repo++;
    str_reset(&s->last);
    search_run(call);
}

static void index_done(struct ask *ask, int err, struct msg_reader *reply, int fd)
{
    struct api_call *call = api_call_of_ask(ask);
    struct search *s = call->op;
    const struct conf_repo *repo = s->repos[s->repo];
    struct fetch_failure why;
    uint32_t count;

    err = upstream_reply_err(err, reply, fd, &why);
    if (err != 0) { /* what is here is found all the same */
        log_info("an index cannot be searched", "repo=%s err=%s why=%s req=%s", repo->name,
                 log_quote(err_text(err)), log_quote(why.reason), call->r->id);
        search_kept(call);
        return;
    }
    count = reply_count_get(reply);
    for (uint32_t i = 0; i < count && !reply->bad; i++) {
        struct fetch_hit found;
        struct search_hit hit;

        fetch_hit_get(reply, &found);
        if (reply->bad || !name_image_ok(found.name, strlen(found.name)))
            continue;
        hit = (struct search_hit){.image = found.name,
                                  .description = found.description,
                                  .stars = found.stars,
                                  .official = found.official};
        hit.name =
            s->named ? mem_arena_printf(call->r->arena, "%s/%s", repo->name, hit.image) : hit.image;
        search_add(call, repo, &hit);
    }
    search_kept(call);
}

static void search_index(struct api_call *call)
{
    struct search *s = call->op;
    const struct conf_repo *repo = s->repos[s->repo];
    struct msg_writer *w;

    if (strcmp(repo->proxy->index, "none") == 0 || !*s->term || conf_reserved(repo, s->term)) {
        search_kept(call);
        return;
    }
    w = upstream_ask_begin(call, MSG_FETCH_SEARCH);
    fetch_search_put(w,
                     &(struct fetch_search){.repo = repo->name, .term = s->term, .limit = N_MAX});
    upstream_ask(call, w, index_done);
}

static void kept_done(struct ask *ask, int err, struct msg_reader *reply, int fd)
{
    struct api_call *call = api_call_of_ask(ask);
    struct search *s = call->op;
    const struct conf_repo *repo = s->repos[s->repo];
    size_t shown = s->named ? strlen(repo->name) + 1 : 0;
    struct list_page head;

    err = api_reply_err(err, reply, fd);
    if (err != 0) {
        problem_answer(call->r, problem_from_err(err), NULL);
        return;
    }
    list_page_get(reply, &head);
    for (uint32_t i = 0; i < head.count; i++) {
        const char *name = list_name_get(reply);

        if (strlen(name) <= shown) { /* also after a bad read */
            problem_answer(call->r, PROBLEM_INTERNAL, NULL);
            return;
        }
        search_add(call, repo, &(struct search_hit){.image = name + shown, .name = name});
    }
    if (msg_end(reply) != 0) {
        problem_answer(call->r, PROBLEM_INTERNAL, NULL);
        return;
    }
    str_reset(&s->last);
    str_puts(&s->last, head.place);
    if (head.more && s->questions < QUESTIONS_MAX) {
        FAIL_POINT(worker_list_more);
        search_kept(call);
    } else {
        search_next(call);
    }
}

static void search_kept(struct api_call *call)
{
    struct search *s = call->op;
    const struct conf_repo *repo = s->repos[s->repo];
    struct list_search q = {.repo = repo->name,
                            .shown =
                                s->named ? mem_arena_printf(call->r->arena, "%s/", repo->name) : "",
                            .term = s->term,
                            .last = s->last.data ? s->last.data : ""};

    s->questions++;
    list_search_put(api_ask_begin(call, MSG_IMAGE_SEARCH), &q);
    api_ask(call, kept_done);
}

/* "a-b/" stands before "a/": repositories in the order of what is shown. */
static int compare_shown(const void *a, const void *b)
{
    const char *x = (*(const struct conf_repo *const *)a)->name;
    const char *y = (*(const struct conf_repo *const *)b)->name;

    while (*x && *x == *y) {
        x++;
        y++;
    }
    return (*x ? (unsigned char)*x : '/') - (*y ? (unsigned char)*y : '/');
}

/* The connector's repository, or all that are online. */
static bool take_repos(struct api_call *call, struct search *s)
{
    const struct conf *conf = call->api->conf;
    const struct conf_repo *only = route_repo_by_host(conf, call->r);

    s->repos = mem_arena_alloc(call->r->arena, (conf->repo_count + 1) * sizeof(*s->repos));
    if (only && !only->online) {
        problem_answer(call->r, PROBLEM_UNAVAILABLE, "repository %s is offline", only->name);
        return false;
    }
    if (only) {
        struct members members;

        members_find(call, only, NULL, &members);
        s->repos = members.repos;
        s->repo_count = members.count;
        s->several = members.count > 1 || only->kind == CONF_PROXY;
        return true;
    }
    s->several = true;
    for (size_t i = 0; i < conf->repo_count; i++)
        if (conf->repos[i].online)
            s->repos[s->repo_count++] = &conf->repos[i];
    s->named = true;
    qsort(s->repos, s->repo_count, sizeof(s->repos[0]), compare_shown);
    return true;
}

/* A count from 1 to `max`; what is larger becomes that, 0 and none the default. */
static bool take_count(struct api_call *call, const char *name, uint32_t absent, uint32_t max,
                       uint32_t *value_r)
{
    const char *text;
    uint64_t value;

    *value_r = absent;
    if (!api_query(call, name, &text))
        return false;
    if (!text || !*text)
        return true;
    if (strspn(text, "0123456789") != strlen(text)) {
        problem_answer(call->r, PROBLEM_PAGINATION, "%s must be a decimal number", name);
        return false;
    }
    if (str_parse_u64(text, strlen(text), &value) != 0 || value > max)
        value = max;
    if (value > 0)
        *value_r = (uint32_t)value;
    return true;
}

static bool take_term(struct api_call *call, struct search *s)
{
    char *term;

    if (!api_query(call, "q", &s->query))
        return false;
    if (!s->query)
        s->query = "";
    if (strlen(s->query) > NAME_IMAGE_MAX) {
        problem_answer(call->r, PROBLEM_PARAMETER, "parameter q is longer than any name");
        return false;
    }
    term = mem_arena_strdup(call->r->arena, s->query);
    for (char *p = term; *p; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p + 32);
    s->term = term;
    return true;
}

void api_v1_search(struct api_call *call)
{
    struct search *s = mem_arena_alloc(call->r->arena, sizeof(*s));

    call->op = s;
    call->finish = search_finish;
    if (!take_term(call, s) || !take_count(call, "n", N_ABSENT, N_MAX, &s->n) ||
        !take_count(call, "page", 1, PAGE_MAX, &s->page) || !take_repos(call, s))
        return;
    str_puts(&call->body, "{\"results\":[");
    search_run(call);
}
