/*
 * ops_named.c - what manifests that stay here name, a delete does not take away.
 *
 * Runs in the catalog inside a turn (turn.h), as part of deletes. They see what came before them in
 * their turn: a parent that was pushed holds its children, one that was deleted holds nothing.
 * Owns nothing, changes nothing.
 */
#include "catalog/ops.h"

#include "meta/keys.h"
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
    struct key k;
    const char *type = "";
    uint64_t size;
    int err;

    key_image(&k, 'M', t->repo, t->image);
    key_digest(&k, parent);
    err = db_get(c->db, k.data, k.len, value);
    if (err == 0)
        err = record_manifest_peek(value->data, value->len, &size, &type);
    *index_r = manifest_type_is_index(type);
    return err;
}

int op_named(struct catalog *c, size_t repo_place, const struct push_target *t, char letter,
             struct digest *parent_r)
{
    const struct conf_repo *repo = &c->conf->repos[repo_place];
    bool manifest = letter == 'M', other_stays;
    struct str value = {0};
    struct key k;
    struct db_walk *walk;
    int err, walk_err;

    if (repo->delete_referenced || (manifest && !repo->index_children_strict))
        return 0;
    key_image(&k, letter, t->repo, t->image);
    key_digest(&k, &t->digest);
    err = db_get(c->db, k.data, k.len, NULL);
    if (err != 0)
        return err;
    key_image(&k, manifest ? 'L' : 'M', t->repo, t->image);
    key_digest(&k, &t->digest);
    err = db_get(c->db, k.data, k.len, NULL);
    if (err != 0 && err != ERR_NOT_FOUND)
        return err;
    other_stays = err == 0;
    err = 0;
    key_image(&k, 'K', t->repo, t->image);
    key_digest(&k, &t->digest);
    for (walk = db_walk_new(c->db, k.data, k.len, NULL, 0); db_walk_valid(walk) && err == 0;
         db_walk_next(walk)) {
        struct key_reader r;
        size_t len, note_len;
        const char *key = db_walk_key(walk, &len), *note = db_walk_value(walk, &note_len);
        bool index;

        key_reader_init(&r, key + k.len, len - k.len);
        key_get_digest(&r, parent_r);
        err = key_end(&r);
        if (err == 0 && record_parent_decode(note, note_len, &index) == 0 &&
            !parent_needs(repo, index, manifest, other_stays))
            continue;
        if (err == 0)
            err = parent_read(c, t, parent_r, &value, &index);
        if (err == ERR_NOT_FOUND)
            err = 0; /* a name nobody stands behind holds nothing */
        else if (err == 0 && parent_needs(repo, index, manifest, other_stays))
            err = ERR_CONFLICT;
    }
    walk_err = db_walk_free(&walk);
    str_free(&value);
    return err != 0 ? err : walk_err;
}

void op_answer_named(struct msg_writer *answer, const struct digest *parent)
{
    reply_err_put(answer, ERR_CONFLICT);
    push_named_put(answer, parent);
}
