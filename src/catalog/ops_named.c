/*
 * ops_named.c - what manifests that stay here name, a delete does not take away.
 *
 * Runs in the catalog inside a turn (turn.h), as part of deletes. They see what came before them in
 * their turn: a parent that was pushed holds its children, one that was deleted holds nothing.
 * Owns nothing, changes nothing.
 */
#include "catalog/ops.h"

#include "meta/records.h"

#include <string.h>

/* Does this parent need what is deleted? A child of an index is a manifest, or a blob
 * where there is no manifest; an image needs its config and layers as blobs. */
static bool parent_needs(const struct conf_repo *repo, bool index, bool manifest, bool other_stays)
{
    if (index)
        return repo->index_children_strict && (manifest || !other_stays);
    return !manifest;
}

/* By its record, which may be a long one. NOT_FOUND: nobody stands behind the note. */
static int parent_read(struct catalog *c, const struct push_target *t, const struct digest *parent,
                       struct str *value, bool *index_r)
{
    const char *type = "";
    uint64_t size;
    int err = meta_manifest_peek(c->db, meta_at(META_MANIFEST, t->repo, t->image, parent), value,
                                 &size, &type);

    *index_r = err == 0 && manifest_type_is_index(type);
    return err;
}

int op_named(struct catalog *c, size_t repo_place, const struct push_target *t, enum meta_kind kind,
             struct digest *parent_r)
{
    const struct conf_repo *repo = &c->conf->repos[repo_place];
    bool manifest = kind == META_MANIFEST, other_stays;
    enum meta_kind other = manifest ? META_LINK : META_MANIFEST;
    struct str value = {0};
    struct meta_walk *walk;
    struct meta_key key;
    int err, walk_err;

    if (repo->delete_referenced || (manifest && !repo->index_children_strict))
        return 0;
    err = meta_find(c->db, meta_at(kind, t->repo, t->image, &t->digest));
    if (err != 0)
        return err;
    err = meta_find(c->db, meta_at(other, t->repo, t->image, &t->digest));
    if (err != 0 && err != ERR_NOT_FOUND)
        return err;
    other_stays = err == 0;
    err = 0;
    walk = meta_walk_new(c->db, meta_at(META_PARENT, t->repo, t->image, &t->digest), NULL);
    while (err == 0 && meta_walk_next(walk, &key)) {
        size_t note_len;
        const char *note = meta_walk_value(walk, &note_len);
        bool index;

        if (record_parent_decode(note, note_len, &index) == 0 &&
            !parent_needs(repo, index, manifest, other_stays))
            continue;
        *parent_r = key.by;
        err = parent_read(c, t, parent_r, &value, &index);
        if (err == ERR_NOT_FOUND)
            err = 0; /* a name nobody stands behind holds nothing */
        else if (err == 0 && parent_needs(repo, index, manifest, other_stays))
            err = ERR_CONFLICT;
    }
    walk_err = meta_walk_end_whole(&walk);
    str_free(&value);
    return err != 0 ? err : walk_err;
}

void op_answer_named(struct msg_writer *answer, const struct digest *parent)
{
    reply_err_put(answer, ERR_CONFLICT);
    push_named_put(answer, parent);
}
