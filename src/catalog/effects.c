/*
 * effects.c - what the batch of a turn leads to.
 *
 * Runs in the catalog. Owns what was derived from the batch that is not written yet. A crash leaves
 * an index that the next catalog makes anew from the database.
 */
#include "catalog/effects.h"

#include "base/container.h"
#include "base/log.h"
#include "base/mem.h"
#include "catalog/apply.h"
#include "catalog/evict.h"
#include "catalog/held.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

/* Of the index. Strings are in the arena. */
struct change {
    bool put;      /* else it goes */
    bool was_live; /* hidden by us */
    struct apply_entry entry;
    struct digest digest;
    STAILQ_ENTRY(change) next;
};

/* Of a repository without a section. */
struct unowned {
    const char *repo;
    struct catalog_count count;
    STAILQ_ENTRY(unowned) next;
};

/* A damaged blob whose bytes are right again. */
struct healed {
    const char *store;
    struct digest digest;
    STAILQ_ENTRY(healed) next;
};

struct effects {
    struct apply apply;
    struct mem_arena *arena;
    size_t seen[META_KINDS]; /* by kind: changes of the batch that were told */
    STAILQ_HEAD(, change) changes;
    STAILQ_HEAD(, unowned) unowned;
    STAILQ_HEAD(, healed) healed;
};

static int change_add(struct apply *apply, const struct apply_entry *entry, bool put)
{
    struct effects *e = CONTAINER_OF(apply, struct effects, apply);
    struct change *change = mem_arena_alloc(e->arena, sizeof(*change));

    *change = (struct change){.put = put, .entry = *entry};
    change->entry.repo = mem_arena_strdup(e->arena, entry->repo);
    change->entry.image = mem_arena_strdup(e->arena, entry->image);
    change->entry.ref = mem_arena_strdup(e->arena, entry->ref);
    change->entry.media_type =
        mem_arena_strdup(e->arena, entry->media_type ? entry->media_type : "");
    if (entry->digest)
        change->digest = *entry->digest;
    STAILQ_INSERT_TAIL(&e->changes, change, next);
    return 0;
}

static int put(struct apply *apply, const struct apply_entry *entry)
{
    return change_add(apply, entry, true);
}

static int go(struct apply *apply, const struct apply_entry *entry)
{
    return change_add(apply, entry, false);
}

static struct catalog_count *count_unowned(struct apply *apply, const char *repo)
{
    struct effects *e = CONTAINER_OF(apply, struct effects, apply);
    struct unowned *u;

    STAILQ_FOREACH(u, &e->unowned, next)
        if (strcmp(u->repo, repo) == 0)
            return &u->count;
    u = mem_arena_alloc(e->arena, sizeof(*u));
    *u = (struct unowned){.repo = mem_arena_strdup(e->arena, repo)};
    STAILQ_INSERT_TAIL(&e->unowned, u, next);
    return &u->count;
}

struct effects *effects_new(struct catalog *c)
{
    struct effects *e = mem_alloc(sizeof(*e));

    e->arena = mem_arena_new();
    e->apply = (struct apply){.c = c, .show = put, .hide = go, .count_unowned = count_unowned};
    e->apply.counts = mem_alloc_array(c->conf->repo_count + 1, sizeof(*e->apply.counts));
    effects_reset(e);
    return e;
}

void effects_free(struct effects **effects_p)
{
    struct effects *e = *effects_p;

    *effects_p = NULL;
    mem_arena_free(&e->arena);
    free(e->apply.counts);
    free(e);
}

void effects_reset(struct effects *e)
{
    STAILQ_INIT(&e->changes);
    STAILQ_INIT(&e->unowned);
    STAILQ_INIT(&e->healed);
    mem_arena_reset(e->arena);
    memset(e->seen, 0, sizeof(e->seen));
    memset(e->apply.counts, 0, e->apply.c->conf->repo_count * sizeof(*e->apply.counts));
    memset(e->apply.store_bytes, 0, sizeof(e->apply.store_bytes));
    memset(e->apply.damaged, 0, sizeof(e->apply.damaged));
}

/* A mark that goes with its bytes is no news. */
static void heal_note(struct effects *e, const struct meta_key *mark)
{
    struct healed *healed;

    if (!meta_has(e->apply.db, meta_blob(mark->store, &mark->digest)))
        return;
    healed = mem_arena_alloc(e->arena, sizeof(*healed));
    *healed =
        (struct healed){.store = mem_arena_strdup(e->arena, mark->store), .digest = mark->digest};
    STAILQ_INSERT_TAIL(&e->healed, healed, next);
}

static void each_change(void *ctx, const struct meta_key *key, const struct db_change *change)
{
    struct effects *e = ctx;
    int err = apply_record(&e->apply, key, change);

    if (err == ERR_DAMAGED)
        log_error("a record that was made says nothing", "kind=%c", key->kind);
    else if (err == 0 && key->kind == META_DAMAGE && change->was && !change->now)
        heal_note(e, key);
}

static void collect_kind(struct effects *e, enum meta_kind kind)
{
    e->apply.db = e->apply.c->db;
    e->seen[kind] = meta_batch_since(e->apply.db, kind, e->seen[kind], each_change, e);
}

void effects_collect(struct effects *e)
{
    for (const enum meta_kind *kind = apply_kinds; *kind != META_NONE; kind++)
        collect_kind(e, *kind);
}

int64_t effects_store_bytes(struct effects *e, size_t store_place)
{
    collect_kind(e, META_BLOB);
    return e->apply.store_bytes[store_place];
}

bool effects_add_images(const struct effects *e, size_t repo_place)
{
    return e->apply.counts[repo_place].images > 0;
}

void effects_hide(struct effects *e)
{
    struct change *change;

    STAILQ_FOREACH(change, &e->changes, next)
        if (!change->put)
            change->was_live =
                index_kill(&e->apply.c->index, change->entry.kind, change->entry.repo,
                           change->entry.image, change->entry.ref);
}

void effects_take_back(struct effects *e)
{
    struct change *change;

    STAILQ_FOREACH(change, &e->changes, next)
        if (!change->put && change->was_live)
            index_revive(&e->apply.c->index, change->entry.kind, change->entry.repo,
                         change->entry.image, change->entry.ref);
}

/* In their order; what goes after it came within one turn is hidden once more. */
int effects_show(struct effects *e)
{
    struct index_writer *index = &e->apply.c->index;
    struct change *change;

    STAILQ_FOREACH(change, &e->changes, next) {
        const struct apply_entry *entry = &change->entry;
        int err = 0;

        if (change->put)
            err = index_put(index, entry->kind, entry->repo, entry->image, entry->ref, entry->size,
                            entry->media_type, &change->digest);
        else
            index_kill(index, entry->kind, entry->repo, entry->image, entry->ref);
        if (err != 0)
            return err;
    }
    return 0;
}

static void count_add(struct catalog_count *to, const struct catalog_count *by)
{
    to->images += by->images;
    to->tags += by->tags;
    to->manifests += by->manifests;
    to->blobs += by->blobs;
    to->bytes += by->bytes;
}

static void healed_tell(const struct effects *e)
{
    char text[DIGEST_TEXT_MAX];
    struct healed *healed;

    STAILQ_FOREACH(healed, &e->healed, next)
        log_notice("the bytes of a damaged blob are right again: it is served",
                   "store=%s digest=%s", healed->store, digest_text(&healed->digest, text));
}

void effects_take_over(struct effects *e)
{
    struct catalog *c = e->apply.c;
    struct unowned *u;

    for (size_t i = 0; i < c->conf->repo_count; i++) {
        count_add(&c->counts[i], &e->apply.counts[i]);
        if (c->conf->repos[i].kind == CONF_PROXY && e->apply.counts[i].bytes > 0)
            evict_added(c->evict, i, (uint64_t)e->apply.counts[i].bytes);
    }
    STAILQ_FOREACH(u, &e->unowned, next) {
        struct held_unowned *held = held_unowned_find(c->held, u->repo);

        if (held)
            count_add(&held->count, &u->count);
    }
    for (size_t i = 0; i < c->conf->store_count; i++) {
        c->store_bytes[i] += e->apply.store_bytes[i];
        c->damaged_count[i] += (uint64_t)e->apply.damaged[i];
    }
    healed_tell(e);
    publish_stores(c);
}
