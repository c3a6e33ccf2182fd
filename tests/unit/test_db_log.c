/* LevelDB's log: a cut of its end is told from damage before it. */
#include "check.h"

#include "base/file.h"
#include "base/mem.h"
#include "meta/db.h"
#include "meta/db_log.h"
#include "meta/kv_leveldb.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define BATCHES 12
#define BLOCK   32768

static char directory[64];
static struct str bytes; /* of the log */
static struct str values[BATCHES];
static size_t begins[BATCHES + 1]; /* where each batch's record begins, and the end */

static size_t log_length(char *name_r, size_t size)
{
    DIR *dir = opendir(directory);
    struct dirent *entry;
    struct stat st = {0};

    while ((entry = readdir(dir)))
        if (strstr(entry->d_name, ".log")) {
            snprintf(name_r, size, "%s/%s", directory, entry->d_name);
            assert_int_equal(stat(name_r, &st), 0);
        }
    closedir(dir);
    return (size_t)st.st_size;
}

/* Batches of very different lengths; the seventh spans blocks. */
static int setup(void **state)
{
    struct db *db;
    char name[400];
    char *value = mem_alloc(3 * BLOCK);

    (void)state;
    check_directory(directory);
    assert_int_equal(db_open(directory, KV_MAKE, &db), 0);
    for (size_t i = 0; i < BATCHES; i++) {
        begins[i] = log_length(name, sizeof(name));
        for (size_t n = 0; n < 3 * BLOCK; n++)
            value[n] = (char)(rand() >> 7);
        str_append(&values[i], value, i == 7 ? 3 * BLOCK : i * 300);
        db_put(db, &i, sizeof(i), values[i].data, values[i].len);
        assert_int_equal(db_batch_commit(db), 0);
    }
    begins[BATCHES] = log_length(name, sizeof(name));
    db_close(&db);
    free(value);
    return file_read_all(name, 1u << 22, &bytes);
}

static int teardown(void **state)
{
    (void)state;
    str_free(&bytes);
    for (size_t i = 0; i < BATCHES; i++)
        str_free(&values[i]);
    check_remove(directory);
    return 0;
}

static size_t batch_at(size_t byte)
{
    size_t i = 0;

    while (i + 1 < BATCHES && begins[i + 1] <= byte)
        i++;
    return i;
}

static void test_a_whole_log(void **state)
{
    size_t at;

    (void)state;
    assert_true(begins[BATCHES] == bytes.len && bytes.len > 3 * BLOCK);
    assert_int_equal(db_log_judge(bytes.data, bytes.len, &at), DB_LOG_WHOLE);
    assert_int_equal(db_log_judge(bytes.data, 0, &at), DB_LOG_WHOLE);
}

/* What a power cut leaves: the file ends anywhere, or has zeroes or rubbish from there on. */
static void test_an_end_cut_anywhere(void **state)
{
    struct str cut = {0};
    size_t at;

    (void)state;
    for (size_t len = 1; len < bytes.len; len += len < 5000 ? 1 : 997)
        assert_int_equal(db_log_judge(bytes.data, len, &at), DB_LOG_WHOLE);
    for (size_t len = begins[1] + 7; len < bytes.len; len += 997) {
        for (int filler = 0; filler < 256; filler += 51) {
            str_reset(&cut);
            str_append(&cut, bytes.data, len);
            for (size_t i = 0; i < 500; i++)
                str_putc(&cut, (char)filler);
            if (db_log_judge(cut.data, cut.len, &at) == DB_LOG_WHOLE)
                continue; /* LevelDB takes it for one that ends short, too */
            assert_int_equal(db_log_judge(cut.data, cut.len, &at), DB_LOG_TORN);
            assert_int_equal(at, begins[batch_at(len)]);
        }
    }
    str_free(&cut);
}

static void test_a_changed_byte(void **state)
{
    size_t at;

    (void)state;
    for (size_t i = 0; i < bytes.len; i += i < 2000 || i + 4000 > bytes.len ? 1 : 601) {
        size_t batch = batch_at(i);

        bytes.data[i] ^= 0x41;
        if (batch + 1 < BATCHES) {
            assert_int_equal(db_log_judge(bytes.data, bytes.len, &at), DB_LOG_DAMAGED);
            assert_int_equal(at, begins[batch]);
        } else { /* nothing stands behind: it may as well be unfinished */
            assert_int_not_equal(db_log_judge(bytes.data, bytes.len, &at), DB_LOG_DAMAGED);
            assert_int_equal(at, begins[batch]);
        }
        bytes.data[i] ^= 0x41;
    }
}

static bool has(struct db *db, size_t i)
{
    return db_get(db, &i, sizeof(i), NULL) == 0;
}

static void opens_changed(size_t keep, size_t at, char change)
{
    char name[400];
    struct db *db;

    log_length(name, sizeof(name));
    bytes.data[at] ^= change;
    assert_int_equal(file_replace(name, bytes.data, keep, 0600, (uid_t)-1, (gid_t)-1), 0);
    assert_int_equal(db_open(directory, KV_EXISTING, &db), ERR_DAMAGED);
    assert_int_equal(db_open(directory, KV_VIEW, &db), 0); /* what LevelDB makes of it alone */
    assert_true(has(db, 0) && !has(db, 3));
    db_close(&db);
}

static void test_a_damaged_log_is_not_opened(void **state)
{
    (void)state;
    opens_changed(bytes.len, begins[3] + 20, 1);
}

/* LevelDB takes a length that reaches over the end of the file for an unfinished write. */
static void test_a_changed_length_is_not_the_end(void **state)
{
    (void)state;
    opens_changed(begins[6], begins[3] + 5, 0x60);
}

static void test_a_torn_log_is_cut(void **state)
{
    size_t flip = begins[BATCHES - 1] + 100, at;
    struct str now = {0};
    char name[400];
    struct db *db;

    (void)state;
    log_length(name, sizeof(name));
    bytes.data[flip] ^= 1;
    assert_int_equal(db_log_judge(bytes.data, bytes.len, &at), DB_LOG_TORN);
    assert_int_equal(file_replace(name, bytes.data, bytes.len, 0600, (uid_t)-1, (gid_t)-1), 0);
    assert_int_equal(db_log_check(directory), 0);
    assert_int_equal(file_read_all(name, 1u << 22, &now), 0);
    assert_int_equal(now.len, begins[BATCHES - 1]);
    assert_int_equal(db_open(directory, KV_EXISTING, &db), 0);
    assert_true(has(db, BATCHES - 2) && !has(db, BATCHES - 1));
    db_close(&db);
    str_free(&now);
}

static void write_log(const char *name, size_t from, size_t to)
{
    assert_int_equal(file_replace(name, bytes.data + from, to - from, 0600, (uid_t)-1, (gid_t)-1),
                     0);
}

/* Batches 1 to 6 in two logs; of the first one what is between the batches `from` and `to`, less so
 * many bytes, of the second less as many. Then the database is opened. */
static int opens_two(size_t from, size_t to, size_t less, size_t less_of_second)
{
    char first[400], second[400];
    struct db *db = NULL;
    int err;

    check_remove(directory);
    assert_int_equal(db_open(directory, KV_MAKE, &db), 0);
    db_close(&db);
    log_length(first, sizeof(first));
    snprintf(second, sizeof(second), "%s/000009.log", directory);
    write_log(first, begins[from], begins[to] - less);
    write_log(second, begins[4], begins[7] - less_of_second);
    err = db_open(directory, KV_EXISTING, &db);
    if (err == 0) {
        assert_true(has(db, 2) && has(db, 5));
        assert_true(has(db, 6) == (to == 7 || less_of_second == 0));
    }
    db_close(&db);
    return err;
}

/* Only the last log's end may be unfinished: what stands in the next was written after it. */
static void test_two_logs(void **state)
{
    (void)state;
    assert_true(begins[7] < BLOCK);
    assert_int_equal(opens_two(0, 4, 0, 0), 0);
    assert_int_equal(opens_two(0, 4, 0, 100), 0);
    for (size_t less = 1; less < begins[4] - begins[3]; less += 13)
        assert_int_equal(opens_two(0, 4, less, 0), ERR_DAMAGED);
    assert_int_equal(opens_two(0, 4, 20, 100), ERR_DAMAGED);
    assert_int_equal(opens_two(0, 3, 0, 0), ERR_DAMAGED); /* a change is missing between them */
    assert_int_equal(opens_two(0, 0, 0, 0), ERR_DAMAGED);
}

/* One that was just begun says nothing of the end of the one before. */
static void test_an_empty_log_behind(void **state)
{
    (void)state;
    assert_int_equal(opens_two(0, 7, 0, begins[7] - begins[4]), 0);
}

static int put_all(struct db *db, size_t round)
{
    char value[400];

    memset(value, (int)('a' + round % 26), sizeof(value));
    for (size_t i = 0; i < 200; i++)
        db_put(db, &i, sizeof(i), value, sizeof(value));
    return db_batch_commit(db);
}

static void oldest_table(char *name_r, size_t size)
{
    DIR *dir = opendir(directory);
    struct dirent *entry;
    char oldest[256] = "~";

    while ((entry = readdir(dir)))
        if (strstr(entry->d_name, ".ldb") && strcmp(entry->d_name, oldest) < 0)
            strcpy(oldest, entry->d_name);
    closedir(dir);
    assert_true(snprintf(name_r, size, "%s/%s", directory, oldest) < (int)size);
}

/* Tables are merged into new ones, and a block that cannot be read must not be missing there: the
 * damaged table stays, and what is wrong is told. */
static void test_a_damaged_table_is_not_merged(void **state)
{
    char name[400];
    int err = 0;
    FILE *file;
    struct db *db;

    (void)state;
    for (size_t i = 0; i < 6; i++) { /* the log of one opening is a table of the next */
        assert_int_equal(db_open(directory, KV_EXISTING, &db), 0);
        err = put_all(db, i);
        db_close(&db);
        assert_true(err == 0 || (i > 2 && err == ERR_IO)); /* the merge may have begun already */
        if (i != 2)
            continue;
        oldest_table(name, sizeof(name));
        file = fopen(name, "r+");
        assert_non_null(file);
        fseek(file, 100, SEEK_SET);
        fputs("damaged", file);
        fclose(file);
    }
    assert_int_equal(db_open(directory, KV_EXISTING, &db), 0);
    err = 0;
    for (size_t i = 0; err == 0 && i < 10000 && access(name, F_OK) == 0; i++)
        err = put_all(db, i);
    db_close(&db);
    assert_int_equal(err, ERR_IO);
    assert_int_equal(access(name, F_OK), 0);
}

/* What LevelDB's repair, which looks at no sum, makes of the log with one bit changed. */
static void repaired_with_a_changed_byte(size_t byte, uint8_t bit)
{
    struct str changed = {0}, value = {0};
    char name[400];
    struct db *db;

    str_append(&changed, bytes.data, bytes.len);
    changed.data[byte] = (char)(changed.data[byte] ^ bit);
    assert_int_equal(db_log_blank(changed.data, changed.len), 1);
    check_remove(directory);
    check_directory(directory);
    snprintf(name, sizeof(name), "%s/000003.log", directory);
    assert_int_equal(file_replace(name, changed.data, changed.len, 0600, (uid_t)-1, (gid_t)-1), 0);
    assert_int_equal(kv_leveldb_repair(directory), 0);
    assert_int_equal(db_open(directory, KV_EXISTING, &db), 0);
    for (size_t i = 0; i < BATCHES; i++) {
        int err = db_get(db, &i, sizeof(i), &value);
        bool hit = byte >= begins[i] && byte < begins[i + 1];

        if (err == 0)
            assert_true(value.len == values[i].len &&
                        memcmp(value.data, values[i].data, value.len) == 0);
        assert_true(err == 0 ? !hit : err == ERR_NOT_FOUND);
        if (begins[i + 1] <= byte || begins[i] / BLOCK > byte / BLOCK)
            assert_int_equal(err, 0);
    }
    db_close(&db);
    str_free(&value);
    str_free(&changed);
}

static void test_a_repair_takes_nothing_that_changed(void **state)
{
    (void)state;
    assert_int_equal(db_log_blank(bytes.data, bytes.len), 0);
    for (size_t batch = 0; batch < BATCHES; batch++)
        for (size_t byte = 0; byte < 36 && begins[batch] + byte < begins[batch + 1]; byte += 3)
            repaired_with_a_changed_byte(begins[batch] + byte, 1);
    for (uint8_t bit = 1; bit < 128; bit = (uint8_t)(bit << 1)) /* lengths and types */
        for (size_t byte = 4; byte < 7; byte++)
            repaired_with_a_changed_byte(begins[5] + byte, bit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_whole_log, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_end_cut_anywhere, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_changed_byte, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_damaged_log_is_not_opened, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_changed_length_is_not_the_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_torn_log_is_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(test_two_logs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_empty_log_behind, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_damaged_table_is_not_merged, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_repair_takes_nothing_that_changed, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
