/* entrepotctl fsck over databases that are broken on purpose, one record at a time. */
#include "check.h"
#include "check_store.h"

#include "meta/identity.h"
#include "meta/records.h"
#include "meta/witness.h"
#include "store/journal.h"
#include "tools/ctl.h"
#include "tools/fsck.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define REPO  "hosted"
#define IMAGE "team/image"
#define TYPE  "application/vnd.oci.image.manifest.v1+json"

static char top[32];
static char conf_file[64], db_path[64];
static struct digest layer, manifest, subject;

static struct db *db;

static void open_db(void)
{
    assert_int_equal(db_open(db_path, KV_MAKE, &db), 0);
}

static void close_db(void)
{
    assert_int_equal(db_batch_commit(db), 0);
    db_close(&db);
}

static void put(struct meta_key key, const struct str *value)
{
    meta_put(db, key, value ? value : &(struct str){0});
}

static int fsck(bool repair)
{
    const struct ctl ctl = {.conf_file = conf_file};
    char word[] = "--repair", *args[] = {word};

    return ctl_fsck(&ctl, repair ? 1 : 0, args);
}

static void put_blob(const struct store *store, const void *data, size_t len,
                     struct digest *digest_r)
{
    digest_of(DIGEST_SHA256, data, len, digest_r);
    assert_int_equal(store_blob_write(store, digest_r, data, len), 0);
    meta_blob_put(db, meta_blob("main", digest_r), len, 1);
}

/* What the image has, by letter (meta/key.h), 'u' the manifest's holder: each can be left out or
 * added. */
static struct meta_key key_of(char letter)
{
    switch (letter) {
    case 'L':
        return meta_at(META_LINK, REPO, IMAGE, &layer);
    case 'M':
        return meta_at(META_MANIFEST, REPO, IMAGE, &manifest);
    case 'T':
        return meta_tag(REPO, IMAGE, "one");
    case 'G':
        return meta_tag_on(REPO, IMAGE, &manifest, "one");
    case 'K':
        return meta_by(META_PARENT, REPO, IMAGE, &layer, &manifest);
    case 'R':
        return meta_by(META_REFERRER, REPO, IMAGE, &subject, &manifest);
    case 'U':
        return meta_holder("main", &layer, META_LINK, REPO, IMAGE);
    case 'u':
        return meta_holder("main", &manifest, META_MANIFEST, REPO, IMAGE);
    case 'D':
        return meta_damage("main", &subject);
    default:
        return meta_image(REPO, IMAGE);
    }
}

static void put_records(void)
{
    struct manifest_ref ref = {.digest = layer};
    struct record_manifest record = {
        .size = 8, .time = 1, .contents = {.media_type = TYPE, .subject = subject}};
    struct record_tag tag = {.digest = manifest, .size = 8, .time = 1, .media_type = TYPE};
    struct str value = {0};

    record.contents.refs = &ref;
    record.contents.ref_count = 1;
    record_manifest_encode(&value, &record);
    put(key_of('M'), &value);
    record_tag_encode(&value, &tag);
    put(key_of('T'), &value);
    meta_blob_put(db, key_of('L'), 5, 1);
    meta_blob_put(db, key_of('I'), 5, 1);
    for (const char *letter = "GKRUu"; *letter; letter++)
        put(key_of(*letter), NULL);
    str_free(&value);
}

static int make(void **state)
{
    struct store *store;
    char path[64];
    FILE *f;

    (void)state;
    strcpy(top, "/tmp/entrepot-fsck-XXXXXX");
    assert_non_null(mkdtemp(top));
    snprintf(conf_file, sizeof(conf_file), "%s/conf", top);
    snprintf(db_path, sizeof(db_path), "%s/catalog", top);
    f = fopen(conf_file, "w");
    assert_non_null(f);
    fprintf(f,
            "data_dir = \"%s\"\nrun_dir = \"%s/run\"\nhosted " REPO
            " { }\nconnector \"127.0.0.1:1\" { repository = " REPO " }\n",
            top, top);
    fclose(f);
    snprintf(path, sizeof(path), "%s/lock", top);
    close(open(path, O_WRONLY | O_CREAT, 0600));
    snprintf(path, sizeof(path), "%s/blobs", top);
    store = check_store(path);
    open_db();
    put_blob(store, "layer", 5, &layer);
    put_blob(store, "manifest", 8, &manifest);
    digest_of(DIGEST_SHA256, "subject", 7, &subject);
    put_records();
    close_db();
    store_free(&store);
    return 0;
}

static int unmake(void **state)
{
    char command[80];

    (void)state;
    snprintf(command, sizeof(command), "rm -rf %s", top);
    return system(command);
}

static void drop(char letter)
{
    open_db();
    meta_delete(db, key_of(letter));
    close_db();
}

static bool here(char letter)
{
    bool found;

    open_db();
    found = meta_has(db, key_of(letter));
    db_close(&db);
    return found;
}

static void test_good(void **state)
{
    (void)state;
    assert_int_equal(fsck(false), FSCK_GOOD);
    assert_int_equal(fsck(true), FSCK_GOOD);
    for (const char *letter = "LMTGKRUuI"; *letter; letter++)
        assert_true(here(*letter));
}

static void test_missing_back_references_are_added(void **state)
{
    (void)state;
    for (const char *letter = "GKRUuI"; *letter; letter++) {
        drop(*letter);
        assert_int_equal(fsck(false), FSCK_DAMAGED);
        assert_false(here(*letter)); /* looking changes nothing */
        assert_int_equal(fsck(true), FSCK_REPAIRED);
        assert_true(here(*letter));
        assert_int_equal(fsck(false), FSCK_GOOD);
    }
}

/* What the notes of a manifest hold follows from it; of before there was such a value they are
 * empty, and a repair fills them. */
static void test_what_notes_hold(void **state)
{
    struct record_manifest is = {.size = 8, .contents = {.media_type = TYPE}}, other = is;
    struct str value = {0}, found = {0};

    (void)state;
    other.size = 9;
    for (int n = 0; n < 4; n++) {
        bool referrer = n < 2, empty = n % 2;
        const struct meta_key key = key_of(referrer ? 'R' : 'K');

        open_db();
        if (referrer)
            record_referrer_encode(&value, &other);
        else
            record_parent_encode(&value, true);
        put(key, empty ? NULL : &value);
        close_db();
        assert_int_equal(fsck(false), empty ? FSCK_GOOD : FSCK_DAMAGED);
        assert_int_equal(fsck(true), empty ? FSCK_GOOD : FSCK_REPAIRED);
        assert_int_equal(fsck(false), FSCK_GOOD);
        open_db();
        assert_int_equal(meta_get(db, key, &found), 0);
        if (referrer)
            record_referrer_encode(&value, &is);
        else
            record_parent_encode(&value, false);
        assert_true(found.len == value.len && memcmp(found.data, value.data, value.len) == 0);
        db_close(&db);
    }
    str_free(&value);
    str_free(&found);
}

static void test_dangling_ones_are_removed(void **state)
{
    (void)state;
    drop('T');
    assert_int_equal(fsck(true), FSCK_REPAIRED);
    assert_false(here('G'));
    drop('M'); /* K, R and one U hang in the air */
    assert_int_equal(fsck(true), FSCK_REPAIRED);
    assert_false(here('K'));
    assert_false(here('R'));
    assert_false(here('u'));
    assert_true(here('U'));
    drop('L'); /* nothing is left in the image */
    assert_int_equal(fsck(true), FSCK_REPAIRED);
    assert_false(here('U'));
    assert_false(here('I'));
    open_db();
    put(key_of('D'), NULL);
    close_db();
    assert_int_equal(fsck(true), FSCK_REPAIRED);
    assert_false(here('D'));
    assert_int_equal(fsck(false), FSCK_GOOD);
}

/* A file that an image holds is no orphan, though its record is lost. */
static void test_a_lost_blob_record_comes_back(void **state)
{
    (void)state;
    open_db();
    meta_delete(db, meta_blob("main", &layer));
    close_db();
    assert_int_equal(fsck(false), FSCK_DAMAGED);
    assert_int_equal(fsck(true), FSCK_REPAIRED);
    open_db();
    assert_true(meta_has(db, meta_blob("main", &layer)));
    db_close(&db);
    assert_int_equal(fsck(false), FSCK_GOOD);
}

static void put_lonely(struct digest *digest_r)
{
    struct store *store;
    char path[64];

    snprintf(path, sizeof(path), "%s/blobs", top);
    store = check_store(path);
    put_blob(store, "lonely", 6, digest_r);
    store_free(&store);
}

/* A link that no manifest needs and no collection would look at. */
static void test_forgotten_links_are_queued(void **state)
{
    struct digest lonely;

    (void)state;
    open_db();
    put_lonely(&lonely);
    meta_blob_put(db, meta_at(META_LINK, REPO, IMAGE, &lonely), 6, 1);
    put(meta_holder("main", &lonely, META_LINK, REPO, IMAGE), NULL);
    close_db();
    assert_int_equal(fsck(false), FSCK_DAMAGED);
    assert_int_equal(fsck(true), FSCK_REPAIRED);
    assert_int_equal(fsck(false), FSCK_GOOD);
    open_db();
    assert_true(meta_has(db, meta_at(META_LINK, REPO, IMAGE, &lonely))); /* collecting decides */
    assert_true(meta_any(db, (struct meta_key){.kind = META_SUSPECT}));
    db_close(&db);
}

static void test_forgotten_bytes_go(void **state)
{
    struct digest lonely;

    (void)state;
    open_db();
    put_lonely(&lonely);
    close_db();
    assert_int_equal(fsck(false), FSCK_DAMAGED);
    assert_int_equal(fsck(true), FSCK_REPAIRED);
    assert_int_equal(fsck(false), FSCK_GOOD);
    open_db();
    assert_int_equal(meta_find(db, meta_blob("main", &lonely)), ERR_NOT_FOUND);
    db_close(&db);
}

/* What only a push can mend is told and left. */
static void test_losses_are_told(void **state)
{
    (void)state;
    drop('M');
    assert_int_equal(fsck(true), FSCK_DAMAGED);
    assert_true(here('T'));
    assert_true(here('L'));
}

static void test_a_damaged_record(void **state)
{
    (void)state;
    open_db();
    put(key_of('T'), &(struct str){.data = (char *)"\1?", .len = 2});
    close_db();
    assert_int_equal(fsck(true), FSCK_DAMAGED);
    assert_true(here('T'));
    assert_true(here('G'));
}

/* A journal of the image as it is. */
static void write_journal(bool with_tag)
{
    static struct meta_identity m;
    struct str text = {0};
    struct journal_line l = {.kind = JOURNAL_BEGIN, .number = 3, .count = JOURNAL_VERSION};
    char path[64];
    FILE *f;

    assert_int_equal(meta_open(db_path, &db, &m), 0);
    witness_number_put(db, "main", 3);
    close_db();
    l.database = l.store = m.identity.id;
    journal_put(&text, &l);
    l = (struct journal_line){.kind = JOURNAL_MANIFEST, .number = 3, .repo = REPO, .image = IMAGE};
    l.digest = manifest;
    l.size = 8;
    l.media_type = TYPE;
    journal_put(&text, &l);
    l.kind = JOURNAL_TAG;
    l.tag = "one";
    if (with_tag)
        journal_put(&text, &l);
    l.kind = JOURNAL_END;
    l.count = 1 + with_tag;
    l.until = 3;
    journal_put(&text, &l);
    snprintf(path, sizeof(path), "%s/blobs/journal", top);
    f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text.data, 1, text.len, f), text.len);
    fclose(f);
    str_free(&text);
}

/* The database opens and is consistent, and a tag is not there any more. */
static void test_what_only_the_journal_has_is_told(void **state)
{
    (void)state;
    write_journal(true);
    assert_int_equal(fsck(false), FSCK_GOOD);
    drop('T');
    drop('G');
    assert_int_equal(fsck(true), FSCK_DAMAGED);
    assert_false(here('T'));
}

static void test_what_the_journal_lacks_is_told(void **state)
{
    (void)state;
    write_journal(false);
    assert_int_equal(fsck(false), FSCK_DAMAGED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_good, make, unmake),
        cmocka_unit_test_setup_teardown(test_missing_back_references_are_added, make, unmake),
        cmocka_unit_test_setup_teardown(test_dangling_ones_are_removed, make, unmake),
        cmocka_unit_test_setup_teardown(test_what_notes_hold, make, unmake),
        cmocka_unit_test_setup_teardown(test_a_lost_blob_record_comes_back, make, unmake),
        cmocka_unit_test_setup_teardown(test_forgotten_links_are_queued, make, unmake),
        cmocka_unit_test_setup_teardown(test_forgotten_bytes_go, make, unmake),
        cmocka_unit_test_setup_teardown(test_losses_are_told, make, unmake),
        cmocka_unit_test_setup_teardown(test_a_damaged_record, make, unmake),
        cmocka_unit_test_setup_teardown(test_what_only_the_journal_has_is_told, make, unmake),
        cmocka_unit_test_setup_teardown(test_what_the_journal_lacks_is_told, make, unmake),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
