/* Identities of databases and blob stores: their files, the database's own records, and what fits.
 */
#include "check.h"

#include "meta/identity.h"
#include "store/belong.h"

#include <fcntl.h>
#include <unistd.h>

#define ID    "0123456789abcdef0123456789abcdef"
#define OTHER "fedcba9876543210fedcba9876543210"
#define HEAD  "version = 1\nid = " ID "\n"

static char directory[64];
static int dir;

static int setup(void **state)
{
    (void)state;
    check_directory(directory);
    dir = open(directory, O_RDONLY | O_DIRECTORY);
    return dir < 0;
}

static int teardown(void **state)
{
    (void)state;
    close(dir);
    check_remove(directory);
    return 0;
}

static void put_text(const char *text, size_t len)
{
    int fd = openat(dir, IDENTITY_FILE, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_int_equal(write(fd, text, len), len);
    close(fd);
}

static int read_text(const char *text, bool store)
{
    static struct identity_stores stores;
    struct identity i;

    put_text(text, strlen(text));
    return identity_read(dir, &i, store ? NULL : &stores);
}

static void test_a_file_says_what_was_written(void **state)
{
    struct identity a = {.id = ID, .database = OTHER, .name = "main", .created_s = 1700000000}, b;
    static struct identity_stores stores, again;

    (void)state;
    assert_int_equal(identity_read(dir, &b, NULL), ERR_NOT_FOUND);
    assert_int_equal(identity_write(dir, &a, NULL), 0);
    assert_int_equal(identity_read(dir, &b, NULL), 0);
    assert_string_equal(a.id, b.id);
    assert_string_equal(a.database, b.database);
    assert_string_equal(a.name, b.name);
    assert_int_equal(a.created_s, b.created_s);
    stores.count = 2;
    strcpy(stores.at[0].id, ID);
    strcpy(stores.at[0].name, "main");
    strcpy(stores.at[0].called, "prime");
    strcpy(stores.at[1].id, OTHER);
    strcpy(stores.at[1].name, "second");
    strcpy(stores.at[1].called, "second");
    *a.database = *a.name = 0;
    assert_int_equal(identity_write(dir, &a, &stores), 0);
    assert_int_equal(identity_read(dir, &b, &again), 0);
    assert_string_equal(b.id, ID);
    assert_int_equal(again.count, 2);
    for (int i = 0; i < 2; i++) {
        assert_string_equal(stores.at[i].id, again.at[i].id);
        assert_string_equal(stores.at[i].name, again.at[i].name);
        assert_string_equal(stores.at[i].called, again.at[i].called);
    }
}

static void test_anything_else_is_refused(void **state)
{
    static const struct {
        const char *text;
        int err;
    } stores[] = {
        {HEAD "database = " OTHER "\nname = main\ncreated = 5\n", 0},
        {"# a remark\n\n" HEAD "database = " OTHER "\nname = main\ncreated = 5", 0},
        {"version = 2\nwhatever = else\n", ERR_UNSUPPORTED},
        {"version = x\n", ERR_DAMAGED},
        {"", ERR_DAMAGED},
        {HEAD, ERR_DAMAGED},
        {HEAD "database = " OTHER "\n", ERR_DAMAGED},
        {"id = " ID "\nversion = 1\ndatabase = " OTHER "\nname = main\n", ERR_DAMAGED},
        {"version = 1\nid = " ID "0\ndatabase = " OTHER "\nname = main\n", ERR_DAMAGED},
        {"version = 1\nid = 0123456789ABCDEF0123456789abcdef\ndatabase = " OTHER "\nname = main\n",
         ERR_DAMAGED},
        {HEAD "database = " OTHER "\nname = ../etc\n", ERR_DAMAGED},
        {HEAD "database = " OTHER "\nname = \n", ERR_DAMAGED},
        {HEAD "database = " OTHER "\nname = main\ncreated = -1\n", ERR_DAMAGED},
        {HEAD "database = " OTHER "\nname = main\nunknown = 1\n", ERR_DAMAGED},
        {HEAD "database = " OTHER "\nname = main\nstore = " ID " main\n", ERR_DAMAGED},
        {"no line of ours", ERR_DAMAGED},
    };
    static char large[70000];

    (void)state;
    for (size_t i = 0; i < sizeof(stores) / sizeof(stores[0]); i++)
        assert_int_equal(read_text(stores[i].text, true), stores[i].err);
    assert_int_equal(read_text(HEAD "store = " OTHER " main prime\n", false), 0);
    assert_int_equal(read_text(HEAD "store = " OTHER "\n", false), ERR_DAMAGED);
    assert_int_equal(read_text(HEAD "name = main\n", false), ERR_DAMAGED);
    memset(large, '#', sizeof(large) - 1);
    assert_int_equal(read_text(large, true), ERR_DAMAGED);
    put_text(HEAD "\0", sizeof(HEAD));
    assert_int_equal(identity_read(dir, &(struct identity){0}, NULL), ERR_DAMAGED);
    assert_int_equal(unlinkat(dir, IDENTITY_FILE, 0), 0);
    assert_int_equal(symlinkat("elsewhere", dir, IDENTITY_FILE), 0);
    assert_int_equal(identity_read(dir, &(struct identity){0}, NULL), ERR_DAMAGED);
}

static void test_too_many_stores(void **state)
{
    struct identity i;
    static struct identity_stores stores;
    struct str text = {0};

    (void)state;
    str_puts(&text, HEAD);
    for (int n = 0; n < IDENTITY_STORES_MAX; n++)
        str_puts(&text, "store = " OTHER " main prime\n");
    put_text(text.data, text.len);
    assert_int_equal(identity_read(dir, &i, &stores), 0);
    str_puts(&text, "store = " OTHER " main prime\n");
    put_text(text.data, text.len);
    assert_int_equal(identity_read(dir, &i, &stores), ERR_DAMAGED);
    str_free(&text);
}

static char *db_path(void)
{
    static char path[80];

    snprintf(path, sizeof(path), "%s/db", directory);
    return path;
}

static void write_now(struct db *db)
{
    assert_int_equal(db_batch_commit(db), 0);
}

static struct meta_identity m, again;

static void test_a_new_database_knows_itself(void **state)
{
    struct db *db;

    (void)state;
    assert_int_equal(meta_open(db_path(), &db, &m), 0);
    assert_int_equal(strlen(m.identity.id), IDENTITY_ID_LEN);
    assert_true(m.identity.created_s > 0);
    assert_int_equal(meta_store_add(db, db_path(), &m, ID, "main", "main"), 0);
    assert_int_equal(meta_store_add(db, db_path(), &m, OTHER, "second", "second"), 0);
    assert_string_equal(meta_store_key(&m, ID), "main");
    assert_null(meta_store_key(&m, "x"));
    db_close(&db);
    assert_int_equal(meta_open(db_path(), &db, &again), 0);
    assert_string_equal(m.identity.id, again.identity.id);
    assert_int_equal(m.identity.created_s, again.identity.created_s);
    assert_string_equal(meta_store_key(&again, OTHER), "second");
    db_close(&db);
}

/* Golden bytes: what a database of today has on the disk. */
static void test_the_record_on_the_disk(void **state)
{
    static const char golden[] = "\x01\x01\x00\x00\x00" ID "\x00\xf1\x53\x65\x00\x00\x00\x00";
    struct str value = {0};
    struct db *db;

    (void)state;
    assert_int_equal(db_open(db_path(), KV_MAKE, &db), 0);
    db_put(db, "V", 1, golden, sizeof(golden) - 1);
    db_put(db, "N" OTHER "\0", 34, "main\0prime", 10);
    write_now(db);
    db_close(&db);
    assert_int_equal(meta_open(db_path(), &db, &m), 0);
    assert_string_equal(m.identity.id, ID);
    assert_int_equal(m.identity.created_s, 1700000000);
    assert_string_equal(meta_store_key(&m, OTHER), "main");
    assert_int_equal(identity_called(&m.stores, "prime"), 0);
    assert_int_equal(identity_called(&m.stores, "main"), -1);
    assert_int_equal(db_get(db, "V", 1, &value), 0);
    assert_int_equal(value.len, sizeof(golden) - 1);
    assert_memory_equal(value.data, golden, value.len);
    str_free(&value);
    db_close(&db);
}

static void test_an_older_database_gets_its_identity(void **state)
{
    struct db *db;

    (void)state;
    assert_int_equal(db_open(db_path(), KV_MAKE, &db), 0);
    db_put(db, "Ihosted\0image\0", 14, "x", 1);
    db_put(db, "Bmain\0", 6, "x", 1);
    write_now(db);
    db_close(&db);
    assert_int_equal(meta_open(db_path(), &db, &m), 0);
    assert_int_equal(m.identity.created_s, 0); /* not younger than any store */
    assert_true(meta_has_blobs_of(db, "main"));
    assert_false(meta_has_blobs_of(db, "mai"));
    db_close(&db);
}

static void test_what_is_not_the_database_is_refused(void **state)
{
    char current[96], away[96], file[96];
    struct db *db = NULL;

    (void)state;
    snprintf(current, sizeof(current), "%s/CURRENT", db_path());
    snprintf(file, sizeof(file), "%s/" IDENTITY_FILE, db_path());
    snprintf(away, sizeof(away), "%s/away", directory);
    assert_int_equal(meta_open(db_path(), &db, &m), 0);
    db_close(&db);
    /* Nothing is made anew in the place of what has its identity. */
    assert_int_equal(rename(current, away), 0);
    assert_int_not_equal(meta_open(db_path(), &db, &again), 0);
    assert_int_equal(rename(away, current), 0);
    /* Another database's file: files of two are mixed. */
    assert_int_equal(meta_open(db_path(), &db, &again), 0);
    db_close(&db);
    identity_new_id(m.identity.id);
    close(dir);
    dir = open(db_path(), O_RDONLY | O_DIRECTORY);
    assert_int_equal(identity_write(dir, &m.identity, &m.stores), 0);
    assert_int_equal(meta_open(db_path(), &db, &again), ERR_CONFLICT);
    /* A lost file is written again. */
    assert_int_equal(unlink(file), 0);
    assert_int_equal(meta_open(db_path(), &db, &again), 0);
    assert_int_equal(access(file, F_OK), 0);
    db_close(&db);
}

static void test_another_format_is_refused(void **state)
{
    static const char newer[] = "\x01\x63\x00\x00\x00" ID "\x00\xf1\x53\x65\x00\x00\x00\x00";
    static const char shorter[] = "\x01\x01\x00\x00\x00" ID;
    struct db *db = NULL;

    (void)state;
    assert_int_equal(db_open(db_path(), KV_MAKE, &db), 0);
    db_put(db, "V", 1, newer, sizeof(newer) - 1);
    write_now(db);
    db_close(&db);
    assert_int_equal(meta_open(db_path(), &db, &m), ERR_UNSUPPORTED);
    assert_int_equal(db_open(db_path(), KV_MAKE, &db), 0);
    db_put(db, "V", 1, shorter, sizeof(shorter) - 1);
    write_now(db);
    db_close(&db);
    assert_int_equal(meta_open(db_path(), &db, &m), ERR_DAMAGED);
}

static void test_how_many_orphans_are_few(void **state)
{
    (void)state;
    assert_true(belong_orphans_few(0, 1, 100, 5));
    assert_true(belong_orphans_few(0, 1, 4, 1));
    assert_false(belong_orphans_few(0, 1, 7, 2)); /* yesterday's database in a small store */
    assert_true(belong_orphans_few(0, 1, 100, 8));
    assert_false(belong_orphans_few(0, 1, 100, 9));
    assert_true(belong_orphans_few(0, 1, 1000, 50));
    assert_false(belong_orphans_few(0, 1, 1000, 51));
    assert_false(belong_orphans_few(0, 1, 3, 3));   /* all there is */
    assert_false(belong_orphans_few(0, 0, 100, 1)); /* adopted */
    assert_true(belong_orphans_few(5, 5, 100, 1));
    assert_false(belong_orphans_few(6, 5, 100, 1)); /* the store is older than the database */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_file_says_what_was_written, setup, teardown),
        cmocka_unit_test_setup_teardown(test_anything_else_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_many_stores, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_new_database_knows_itself, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_record_on_the_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_older_database_gets_its_identity, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_not_the_database_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_another_format_is_refused, setup, teardown),
        cmocka_unit_test(test_how_many_orphans_are_few),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
