/*
 * ops_manifest.c - manifests and tags: put and delete.
 *
 * Runs in the catalog inside a turn (turn.h). Manifest, tags and
 * back-references change in one batch or not at all. So a crash leaves all of it or nothing; of a
 * delete that takes several turns, a part of the tags.
 */
#include "catalog/ops.h"

#include "base/log.h"
#include "catalog/damage.h"
#include "meta/records.h"
#include "oci/name.h"

#include <string.h>

static bool question_ok(const struct push_manifest *p)
{
    if (!op_target_ok(&p->target) || p->target.digest.alg == 0 || !p->manifest.media_type ||
        !manifest_type_known(p->manifest.media_type))
        return false;
    for (uint32_t i = 0; i < p->tag_count; i++)
        if (!name_tag_ok(p->tags[i], strlen(p->tags[i])))
            return false;
    return true;
}

/* May this tag be made to point to this digest? Answers EXISTS when policy says no. */
static int tag_policy(struct catalog *c, const struct conf_repo *repo,
                      const struct push_manifest *p, const char *tag)
{
    struct str value = {0};
    struct record_tag record;
    int err = meta_tag_get(c->db, meta_tag(p->target.repo, p->target.image, tag), &value, &record);

    if (err == 0 && !digest_equal(&record.digest, &p->target.digest) &&
        !conf_tag_may_move(repo, tag))
        err = ERR_EXISTS;
    str_free(&value);
    return err == ERR_NOT_FOUND ? 0 : err;
}

static int condition_check(struct catalog *c, const struct push_manifest *p)
{
    const struct push_target *t = &p->target;
    struct str value = {0};
    struct record_tag record = {0};
    bool here, matches;
    int err;

    if (p->condition == PUSH_ALWAYS)
        return 0;
    if (p->tag_count > 0) {
        err = meta_tag_get(c->db, meta_tag(t->repo, t->image, p->tags[0]), &value, &record);
        matches = err == 0 && digest_equal(&record.digest, &p->condition_digest);
    } else {
        err = meta_find(c->db, meta_at(META_MANIFEST, t->repo, t->image, &t->digest));
        matches = err == 0 && digest_equal(&t->digest, &p->condition_digest);
    }
    str_free(&value);
    if (err != 0 && err != ERR_NOT_FOUND)
        return err;
    here = err == 0;
    if (p->condition == PUSH_IF_ABSENT)
        return here ? ERR_CONFLICT : 0;
    return matches ? 0 : ERR_CONFLICT;
}

/* The size of what the image has of that digest. */
static int held_size(struct catalog *c, const struct push_target *t, const struct manifest_ref *ref,
                     uint64_t *size_r)
{
    struct record_blob link;
    const char *media_type;
    struct str value = {0};
    int err = meta_blob_get(c->db, meta_at(META_LINK, t->repo, t->image, &ref->digest), &link);

    *size_r = link.size;
    if (err == ERR_NOT_FOUND && ref->kind == MANIFEST_REF_CHILD) {
        err = meta_manifest_peek(c->db, meta_at(META_MANIFEST, t->repo, t->image, &ref->digest),
                                 &value, size_r, &media_type);
        str_free(&value);
    }
    return err;
}

/* Collects the digests that are named but not here: NOT_FOUND. MISMATCH: one is here with another
 * size than named. */
static int references_check(struct catalog *c, const struct conf_repo *repo,
                            const struct push_manifest *p, struct push_missing *missing,
                            struct push_size *wrong_r)
{
    missing->count = 0;
    if (repo->kind == CONF_PROXY)
        return 0; /* fetched when somebody asks for it */
    for (size_t i = 0; i < p->manifest.ref_count && missing->count < PUSH_MISSING_MAX; i++) {
        const struct manifest_ref *ref = &p->manifest.refs[i];
        bool needed =
            !ref->exempt && (ref->kind != MANIFEST_REF_CHILD || repo->index_children_strict);
        uint64_t size;
        int err = held_size(c, &p->target, ref, &size);

        if (err == 0 && size != ref->size) {
            *wrong_r = (struct push_size){ref->digest, ref->size, size};
            return ERR_MISMATCH;
        }
        if (err != 0 && err != ERR_NOT_FOUND)
            return err;
        if (err != 0 && needed)
            missing->digests[missing->count++] = ref->digest;
    }
    return missing->count > 0 ? ERR_NOT_FOUND : 0;
}

/* The media type of a digest does not change while the image holds it: what was pulled as one type
 * a minute ago would not be known by it any more, also under a tag that must not move. Bytes that
 * name their type are always pushed as it, so this is about those that do not. *here_r: it is held,
 * and its record is good. INVALID: as *held_r. What a proxy keeps stays as it was, whatever its
 * remote calls it now. */
static int type_check(struct catalog *c, const struct conf_repo *repo, struct push_manifest *p,
                      bool *here_r, const char **held_r)
{
    const struct push_target *t = &p->target;
    struct str value = {0};
    const char *held;
    uint64_t size;
    int err = meta_manifest_peek(c->db, meta_at(META_MANIFEST, t->repo, t->image, &t->digest),
                                 &value, &size, &held);

    *here_r = err == 0;
    if (err == 0 && strcmp(held, p->manifest.media_type) != 0) {
        *held_r = mem_arena_strdup(turn_arena(c->turn), held);
        if (repo->kind == CONF_PROXY)
            p->manifest.media_type = *held_r;
        else
            err = ERR_INVALID;
    }
    str_free(&value);
    return err == ERR_NOT_FOUND || err == ERR_DAMAGED ? 0 : err;
}

/* `here`: its record stays as it is. */
static int manifest_store(struct catalog *c, size_t place, const struct push_manifest *p, bool here)
{
    const struct push_target *t = &p->target;
    const struct record_manifest record = {
        .size = t->size, .time = op_now(), .contents = p->manifest};
    int err = op_blob_hold(c, place, t->repo, t->image, &t->digest, t->size, META_MANIFEST);

    if (err == 0 && !here)
        meta_manifest_put(c->db, meta_at(META_MANIFEST, t->repo, t->image, &t->digest), &record);
    return err;
}

static int tag_move(struct catalog *c, size_t place, const struct push_manifest *p, const char *tag)
{
    const struct push_target *t = &p->target;
    const struct meta_key key = meta_tag(t->repo, t->image, tag);
    const struct record_tag record = {.digest = t->digest,
                                      .size = t->size,
                                      .time = op_now(),
                                      .media_type = p->manifest.media_type};
    struct record_tag old;
    struct str value = {0};
    int err = meta_tag_get(c->db, key, &value, &old);
    bool is_new = err == ERR_NOT_FOUND;
    /* It points there already, and nobody asks since when. */
    bool stays = err == 0 && digest_equal(&old.digest, &t->digest) &&
                 strcmp(old.media_type, record.media_type) == 0 &&
                 c->conf->repos[place].kind != CONF_PROXY;

    if (err == 0 && !stays) {
        meta_tag_put(c->db, key, &record, &old.digest);
    } else if (is_new) {
        meta_tag_put(c->db, key, &record, NULL);
    }
    str_free(&value);
    return is_new ? 0 : err;
}

static int manifest_apply(struct catalog *c, size_t place, const struct push_manifest *p, bool here)
{
    int err = manifest_store(c, place, p, here);

    for (uint32_t i = 0; err == 0 && i < p->tag_count; i++)
        err = tag_move(c, place, p, p->tags[i]);
    return err;
}

void op_manifest_put(struct catalog *c, struct msg_reader *question, struct msg_writer *answer)
{
    struct push_manifest p;
    const struct conf_repo *repo = NULL;
    struct push_missing missing = {0};
    struct push_size wrong = {0};
    const char *refused = "", *held = "";
    bool here = false;
    uint64_t size = 0;
    size_t place = 0;
    int err;

    push_manifest_get(question, turn_arena(c->turn), &p);
    err = msg_end(question);
    if (err == 0 && !question_ok(&p))
        err = ERR_PROTOCOL;
    if (err == 0)
        err = catalog_repo(c, p.target.repo, &place) == 0 ? 0 : ERR_UNAVAILABLE;
    if (err == 0) {
        repo = &c->conf->repos[place];
        if (repo->redeploy == CONF_REDEPLOY_READ_ONLY)
            err = ERR_DENIED;
    }
    for (uint32_t i = 0; err == 0 && i < p.tag_count; i++) {
        err = tag_policy(c, repo, &p, p.tags[i]);
        if (err == ERR_EXISTS)
            refused = p.tags[i];
    }
    if (err == 0)
        err = condition_check(c, &p);
    if (err == 0)
        err = type_check(c, repo, &p, &here, &held);
    if (err == 0)
        err = references_check(c, repo, &p, &missing, &wrong);
    if (err == 0) {
        err = op_blob_file(c, place, &p.target.digest, &size);
        if (err != 0 || size != p.target.size)
            err = ERR_DAMAGED;
    }
    if (err == 0)
        damage_heal(c, catalog_store_of(c, place), &p.target.digest);
    if (err == 0)
        err = manifest_apply(c, place, &p, here);

    reply_err_put(answer, err);
    if (err == ERR_EXISTS)
        push_redeployed_put(answer, refused);
    if (err == ERR_NOT_FOUND)
        push_missing_put(answer, &missing);
    if (err == ERR_MISMATCH)
        push_size_put(answer, &wrong);
    if (err == ERR_INVALID)
        push_held_type_put(answer, held);
}

/* Removes tags that point to the manifest, so many at most. *more_r: not all. */
static int tags_remove(struct catalog *c, const struct push_target *t, size_t most, bool *more_r)
{
    struct meta_walk *walk =
        meta_walk_new(c->db, meta_at(META_TAG_ON, t->repo, t->image, &t->digest), NULL);
    struct meta_key key;

    for (; (*more_r = meta_walk_next(walk, &key)) && most > 0; most--)
        meta_tag_delete(c->db, meta_tag(t->repo, t->image, key.tag), &t->digest);
    return meta_walk_end_whole(&walk);
}

/* *more_r: it stays, with tags that are left; so many of them have gone. */
static int remove_slice(struct catalog *c, size_t place, const struct push_target *t, size_t tags,
                        bool *more_r)
{
    const struct meta_key key = meta_at(META_MANIFEST, t->repo, t->image, &t->digest);
    struct record_manifest record;
    struct str value = {0};
    int err = meta_manifest_get(c->db, key, turn_arena(c->turn), &value, &record);

    *more_r = false;
    if (err == 0)
        err = tags_remove(c, t, tags, more_r);
    if (err != 0 || *more_r)
        goto out;
    meta_manifest_delete(c->db, key, &record);
    meta_delete(c->db, meta_holder(c->conf->repos[place].store->key, &t->digest, META_MANIFEST,
                                   t->repo, t->image));
    for (size_t i = 0; i < record.contents.ref_count; i++)
        op_suspect(c, t->repo, t->image, &record.contents.refs[i].digest);
    op_suspect(c, t->repo, t->image, &t->digest);
    err = op_image_leave(c, t->repo, t->image);
out:
    str_free(&value);
    return err;
}

int op_manifest_remove(struct catalog *c, size_t place, const struct push_target *t)
{
    bool more;

    return remove_slice(c, place, t, SIZE_MAX, &more);
}

void op_manifest_delete(struct catalog *c, struct msg_reader *question, struct msg_writer *answer)
{
    struct push_target t;
    struct digest parent;
    size_t place = 0;
    bool more = false;
    int err = op_target_get_for_delete(c, question, &t, &place);

    if (err == 0)
        err = op_named(c, place, &t, META_MANIFEST, &parent);
    if (err == ERR_CONFLICT) {
        op_answer_named(answer, &parent);
        return;
    }
    if (err == 0)
        err = remove_slice(c, place, &t, SLICE_KEYS, &more);
    if (more)
        turn_again(c->turn);
    reply_err_put(answer, err);
}

void op_tag_delete(struct catalog *c, struct msg_reader *question, struct msg_writer *answer)
{
    struct push_tag q;
    struct push_target t = {0};
    struct record_tag record;
    struct str value = {0};
    size_t place = 0;
    int err;

    push_tag_get(question, &q);
    err = msg_end(question);
    t.repo = q.repo;
    t.image = q.image;
    if (err == 0 && (!op_target_ok(&t) || !name_tag_ok(q.tag, strlen(q.tag))))
        err = ERR_PROTOCOL;
    if (err == 0)
        err = catalog_repo(c, t.repo, &place);
    if (err == 0 && !c->conf->repos[place].delete_allowed)
        err = ERR_UNSUPPORTED;
    if (err == 0)
        err = meta_tag_get(c->db, meta_tag(t.repo, t.image, q.tag), &value, &record);
    if (err == 0)
        meta_tag_delete(c->db, meta_tag(t.repo, t.image, q.tag), &record.digest);
    str_free(&value);
    reply_err_put(answer, err);
}
