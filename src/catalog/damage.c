/*
 * damage.c - blobs whose bytes have changed: hidden while they are, shown again
 * when somebody pushed them anew.
 *
 * Runs in the catalog inside a turn (turn.h). The mark is a record of its own,
 * so that back-references stay true and healing needs no search. A crash leaves the mark and the
 * file in its place, which the next read finds, or neither.
 */
#include "base/log.h"
#include "catalog/scrub.h"
#include "catalog/turn.h"
#include "meta/records.h"

#include <string.h>

bool damage_known(struct catalog *c, const char *store, const struct digest *digest)
{
    return meta_has(c->db, meta_damage(store, digest));
}

/* Calls for each of them. */
static int each(struct catalog *c, struct meta_key prefix,
                int (*call)(struct catalog *c, const struct meta_key *key))
{
    struct meta_walk *walk = meta_walk_new(c->db, prefix, NULL);
    struct meta_key key;
    int err = 0, walk_err;

    while (err == 0 && meta_walk_next(walk, &key))
        err = call(c, &key);
    walk_err = meta_walk_end(&walk);
    return err != 0 || walk_err == ERR_DAMAGED ? err : walk_err;
}

static int each_tag(struct catalog *c, const struct meta_key *holder,
                    int (*call)(struct catalog *c, const struct meta_key *tag_on))
{
    return each(c, meta_at(META_TAG_ON, holder->repo, holder->image, &holder->digest), call);
}

static int tag_hide(struct catalog *c, const struct meta_key *tag_on)
{
    turn_retract(c->turn, INDEX_TAG, tag_on->repo, tag_on->image, tag_on->tag);
    return 0;
}

static int holder_hide(struct catalog *c, const struct meta_key *holder)
{
    bool manifest = holder->holds == META_MANIFEST;
    char text[DIGEST_TEXT_MAX];

    turn_retract(c->turn, manifest ? INDEX_MANIFEST : INDEX_BLOB, holder->repo, holder->image,
                 digest_text(&holder->digest, text));
    return manifest ? each_tag(c, holder, tag_hide) : 0;
}

void damage_note(struct catalog *c, size_t store, const struct digest *digest)
{
    const char *key = c->conf->stores[store].key;

    meta_put_key(c->db, meta_damage(key, digest));
    if (each(c, meta_holders(key, digest), holder_hide) != 0)
        log_warn("cannot find all who hold a damaged blob", NULL); /* the turn fails, too */
}

static int tag_show(struct catalog *c, const struct meta_key *tag_on)
{
    struct record_tag record;
    struct str value = {0};
    int err =
        meta_tag_get(c->db, meta_tag(tag_on->repo, tag_on->image, tag_on->tag), &value, &record);

    if (err == 0)
        turn_publish(c->turn, INDEX_TAG, tag_on->repo, tag_on->image, tag_on->tag, record.size,
                     record.media_type, &record.digest);
    str_free(&value);
    return err;
}

static int manifest_show(struct catalog *c, const struct meta_key *holder)
{
    const struct meta_key key =
        meta_at(META_MANIFEST, holder->repo, holder->image, &holder->digest);
    char text[DIGEST_TEXT_MAX];
    struct str value = {0};
    const char *media_type;
    uint64_t size;
    int err = meta_manifest_peek(c->db, key, &value, &size, &media_type);

    if (err == 0)
        turn_publish(c->turn, INDEX_MANIFEST, holder->repo, holder->image,
                     digest_text(&holder->digest, text), size, media_type, &holder->digest);
    str_free(&value);
    return err != 0 ? err : each_tag(c, holder, tag_show);
}

static int holder_show(struct catalog *c, const struct meta_key *holder)
{
    char text[DIGEST_TEXT_MAX];
    struct record_blob blob;
    int err;

    if (holder->holds == META_MANIFEST)
        return manifest_show(c, holder);
    err = meta_blob_get(c->db, meta_at(META_LINK, holder->repo, holder->image, &holder->digest),
                        &blob);
    if (err == 0)
        turn_publish(c->turn, INDEX_BLOB, holder->repo, holder->image,
                     digest_text(&holder->digest, text), blob.size, NULL, NULL);
    return err;
}

int damage_heal(struct catalog *c, size_t store, const struct digest *digest)
{
    const char *key = c->conf->stores[store].key;
    char text[DIGEST_TEXT_MAX];

    if (!damage_known(c, key, digest))
        return 0;
    meta_delete(c->db, meta_damage(key, digest));
    if (c->damaged_count[store] > 0)
        c->damaged_count[store]--;
    log_notice("the bytes of a damaged blob are right again: it is served", "store=%s digest=%s",
               c->conf->stores[store].name, digest_text(digest, text));
    return each(c, meta_holders(key, digest), holder_show);
}
