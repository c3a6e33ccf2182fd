/*
 * ops_stats.c - what the catalog tells about itself. Runs in the catalog; reads.
 *
 * Changes nothing.
 */
#include "catalog/gc.h"
#include "catalog/held.h"
#include "catalog/journal.h"
#include "catalog/ops.h"
#include "catalog/scrub.h"
#include "ipc/msg_stats.h"

#include <string.h>

static void counts_fill(const struct catalog_count *count, struct stats_repo *s)
{
    s->images = (uint64_t)count->images;
    s->tags = (uint64_t)count->tags;
    s->manifests = (uint64_t)count->manifests;
    s->blobs = (uint64_t)count->blobs;
    s->bytes = (uint64_t)count->bytes;
}

bool op_repo_stats_of(const struct catalog *c, const char *name, struct stats_repo *s_r)
{
    const struct held_unowned *unowned = held_unowned_find(c->held, name);
    const struct conf_repo *repo = conf_repo_by_name(c->conf, name, strlen(name));
    const struct holding *holding = held_holding(c->held, name);

    if (!repo && !unowned)
        return false;
    *s_r = (struct stats_repo){.name = name, .store = "", .kind = STATS_KIND_UNKNOWN};
    if (repo) {
        s_r->kind = (uint8_t)repo->kind;
        s_r->online = repo->online;
        s_r->owned = true;
        s_r->store = repo->store ? repo->store->name : "";
        counts_fill(&c->counts[repo - c->conf->repos], s_r);
        return true;
    }
    counts_fill(&unowned->count, s_r);
    if (holding && strcmp(holding->kind, "unknown") != 0) {
        s_r->kind = strcmp(holding->kind, "proxy") == 0 ? CONF_PROXY : CONF_HOSTED;
        s_r->store = holding->store;
    }
    return true;
}

static void stats_put(const struct catalog *c, struct msg_writer *answer)
{
    const struct held_unowned *unowned;
    struct stats_repo line = {0};
    uint32_t count = (uint32_t)c->conf->repo_count;

    for (size_t i = 0; held_unowned(c->held, i); i++)
        count++;
    reply_count_put(answer, count);
    for (size_t i = 0; i < c->conf->repo_count; i++)
        if (op_repo_stats_of(c, c->conf->repos[i].name, &line))
            stats_repo_put(answer, &line);
    for (size_t i = 0; (unowned = held_unowned(c->held, i)) != NULL; i++)
        if (op_repo_stats_of(c, unowned->name, &line))
            stats_repo_put(answer, &line);
    reply_count_put(answer, (uint32_t)c->conf->store_count);
    for (size_t i = 0; i < c->conf->store_count; i++) {
        struct stats_store s = {.name = c->conf->stores[i].name,
                                .bytes = (uint64_t)c->store_bytes[i],
                                .quota = c->conf->stores[i].quota,
                                .uploads = c->survey_count[i],
                                .upload_bytes = c->survey_bytes[i],
                                .damaged = c->damaged_count[i],
                                .journal = journals_health(c->journals, i) == JOURNAL_KEPT,
                                .lost = c->lacks[i].lacks,
                                .elsewhere = c->elsewhere[i],
                                .open = store_is_open(c->stores[i]) && !c->elsewhere[i]};

        stats_store_put(answer, &s);
    }
}

void op_repo_stats(struct catalog *c, struct msg_reader *question, struct msg_writer *answer)
{
    int err = msg_end(question);

    reply_err_put(answer, err);
    if (err == 0)
        stats_put(c, answer);
}

void op_catalog_stats(struct catalog *c, struct msg_reader *question, struct msg_writer *answer)
{
    struct stats_scrub scrub;
    struct stats_gc gc;
    int err = msg_end(question);

    reply_err_put(answer, err);
    if (err != 0)
        return;
    stats_put(c, answer);
    gc_stats(c->gc, &gc);
    stats_gc_put(answer, &gc);
    scrub_stats(c->scrub, &scrub);
    stats_scrub_put(answer, &scrub);
    stats_lists_put(answer, &c->lists);
}
