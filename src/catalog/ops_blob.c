/*
 * ops_blob.c - linking, mounting and unlinking blobs; and what all operations share.
 *
 * Runs in the catalog inside a turn (turn.h): every function here only collects
 * changes, so a crash at any point leaves nothing.
 */
#include "catalog/ops.h"

#include "base/clock.h"
#include "base/log.h"
#include "catalog/damage.h"
#include "meta/records.h"
#include "oci/name.h"

#include <string.h>
#include <time.h>

uint64_t op_now(void)
{
    return clock_wall_s();
}

bool op_target_ok(const struct push_target *t)
{
    return name_image_ok(t->repo, strlen(t->repo)) && name_image_ok(t->image, strlen(t->image));
}

int op_target_get(struct catalog *c, struct msg_reader *question, struct push_target *t_r,
                  size_t *repo_place_r)
{
    int err;

    push_target_get(question, t_r);
    err = msg_end(question);
    if (err == 0 && (!op_target_ok(t_r) || t_r->digest.alg == 0))
        err = ERR_PROTOCOL;
    return err != 0 ? err : catalog_repo(c, t_r->repo, repo_place_r);
}

int op_target_get_for_delete(struct catalog *c, struct msg_reader *question,
                             struct push_target *t_r, size_t *repo_place_r)
{
    int err = op_target_get(c, question, t_r, repo_place_r);

    if (err == 0 && !c->conf->repos[*repo_place_r].delete_allowed)
        err = ERR_UNSUPPORTED;
    return err;
}

int op_image_touch(struct catalog *c, const char *repo, const char *image)
{
    int err = meta_find(c->db, meta_image(repo, image));

    if (err != ERR_NOT_FOUND)
        return err;
    meta_blob_put(c->db, meta_image(repo, image), 0, op_now());
    return 0;
}

int op_image_leave(struct catalog *c, const char *repo, const char *image)
{
    if (meta_any(c->db, meta_of_image(META_MANIFEST, repo, image)) ||
        meta_any(c->db, meta_of_image(META_LINK, repo, image)))
        return db_read_failed(c->db) ? ERR_IO : 0;
    meta_delete(c->db, meta_image(repo, image));
    return 0;
}

void op_suspect(struct catalog *c, const char *repo, const char *image, const struct digest *digest)
{
    meta_put_key(c->db, meta_suspect(op_now(), repo, image, digest));
}

/* A quota, with what came before in this turn. */
static bool fits(struct catalog *c, size_t store, uint64_t size, uint64_t old_size)
{
    uint64_t quota = c->conf->stores[store].quota;
    uint64_t used = (uint64_t)(c->store_bytes[store] + turn_store_bytes(c->turn, store)) - old_size;

    return size <= quota && used <= quota - size;
}

int op_blob_hold(struct catalog *c, size_t repo_place, const char *repo, const char *image,
                 const struct digest *digest, uint64_t size, enum meta_kind holds)
{
    size_t place = catalog_store_of(c, repo_place);
    const struct conf_store *store = &c->conf->stores[place];
    const struct meta_key holder = meta_holder(store->key, digest, holds, repo, image);
    struct record_blob old = {0};
    int err;

    if (c->elsewhere[place]) /* its bytes lie where nobody would find them */
        return ERR_UNAVAILABLE;
    err = meta_blob_get(c->db, meta_blob(store->key, digest), &old);
    if (err != 0 && err != ERR_NOT_FOUND)
        return err;
    if (err == ERR_NOT_FOUND || old.size != size) {
        if (store->quota > 0 && !fits(c, place, size, old.size)) {
            if (c->conf->repos[repo_place].kind == CONF_PROXY && size <= store->quota)
                turn_refused(c->turn, repo_place, size);
            return ERR_QUOTA;
        }
        meta_blob_put(c->db, meta_blob(store->key, digest), size, op_now());
    }
    if (meta_find(c->db, holder) == ERR_NOT_FOUND)
        meta_put_key(c->db, holder);
    return op_image_touch(c, repo, image);
}

int op_blob_file(struct catalog *c, size_t repo_place, const struct digest *digest,
                 uint64_t *size_r)
{
    return turn_file(c->turn, catalog_store_of(c, repo_place), digest, size_r);
}

int op_blob_link(struct catalog *c, size_t repo_place, const struct push_target *t)
{
    const struct meta_key link = meta_at(META_LINK, t->repo, t->image, &t->digest);
    int err = op_blob_hold(c, repo_place, t->repo, t->image, &t->digest, t->size, META_LINK);

    if (err != 0)
        return err;
    /* At once, not when it is durable: a sweep in the same turn must see it. To mark what does not
     * come to be only keeps something longer. */
    recent_mark(c->start->recent, t->repo, t->image, &t->digest, op_now());
    err = meta_find(c->db, link);
    if (err != ERR_NOT_FOUND)
        return err;
    meta_blob_put(c->db, link, t->size, op_now());
    op_suspect(c, t->repo, t->image, &t->digest); /* until a manifest names it */
    return 0;
}

void op_blob_commit(struct catalog *c, struct msg_reader *question, struct msg_writer *answer)
{
    struct push_target t;
    size_t place = 0;
    uint64_t size = 0;
    int err = op_target_get(c, question, &t, &place);

    if (err == 0 && c->conf->repos[place].redeploy == CONF_REDEPLOY_READ_ONLY)
        err = ERR_DENIED;
    if (err == 0) {
        /* The worker put the file there before it asked; if it is gone or short,
         * the record must not come to be. */
        err = op_blob_file(c, place, &t.digest, &size);
        if (err == 0 && size != t.size)
            err = ERR_DAMAGED;
    }
    if (err == 0)
        damage_heal(c, catalog_store_of(c, place), &t.digest);
    if (err == 0)
        err = op_blob_link(c, place, &t);
    reply_err_put(answer, err);
}

/* Any image of an online repository that shares the store and holds the digest. One that is
 * not among the first is not looked for: without a mount the client uploads. */
static int mount_source_anywhere(struct catalog *c, const struct conf_store *store,
                                 const struct digest *digest)
{
    struct meta_key links = meta_holders(store->key, digest), key;
    struct meta_walk *walk;
    size_t looks = 0, place;
    int found = ERR_NOT_FOUND, err;

    links.holds = META_LINK;
    walk = meta_walk_new(c->db, links, NULL);
    for (; found != 0 && looks < SLICE_KEYS && meta_walk_next(walk, &key); looks++)
        if (catalog_repo(c, key.repo, &place) == 0 && c->conf->repos[place].online)
            found = 0;
    err = meta_walk_end(&walk);
    return err != 0 ? err : found;
}

static int mount_source(struct catalog *c, const struct push_mount *m, size_t to_place)
{
    size_t from_place;
    int err;

    if (!*m->from_image)
        return mount_source_anywhere(c, c->conf->repos[to_place].store, &m->to.digest);
    if (!name_image_ok(m->from_image, strlen(m->from_image)))
        return ERR_PROTOCOL;
    err = catalog_repo(c, m->from_repo, &from_place);
    if (err != 0)
        return err;
    if (!c->conf->repos[from_place].online ||
        c->conf->repos[from_place].store != c->conf->repos[to_place].store)
        return ERR_NOT_FOUND;
    return meta_find(c->db, meta_at(META_LINK, m->from_repo, m->from_image, &m->to.digest));
}

void op_blob_mount(struct catalog *c, struct msg_reader *question, struct msg_writer *answer)
{
    struct push_mount m;
    size_t place = 0;
    int err;

    push_mount_get(question, &m);
    err = msg_end(question);
    if (err == 0 && (!op_target_ok(&m.to) || m.to.digest.alg == 0))
        err = ERR_PROTOCOL;
    if (err == 0)
        err = catalog_repo(c, m.to.repo, &place);
    if (err == 0 && c->conf->repos[place].redeploy == CONF_REDEPLOY_READ_ONLY)
        err = ERR_DENIED;
    if (err == 0 && damage_known(c, c->conf->repos[place].store->key, &m.to.digest))
        err = ERR_NOT_FOUND; /* only an upload heals it */
    if (err == 0)
        err = mount_source(c, &m, place);
    if (err == 0) {
        err = op_blob_file(c, place, &m.to.digest, &m.to.size);
        if (err == 0 && c->conf->repos[place].max_blob > 0 &&
            m.to.size > c->conf->repos[place].max_blob)
            err = ERR_NOT_FOUND; /* the client uploads it, and is told about the limit there */
    }
    if (err == 0)
        err = op_blob_link(c, place, &m.to);
    reply_err_put(answer, err);
}

void op_blob_delete(struct catalog *c, struct msg_reader *question, struct msg_writer *answer)
{
    struct push_target t;
    struct record_blob record = {0};
    struct digest parent;
    size_t place = 0;
    int err = op_target_get_for_delete(c, question, &t, &place);

    if (err == 0)
        err = op_named(c, place, &t, META_LINK, &parent);
    if (err == ERR_CONFLICT) {
        op_answer_named(answer, &parent);
        return;
    }
    if (err == 0)
        err = meta_blob_get(c->db, meta_at(META_LINK, t.repo, t.image, &t.digest), &record);
    if (err == 0) {
        meta_delete(c->db, meta_at(META_LINK, t.repo, t.image, &t.digest));
        meta_delete(c->db, meta_holder(c->conf->repos[place].store->key, &t.digest, META_LINK,
                                       t.repo, t.image));
        op_suspect(c, t.repo, t.image, &t.digest);
        err = op_image_leave(c, t.repo, t.image);
    }
    reply_err_put(answer, err);
}
