/*
 * ops_proxy.c - what the fetcher asks about cached content of proxy repositories.
 *
 * Runs in the catalog inside a turn (turn.h). Content of a proxy is only ever
 * shown to an image that the remote has shown to have it: a manifest of the image
 * names it, or the remote has just said so. A crash leaves all of a question's changes or none.
 */
#include "catalog/ops.h"

#include "catalog/damage.h"
#include "ipc/msg_fetch.h"
#include "meta/records.h"
#include "oci/name.h"

#include <string.h>

static int proxy_place(struct catalog *c, const char *repo, size_t *place_r)
{
    int err = catalog_repo(c, repo, place_r);

    return err == 0 && c->conf->repos[*place_r].kind != CONF_PROXY ? ERR_UNSUPPORTED : err;
}

/* The bytes that lie in the store, whoever brought them. */
static int stored(struct catalog *c, size_t place, struct push_target *t)
{
    const char *store = c->conf->repos[place].store->key;
    struct record_blob record = {0};
    int err = meta_blob_get(c->db, meta_blob(store, &t->digest), &record);

    if (err == 0 && damage_known(c, store, &t->digest))
        err = ERR_NOT_FOUND;
    if (err == 0)
        err = op_blob_file(c, place, &t->digest, &t->size);
    return err == 0 && t->size != record.size ? ERR_NOT_FOUND : err;
}

void op_proxy_link(struct catalog *c, struct msg_reader *question, struct msg_writer *answer)
{
    struct proxy_link q;
    struct push_target *t = &q.target;
    size_t place = 0;
    int err;

    proxy_link_get(question, &q);
    err = msg_end(question);
    if (err == 0 && (!op_target_ok(t) || t->digest.alg == 0))
        err = ERR_PROTOCOL;
    if (err == 0)
        err = proxy_place(c, t->repo, &place);
    /* A manifest of the image names it, or the remote has just said so. */
    if (err == 0 && !q.proven &&
        !meta_any(c->db, meta_at(META_PARENT, t->repo, t->image, &t->digest)))
        err = ERR_NOT_FOUND;
    if (err == 0)
        err = stored(c, place, t);
    if (err == 0)
        err = op_blob_link(c, place, t);
    reply_err_put(answer, err);
    if (err == 0)
        fetch_size_put(answer, t->size);
}

/* TAG_TOUCH, TAG_GONE: the tag, and its record when it stands where the question says. */
static int tag_get(struct catalog *c, struct msg_reader *question, struct push_target *t_r,
                   const char **tag_r, size_t *place_r, struct str *value,
                   struct record_tag *record_r)
{
    struct proxy_tag q;
    int err;

    proxy_tag_get(question, &q);
    err = msg_end(question);
    *t_r = (struct push_target){.repo = q.tag.repo, .image = q.tag.image, .digest = q.digest};
    *tag_r = q.tag.tag;
    if (err == 0 && (!op_target_ok(t_r) || !name_tag_ok(*tag_r, strlen(*tag_r))))
        err = ERR_PROTOCOL;
    if (err == 0)
        err = proxy_place(c, t_r->repo, place_r);
    if (err == 0)
        err = meta_tag_get(c->db, meta_tag(t_r->repo, t_r->image, *tag_r), value, record_r);
    return err == 0 && !digest_equal(&record_r->digest, &t_r->digest) ? ERR_NOT_FOUND : err;
}

void op_tag_touch(struct catalog *c, struct msg_reader *question, struct msg_writer *answer)
{
    struct str value = {0};
    struct record_tag record;
    struct push_target t;
    const char *tag;
    size_t place;
    int err = tag_get(c, question, &t, &tag, &place, &value, &record);

    if (err == 0) {
        record.time = op_now();
        meta_tag_put(c->db, meta_tag(t.repo, t.image, tag), &record, &t.digest);
    }
    str_free(&value);
    reply_err_put(answer, err);
}

void op_tag_gone(struct catalog *c, struct msg_reader *question, struct msg_writer *answer)
{
    struct str value = {0};
    struct record_tag record;
    struct push_target t;
    const char *tag;
    size_t place;
    int err = tag_get(c, question, &t, &tag, &place, &value, &record);

    if (err == 0)
        meta_tag_delete(c->db, meta_tag(t.repo, t.image, tag), &record.digest);
    str_free(&value);
    reply_err_put(answer, err);
}
