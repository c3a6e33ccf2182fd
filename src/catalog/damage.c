/*
 * damage.c - blobs whose bytes have changed: hidden while they are, shown again
 * when somebody pushed them anew.
 *
 * Runs in the catalog inside a turn (turn.h). The mark is a key of its own (D),
 * so that back-references stay true and healing needs no search. A crash leaves the mark and the
 * file in its place, which the next read finds, or neither.
 */
#include "base/log.h"
#include "catalog/scrub.h"
#include "catalog/turn.h"
#include "meta/keys.h"
#include "meta/records.h"

#include <string.h>

bool damage_known(struct catalog *c, const char *store, const struct digest *digest)
{
    struct key k;

    key_damage(&k, store, digest);
    return db_get(c->db, k.data, k.len, NULL) == 0;
}

bool damage_next(struct db *db, struct key *mark)
{
    struct db_walk *walk = db_walk_new(db, "D", 1, mark->len > 0 ? mark->data : NULL, mark->len);
    bool found = false;

    for (; db_walk_valid(walk) && !found; db_walk_next(walk)) {
        size_t len;
        const char *key = db_walk_key(walk, &len);

        if (len > sizeof(mark->data) || (len == mark->len && memcmp(key, mark->data, len) == 0))
            continue;
        memcpy(mark->data, key, len);
        mark->len = len;
        found = true;
    }
    return db_walk_free(&walk) == 0 && found;
}

struct holder {
    char kind;
    const char *repo, *image;
};

/* Calls for each image that holds the blob. */
static int each_holder(struct catalog *c, size_t store, const struct digest *digest,
                       int (*call)(struct catalog *c, const struct holder *holder,
                                   const struct digest *digest))
{
    struct key prefix;
    struct db_walk *walk;
    int err = 0, walk_err;

    key_holders(&prefix, c->conf->stores[store].key, digest);
    for (walk = db_walk_new(c->db, prefix.data, prefix.len, NULL, 0);
         db_walk_valid(walk) && err == 0; db_walk_next(walk)) {
        struct key_reader r;
        struct holder holder;
        size_t len;
        const char *key = db_walk_key(walk, &len);

        if (db_get(c->db, key, len, NULL) != 0)
            continue; /* this turn takes it away */
        key_reader_init(&r, key + prefix.len, len - prefix.len);
        holder.kind = key_get_char(&r);
        holder.repo = key_get_str(&r);
        holder.image = key_get_str(&r);
        if (key_end(&r) == 0)
            err = call(c, &holder, digest);
    }
    walk_err = db_walk_free(&walk);
    return err != 0 ? err : walk_err;
}

/* Calls for each tag on a manifest. */
static int each_tag(struct catalog *c, const struct holder *holder, const struct digest *digest,
                    int (*call)(struct catalog *c, const struct holder *holder, const char *tag))
{
    struct key prefix;
    struct db_walk *walk;
    int err = 0, walk_err;

    key_image(&prefix, 'G', holder->repo, holder->image);
    key_digest(&prefix, digest);
    for (walk = db_walk_new(c->db, prefix.data, prefix.len, NULL, 0);
         db_walk_valid(walk) && err == 0; db_walk_next(walk)) {
        struct key_reader r;
        size_t len;
        const char *key = db_walk_key(walk, &len), *tag;

        key_reader_init(&r, key + prefix.len, len - prefix.len);
        tag = key_get_str(&r);
        if (key_end(&r) == 0)
            err = call(c, holder, tag);
    }
    walk_err = db_walk_free(&walk);
    return err != 0 ? err : walk_err;
}

static int tag_hide(struct catalog *c, const struct holder *holder, const char *tag)
{
    turn_retract(c->turn, INDEX_TAG, holder->repo, holder->image, tag);
    return 0;
}

static int holder_hide(struct catalog *c, const struct holder *holder, const struct digest *digest)
{
    char text[DIGEST_TEXT_MAX];

    turn_retract(c->turn, holder->kind == 'M' ? INDEX_MANIFEST : INDEX_BLOB, holder->repo,
                 holder->image, digest_text(digest, text));
    return holder->kind == 'M' ? each_tag(c, holder, digest, tag_hide) : 0;
}

void damage_note(struct catalog *c, size_t store, const struct digest *digest)
{
    struct key k;

    key_damage(&k, c->conf->stores[store].key, digest);
    db_put(c->db, k.data, k.len, "", 0);
    if (each_holder(c, store, digest, holder_hide) != 0)
        log_warn("cannot find all who hold a damaged blob", NULL); /* the turn fails, too */
}

static int tag_show(struct catalog *c, const struct holder *holder, const char *tag)
{
    struct record_tag record;
    struct str value = {0};
    struct key k;
    int err;

    key_image(&k, 'T', holder->repo, holder->image);
    key_str(&k, tag);
    err = db_get(c->db, k.data, k.len, &value);
    if (err == 0)
        err = record_tag_decode(value.data, value.len, &record);
    if (err == 0)
        turn_publish(c->turn, INDEX_TAG, holder->repo, holder->image, tag, record.size,
                     record.media_type, &record.digest);
    str_free(&value);
    return err;
}

static int holder_show(struct catalog *c, const struct holder *holder, const struct digest *digest)
{
    const char *media_type = NULL;
    char text[DIGEST_TEXT_MAX];
    struct record_blob blob;
    struct str value = {0};
    uint64_t size = 0;
    struct key k;
    int err;

    key_image(&k, holder->kind, holder->repo, holder->image);
    key_digest(&k, digest);
    err = db_get(c->db, k.data, k.len, &value);
    if (err == 0 && holder->kind == 'M') {
        err = record_manifest_peek(value.data, value.len, &size, &media_type);
    } else if (err == 0) {
        err = record_blob_decode(value.data, value.len, &blob);
        size = blob.size;
    }
    if (err == 0)
        turn_publish(c->turn, holder->kind == 'M' ? INDEX_MANIFEST : INDEX_BLOB, holder->repo,
                     holder->image, digest_text(digest, text), size, media_type,
                     holder->kind == 'M' ? digest : NULL);
    str_free(&value);
    if (err == 0 && holder->kind == 'M')
        err = each_tag(c, holder, digest, tag_show);
    return err;
}

int damage_heal(struct catalog *c, size_t store, const struct digest *digest)
{
    struct key k;
    char text[DIGEST_TEXT_MAX];

    if (!damage_known(c, c->conf->stores[store].key, digest))
        return 0;
    key_damage(&k, c->conf->stores[store].key, digest);
    db_delete(c->db, k.data, k.len);
    if (c->damaged_count[store] > 0)
        c->damaged_count[store]--;
    log_notice("the bytes of a damaged blob are right again: it is served", "store=%s digest=%s",
               c->conf->stores[store].name, digest_text(digest, text));
    return each_holder(c, store, digest, holder_show);
}
