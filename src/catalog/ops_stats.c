/*
 * ops_stats.c - what the catalog tells about itself. Runs in the catalog; reads.
 */
#include "catalog/gc.h"
#include "catalog/ops.h"
#include "catalog/scrub.h"
#include "ipc/msg_stats.h"

static void stats_put(const struct catalog *c, struct msg_writer *answer)
{
    msg_put_u32(answer, (uint32_t)c->conf->repo_count);
    for (size_t i = 0; i < c->conf->repo_count; i++) {
        const struct conf_repo *repo = &c->conf->repos[i];
        const struct catalog_count *count = &c->counts[i];
        struct stats_repo s = {.name = repo->name,
                               .store = repo->store ? repo->store->name : "",
                               .kind = (uint8_t)repo->kind,
                               .online = repo->online,
                               .images = (uint64_t)count->images,
                               .tags = (uint64_t)count->tags,
                               .manifests = (uint64_t)count->manifests,
                               .blobs = (uint64_t)count->blobs,
                               .bytes = (uint64_t)count->bytes};

        stats_repo_put(answer, &s);
    }
    msg_put_u32(answer, (uint32_t)c->conf->store_count);
    for (size_t i = 0; i < c->conf->store_count; i++) {
        struct stats_store s = {.name = c->conf->stores[i].name,
                                .bytes = (uint64_t)c->store_bytes[i],
                                .quota = c->conf->stores[i].quota,
                                .uploads = c->survey_count[i],
                                .upload_bytes = c->survey_bytes[i],
                                .damaged = c->damaged_count[i]};

        stats_store_put(answer, &s);
    }
}

void op_repo_stats(struct catalog *c, struct msg_reader *question, struct msg_writer *answer)
{
    int err = msg_end(question);

    msg_put_i32(answer, err);
    if (err == 0)
        stats_put(c, answer);
}

void op_catalog_stats(struct catalog *c, struct msg_reader *question, struct msg_writer *answer)
{
    struct stats_scrub scrub;
    struct stats_gc gc;
    int err = msg_end(question);

    msg_put_i32(answer, err);
    if (err != 0)
        return;
    stats_put(c, answer);
    gc_stats(c->gc, &gc);
    stats_gc_put(answer, &gc);
    scrub_stats(c->scrub, &scrub);
    stats_scrub_put(answer, &scrub);
}
