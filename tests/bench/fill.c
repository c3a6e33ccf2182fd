/*
 * fill.c - a large catalog for measuring starts: BLOBS blobs and TAGS tags as records
 * without files, in the database of a daemon that does not run.
 *
 *   fill DATABASE REPOSITORY STORE BLOBS TAGS
 *
 * The records are those of pushes (meta/key.h): a blob, its link in an image and
 * who keeps it, in a thousand images; tags of image bench/tags.
 */
#include "client.h"
#include "filled.h"
#include "meta/db.h"
#include "meta/records.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH 20000

static void commit(struct db *db)
{
    if (!db_batch_empty(db) && db_batch_commit(db) != 0)
        client_die("the database cannot be written");
}

static void put_blob(struct db *db, const char *repo, const char *store, size_t n)
{
    struct digest digest = filled_digest('b', n);
    char image[32];

    filled_image(n, image);
    meta_blob_put(db, meta_blob(store, &digest), 4096, 1);
    meta_blob_put(db, meta_at(META_LINK, repo, image, &digest), 4096, 1);
    meta_put_key(db, meta_holder(store, &digest, META_LINK, repo, image));
}

static void put_tag(struct db *db, const char *repo, size_t n)
{
    const struct record_tag record = {.digest = filled_digest('m', 0),
                                      .size = 512,
                                      .media_type = "application/vnd.oci.image.manifest.v1+json",
                                      .time = 1};
    char tag[32];

    snprintf(tag, sizeof(tag), "t%zu", n);
    meta_tag_put(db, meta_tag(repo, FILLED_TAGGED, tag), &record, NULL);
}

static void put_image(struct db *db, const char *repo, const char *image)
{
    meta_blob_put(db, meta_image(repo, image), 0, 1);
}

int main(int argc, char **argv)
{
    struct db *db;
    size_t blobs, tags;

    if (argc != 6)
        client_die("usage: fill DATABASE REPOSITORY STORE BLOBS TAGS");
    blobs = strtoul(argv[4], NULL, 10);
    tags = strtoul(argv[5], NULL, 10);
    if (db_open(argv[1], KV_MAKE, &db) != 0)
        client_die("%s cannot be opened", argv[1]);
    put_image(db, argv[2], FILLED_TAGGED);
    for (size_t i = 0; i < FILLED_IMAGES; i++) {
        char image[32];

        filled_image(i, image);
        put_image(db, argv[2], image);
    }
    for (size_t i = 0; i < blobs || i < tags; i++) {
        if (i < blobs)
            put_blob(db, argv[2], argv[3], i);
        if (i < tags)
            put_tag(db, argv[2], i);
        if (i % BATCH == BATCH - 1)
            commit(db);
    }
    commit(db);
    db_close(&db);
    return 0;
}
