/*
 * fill.c - a large catalog for measuring starts: BLOBS blobs and TAGS tags as records
 * without files, in the database of a daemon that does not run.
 *
 *   fill DATABASE REPOSITORY STORE BLOBS TAGS
 *
 * The records are those of pushes (catalog/keys.h): a blob, its link in an image and
 * who keeps it, in a thousand images; tags of image bench/tags.
 */
#include "client.h"
#include "filled.h"
#include "meta/db.h"
#include "meta/keys.h"
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

static void put(struct db *db, const struct key *k, const struct str *value)
{
    db_put(db, k->data, k->len, value->data ? value->data : "", value->len);
}

static void put_blob(struct db *db, const char *repo, const char *store, size_t n)
{
    struct record_blob record = {.size = 4096, .time = 1};
    struct digest digest = filled_digest('b', n);
    struct str value = {0}, none = {0};
    char image[32];
    struct key k;

    filled_image(n, image);
    record_blob_encode(&value, &record);
    key_blob(&k, store, &digest);
    put(db, &k, &value);
    key_image(&k, 'L', repo, image);
    key_digest(&k, &digest);
    put(db, &k, &value);
    key_holder(&k, store, &digest, 'L', repo, image);
    put(db, &k, &none);
    str_free(&value);
}

static void put_tag(struct db *db, const char *repo, size_t n)
{
    struct digest digest = filled_digest('m', 0);
    struct record_tag record = {.digest = digest,
                                .size = 512,
                                .media_type = "application/vnd.oci.image.manifest.v1+json",
                                .time = 1};
    struct str value = {0}, none = {0};
    char tag[32];
    struct key k;

    snprintf(tag, sizeof(tag), "t%zu", n);
    record_tag_encode(&value, &record);
    key_image(&k, 'T', repo, FILLED_TAGGED);
    key_str(&k, tag);
    put(db, &k, &value);
    key_image(&k, 'G', repo, FILLED_TAGGED);
    key_digest(&k, &digest);
    key_str(&k, tag);
    put(db, &k, &none);
    str_free(&value);
}

static void put_image(struct db *db, const char *repo, const char *image)
{
    struct record_blob record = {.time = 1};
    struct str value = {0};
    struct key k;

    record_blob_encode(&value, &record);
    key_image(&k, 'I', repo, image);
    put(db, &k, &value);
    str_free(&value);
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
