/*
 * lists.c - lists of upstreams: one request for all who ask, pages joined, the answer
 * kept for a while.
 *
 * The fetcher. Owns running and kept lists, bounded in number and bytes. A crash here
 * forgets them.
 */
#include "fetcher/lists.h"

#include "base/container.h"
#include "base/mem.h"
#include "fetcher/collect.h"
#include "fetcher/list_parse.h"
#include "fetcher/share.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <uthash.h>

#define KEEP_MS    30000
#define KEEP_MAX   64
#define PAGE_MAX   (4u << 20)
#define PAGES_MAX  1000
#define SEARCH     99 /* beside enum fetch_list_kind */
#define HUB_SEARCH "https://index.docker.io/v1/search"

struct list_waiter {
    struct serve_return to;
    TAILQ_ENTRY(list_waiter) entry;
};

struct list {
    struct fetch *f;
    struct proxy *proxy;
    char *key, *image;
    int kind;
    struct digest subject;
    uint32_t limit;
    bool running, fallback;
    uint64_t until_ms;
    unsigned pages;
    struct str path;
    struct collect get;
    struct share share;
    struct list_out out;
    TAILQ_HEAD(, list_waiter) waiters;
    UT_hash_handle hh;
};

struct lists {
    struct list *table;
};

static void list_free(struct list *l)
{
    HASH_DEL(l->f->lists->table, l);
    str_free(&l->path);
    str_free(&l->get.body);
    msg_writer_free(&l->out.items);
    free(l->key);
    free(l->image);
    loop_free_later(l->f->loop, l);
}

static void list_tell(struct list *l, struct serve_return to)
{
    struct msg_writer w = {0};

    serve_reply_begin(&w, to);
    reply_err_put(&w, 0);
    if (l->kind == FETCH_LIST_REFERRERS)
        list_referrers_page_put(&w, &(struct list_referrers_page){.count = l->out.count});
    else if (l->kind == SEARCH)
        reply_count_put(&w, l->out.count);
    else
        list_page_put(&w, &(struct list_page){.count = l->out.count});
    reply_entries_put(&w, &l->out.items);
    serve_reply(l->f->serve, to, &w, -1);
}

static void list_end(struct list *l, int err, const struct fetch_failure *why)
{
    struct list_waiter *w;

    l->running = false;
    share_give(&l->share);
    l->until_ms = loop_now_ms(l->f->loop) + KEEP_MS;
    str_free(&l->get.body);
    while ((w = TAILQ_FIRST(&l->waiters)) != NULL) {
        TAILQ_REMOVE(&l->waiters, w, entry);
        if (err == 0)
            list_tell(l, w->to);
        else
            fetch_fail(l->f, w->to, err, why);
        free(w);
    }
    if (err != 0)
        list_free(l);
}

/* The query of <...?query>; rel="next"; NULL: this was the last page. */
static char *next_query(const char *link)
{
    const char *open, *close, *query;

    if (!link || !strstr(link, "next"))
        return NULL;
    open = strchr(link, '<');
    close = open ? strchr(open, '>') : NULL;
    query = close ? memchr(open, '?', (size_t)(close - open)) : NULL;
    return query ? mem_strndup(query, (size_t)(close - query)) : NULL;
}

static void list_base(const struct list *l, struct str *out)
{
    char text[DIGEST_TEXT_MAX];

    if (l->kind == FETCH_LIST_TAGS)
        str_puts(out, "tags/list");
    else if (l->kind == FETCH_LIST_CATALOG)
        str_puts(out, "/v2/_catalog");
    else if (l->kind == FETCH_LIST_REFERRERS && !l->fallback)
        str_printf(out, "referrers/%s", digest_text(&l->subject, text));
    else if (l->kind == FETCH_LIST_REFERRERS) {
        digest_text(&l->subject, text);
        *strchr(text, ':') = '-';
        str_printf(out, "manifests/%s", text);
    }
}

static void list_get(struct list *l, const char *query)
{
    struct str path = {0};

    list_base(l, &path);
    str_puts(&path, query);
    str_free(&l->path);
    l->path = path;
    l->get.request.path = l->path.data;
    collect_start(&l->get);
}

static int list_parse(struct list *l)
{
    switch (l->kind) {
    case FETCH_LIST_TAGS:
        return list_parse_names(&l->out, &l->get.body, "tags", true);
    case FETCH_LIST_CATALOG:
        return list_parse_names(&l->out, &l->get.body, "repositories", false);
    case FETCH_LIST_REFERRERS:
        return list_parse_referrers(&l->out, &l->get.body);
    default:
        return list_parse_search(&l->out, &l->get.body, l->limit);
    }
}

static bool is_index(const struct upstream_head *head)
{
    static const char type[] = "application/vnd.oci.image.index.v1+json";

    return head->content_type && strncasecmp(head->content_type, type, sizeof(type) - 1) == 0;
}

static void list_done(struct collect *c, int err, const struct upstream_head *head,
                      const struct fetch_failure *why)
{
    static const struct fetch_failure bad = {.reason = "the upstream's list cannot be read"};
    struct list *l = CONTAINER_OF(c, struct list, get);
    char *query;

    if (l->kind == FETCH_LIST_REFERRERS &&
        (err == ERR_NOT_FOUND || (err == 0 && !is_index(head)))) {
        if (l->fallback) {
            list_end(l, 0, NULL); /* nobody refers to it */
        } else {
            l->fallback = true;
            list_get(l, "");
        }
        return;
    }
    if (err != 0) {
        list_end(l, err, why);
        return;
    }
    if (list_parse(l) != 0) {
        list_end(l, ERR_PROTOCOL, &bad);
        return;
    }
    query = l->kind == SEARCH || l->fallback ? NULL : next_query(head->link);
    if (query && ++l->pages < PAGES_MAX && l->out.items.buf.len < LIST_BYTES_MAX)
        list_get(l, query);
    else
        list_end(l, 0, NULL);
    free(query);
}

/* Lists that are over go, oldest first. */
static void lists_trim(struct fetch *f)
{
    uint64_t now = loop_now_ms(f->loop);
    struct list *l, *next;

    HASH_ITER(hh, f->lists->table, l, next)
        if (!l->running && (l->until_ms <= now || HASH_COUNT(f->lists->table) >= KEEP_MAX))
            list_free(l);
}

static void wait_for_list(struct list *l, struct serve_return to)
{
    struct list_waiter *w = mem_alloc(sizeof(*w));

    w->to = to;
    TAILQ_INSERT_TAIL(&l->waiters, w, entry);
}

/* True: answered, or joined to what runs. Else a new one, whose request is the caller's. */
static bool list_found(struct fetch *f, struct proxy *p, struct serve_return to, const char *key,
                       const char *client, struct list **list_r)
{
    const struct fetch_failure *busy;
    struct share share = {0};
    struct list *l;

    if (!f->lists)
        f->lists = mem_alloc(sizeof(*f->lists));
    lists_trim(f);
    HASH_FIND_STR(f->lists->table, key, l);
    if (l && !l->running) {
        list_tell(l, to);
        return true;
    }
    if (l) {
        wait_for_list(l, to);
        return true;
    }
    if (share_take(&share, p, client, &busy) != 0) {
        fetch_fail(f, to, ERR_BUSY, busy);
        return true;
    }
    l = mem_alloc(sizeof(*l));
    l->share = share;
    l->f = f;
    l->proxy = p;
    l->key = mem_strdup(key);
    l->running = true;
    TAILQ_INIT(&l->waiters);
    l->get.request.proxy = p;
    l->get.max = PAGE_MAX;
    l->get.done = list_done;
    HASH_ADD_KEYPTR(hh, f->lists->table, l->key, strlen(l->key), l);
    wait_for_list(l, to);
    *list_r = l;
    return false;
}

void lists_ask(struct fetch *f, struct serve_return to, const struct fetch_list *q,
               const char *client)
{
    static const struct fetch_failure hub = {.reason = "Docker Hub tells no catalog"};
    struct proxy *p = fetch_proxy(f, q->repo);
    char text[DIGEST_TEXT_MAX] = "";
    struct str key = {0};
    struct list *l;

    if (!p || (q->kind == FETCH_LIST_CATALOG && p->conf->docker_hub)) {
        fetch_fail(f, to, ERR_UNSUPPORTED, p ? &hub : NULL);
        return;
    }
    if (q->kind == FETCH_LIST_REFERRERS)
        digest_text(&q->subject, text);
    str_printf(&key, "%d %s %s %s", q->kind, q->repo, q->image, text);
    if (!list_found(f, p, to, key.data, client, &l)) {
        l->kind = q->kind;
        l->subject = q->subject;
        l->image = mem_strdup(q->image);
        l->get.request.image = q->kind == FETCH_LIST_CATALOG ? NULL : l->image;
        if (q->kind == FETCH_LIST_REFERRERS)
            l->get.request.extra[0] = "Accept: application/vnd.oci.image.index.v1+json";
        list_get(l, q->kind == FETCH_LIST_REFERRERS ? "" : "?n=1000");
    }
    str_free(&key);
}

static void search_path(struct list *l, const char *index, const char *term)
{
    if (strcmp(index, "remote") == 0) {
        str_puts(&l->path, "/v1/search");
    } else {
        str_puts(&l->path, strcmp(index, "hub") == 0 ? HUB_SEARCH : index);
        l->get.request.one_hop_only = true;
    }
    str_puts(&l->path, strchr(l->path.data, '?') ? "&q=" : "?q=");
    str_percent_encode(&l->path, term);
    str_printf(&l->path, "&n=%u", l->limit);
    l->get.request.path = l->path.data;
}

void lists_search(struct fetch *f, struct serve_return to, const struct fetch_search *q,
                  const char *client)
{
    static const struct fetch_failure none = {.reason = "this proxy has no index to search in"};
    struct proxy *p = fetch_proxy(f, q->repo);
    struct str key = {0};
    struct list *l;

    if (!p || !p->conf->index[0] || strcmp(p->conf->index, "none") == 0) {
        fetch_fail(f, to, ERR_UNSUPPORTED, p ? &none : NULL);
        return;
    }
    str_printf(&key, "%d %s %u %s", SEARCH, q->repo, q->limit, q->term);
    if (!list_found(f, p, to, key.data, client, &l)) {
        l->kind = SEARCH;
        l->limit = q->limit;
        search_path(l, p->conf->index, q->term);
        collect_start(&l->get);
    }
    str_free(&key);
}
