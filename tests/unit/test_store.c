#include "check.h"
#include "check_store.h"

#include "api/hashes.h"
#include "base/file.h"
#include "shm/sessions.h"
#include "store/layout.h"
#include "store/store_fs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[64];
static struct store *store;

static int setup(void **state)
{
    (void)state;
    check_directory(directory);
    store = check_store(directory);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    store_free(&store);
    check_remove(directory);
    return 0;
}

static size_t files_in(const char *name)
{
    char command[128];
    size_t count = 0;
    FILE *p;

    snprintf(command, sizeof(command), "ls %s/%s | wc -l", directory, name);
    p = popen(command, "r");
    assert_int_equal(fscanf(p, "%zu", &count), 1);
    pclose(p);
    return count;
}

static void test_layout(void **state)
{
    struct digest d;
    char path[LAYOUT_PATH_MAX], other[LAYOUT_PATH_MAX];

    (void)state;
    digest_of(DIGEST_SHA256, "", 0, &d);
    assert_string_equal(
        layout_blob(&d, path),
        "blobs/sha256/e3/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_string_equal(layout_blob_dir(&d, path), "blobs/sha256/e3");
    assert_true(layout_upload("0123456789abcdef0123456789abcdef", "r", "i", path));
    assert_int_equal(strlen(path), 8 + 32 + 1 + 32);
    assert_true(layout_upload("0123456789abcdef0123456789abcdef", "ri", "", other));
    assert_string_not_equal(path, other);
    assert_false(layout_upload("0123456789ABCDEF0123456789abcdef", "r", "i", path));
    assert_false(layout_upload("../../../../../../../../etc/pass", "r", "i", path));
    assert_false(layout_upload("", "r", "i", path));
}

static void test_blob(void **state)
{
    struct digest d;
    uint64_t size;
    int fd;

    (void)state;
    digest_of(DIGEST_SHA512, "hello", 5, &d);
    assert_int_equal(store_blob_open(store, &d, 5, &fd), ERR_NOT_FOUND);
    assert_int_equal(store_blob_write(store, &d, "hello", 5), 0);
    assert_int_equal(store_blob_write(store, &d, "hello", 5), 0); /* again is nothing */
    assert_int_equal(files_in("uploads"), 0);
    assert_int_equal(store_blob_size(store, &d, &size), 0);
    assert_int_equal(size, 5);
    assert_int_equal(store_blob_open(store, &d, 6, &fd), ERR_DAMAGED);
    assert_int_equal(store_blob_open(store, &d, 5, &fd), 0);
    close(fd);
    assert_int_equal(store_blob_unlink(store, &d), 0);
    assert_int_equal(store_blob_unlink(store, &d), ERR_NOT_FOUND);
}

static void test_upload(void **state)
{
    char id[33], key[STORE_UPLOAD_KEY_MAX], other[STORE_UPLOAD_KEY_MAX];
    struct digest d, known;
    uint64_t size;
    int fd, second;

    (void)state;
    assert_int_equal(store_upload_create(store, "r", "i", 0x1234abcd, id, &fd), 0);
    assert_int_equal(file_write_full(fd, "hel", 3), 0);
    assert_int_equal(store_upload_open(store, "r", "i", id, true, &second, &size), ERR_BUSY);
    assert_int_equal(store_upload_open(store, "r", "i", id, false, &second, &size), 0);
    assert_int_equal(size, 3);
    close(second);
    assert_int_equal(store_upload_open(store, "r", "other", id, false, &second, &size),
                     ERR_NOT_FOUND);
    close(fd);
    assert_int_equal(store_upload_open(store, "r", "i", id, true, &fd, &size), 0);
    assert_int_equal(file_write_full(fd, "lo", 2), 0); /* appends */
    digest_of(DIGEST_SHA256, "hello", 5, &d);
    assert_true(store_upload_key(id, "r", "i", key) && store_upload_key(id, "r", "other", other));
    assert_string_not_equal(key, other);
    assert_false(store_upload_key("../x", "r", "i", key));
    assert_int_equal(store_upload_sum_save(store, "r", "i", id, 5, &d), 0);
    assert_int_equal(store_upload_sum_load(store, "r", "i", id, 4, &known), ERR_NOT_FOUND);
    assert_int_equal(store_upload_sum_load(store, "r", "i", id, 5, &known), 0);
    assert_true(digest_equal(&d, &known));
    assert_int_equal(store_upload_finish(store, fd, "r", "i", id, &d), 0);
    close(fd);
    assert_int_equal(files_in("uploads"), 0);
    assert_int_equal(store_upload_open(store, "r", "i", id, true, &fd, &size), ERR_NOT_FOUND);
    assert_int_equal(store_blob_open(store, &d, 5, &fd), 0);
    close(fd);
}

static void test_sum_of_another_boot_is_ignored(void **state)
{
    char id[33], path[LAYOUT_PATH_MAX], text[DIGEST_TEXT_MAX], line[300];
    struct digest d, known;
    int fd;

    (void)state;
    assert_int_equal(store_upload_create(store, "r", "i", 0x1234abcd, id, &fd), 0);
    close(fd);
    digest_of(DIGEST_SHA256, "x", 1, &d);
    assert_true(layout_upload(id, "r", "i", path));
    strcat(path, ".sum");
    snprintf(line, sizeof(line), "00000000-0000-0000-0000-000000000000 1 %s\n",
             digest_text(&d, text));
    fd = openat(store->dir_fd, path, O_WRONLY | O_CREAT, 0600);
    assert_int_equal(file_write_full(fd, line, strlen(line)), 0);
    close(fd);
    assert_int_equal(store_upload_sum_load(store, "r", "i", id, 1, &known), ERR_NOT_FOUND);
    assert_int_equal(store_upload_unlink(store, "r", "i", id), 0);
    assert_int_equal(files_in("uploads"), 0);
}

static void seen(void *ctx, const char *id)
{
    *(uint64_t *)ctx += sessions_tag_of(id);
}

static void test_survey(void **state)
{
    char id[33], held[33];
    uint64_t count, bytes, sum = 0;
    struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    int fd, held_fd;

    (void)state;
    assert_int_equal(store_upload_create(store, "r", "i", 0x1234abcd, id, &fd), 0);
    assert_int_equal(file_write_full(fd, "12345", 5), 0);
    assert_int_equal(store_upload_create(store, "r", "i", 0x1234abcd, held, &held_fd), 0);
    assert_int_equal(store_uploads_survey(store, 3600000, seen, &sum, &count, &bytes), 0);
    assert_int_equal(count, 2);
    assert_int_equal(sum, 2 * 0x1234abcdULL); /* whoever began them is known by their files */
    assert_int_equal(bytes, 5);
    assert_int_equal(futimens(fd, old), 0);
    assert_int_equal(futimens(held_fd, old), 0);
    close(fd);
    assert_int_equal(store_uploads_survey(store, 3600000, seen, &sum, &count, &bytes), 0);
    assert_int_equal(count, 1); /* the one a writer holds stays */
    close(held_fd);
    assert_int_equal(store_uploads_survey(store, 3600000, seen, &sum, &count, &bytes), 0);
    assert_int_equal(count, 0);
    assert_int_equal(files_in("uploads"), 0);
}

/* All pieces of a list; how many of its blobs are `wanted`. */
static size_t listed(uint64_t older_than_ms, const struct digest *wanted, size_t *count_r)
{
    struct store_cursor cursor = {0};
    struct store_found found[8];
    size_t pieces = 0, times = 0, count;

    for (*count_r = 0; !cursor.end; pieces++, *count_r += count) {
        assert_int_equal(store_blobs_list(store, &cursor, older_than_ms, found, 8, &count), 0);
        for (size_t i = 0; i < count; i++)
            times += digest_equal(&found[i].digest, wanted) && found[i].size == 5;
    }
    assert_int_equal(pieces, STORE_LIST_PIECES);
    return times;
}

static void test_a_list_has_each_blob_once(void **state)
{
    struct digest short_one, long_one;
    size_t count;

    (void)state;
    digest_of(DIGEST_SHA256, "12345", 5, &short_one);
    digest_of(DIGEST_SHA512, "12345", 5, &long_one);
    assert_int_equal(store_blob_write(store, &short_one, "12345", 5), 0);
    assert_true(store_has_blobs(store));
    assert_int_equal(store_blob_write(store, &long_one, "12345", 5), 0);
    assert_int_equal(listed(0, &short_one, &count), 1);
    assert_int_equal(listed(0, &long_one, &count), 1);
    assert_int_equal(listed(3600000, &long_one, &count), 0); /* too young */
    assert_int_equal(count, 0);
    assert_int_equal(store_blob_unlink(store, &short_one), 0);
    assert_true(store_has_blobs(store));
    assert_int_equal(store_blob_unlink(store, &long_one), 0);
}

static void test_what_goes_may_come_back(void **state)
{
    struct digest d;
    uint64_t size;

    (void)state;
    digest_of(DIGEST_SHA256, "trash", 5, &d);
    assert_int_equal(store_blob_back(store, &d), ERR_NOT_FOUND);
    assert_int_equal(store_blob_write(store, &d, "trash", 5), 0);
    assert_int_equal(store_blob_aside(store, &d), 0);
    assert_int_equal(store_blob_aside(store, &d), ERR_NOT_FOUND);
    assert_int_equal(store_blob_size(store, &d, &size), ERR_NOT_FOUND);
    assert_int_equal(store_trash_empty(store, 3600000), 0); /* too young */
    assert_int_equal(store_blob_back(store, &d), 0);
    assert_int_equal(store_blob_size(store, &d, &size), 0);
    assert_int_equal(store_blob_aside(store, &d), 0);
    assert_int_equal(store_trash_empty(store, 0), 0);
    assert_int_equal(store_blob_back(store, &d), ERR_NOT_FOUND);
}

static void test_what_is_checked_is_what_is_there(void **state)
{
    struct digest d;
    uint64_t size;
    int fd;

    (void)state;
    digest_of(DIGEST_SHA256, "first", 5, &d);
    assert_true(store_blob_is(store, &d, -1)); /* there is none */
    assert_int_equal(store_blob_open_raw(store, &d, &fd, &size), ERR_NOT_FOUND);
    assert_int_equal(store_blob_write(store, &d, "changed", 7), 0);
    assert_false(store_blob_is(store, &d, -1));
    assert_int_equal(store_blob_open_raw(store, &d, &fd, &size), 0); /* whatever its size */
    assert_int_equal(size, 7);
    assert_true(store_blob_is(store, &d, fd));
    assert_int_equal(store_blob_write(store, &d, "first", 5), 0); /* healed meanwhile */
    assert_false(store_blob_is(store, &d, fd));
    assert_int_equal(store_blob_quarantine(store, &d, fd), ERR_CONFLICT);
    close(fd);
    assert_int_equal(store_blob_open(store, &d, 5, &fd), 0); /* and is still there */
    assert_int_equal(store_blob_quarantine(store, &d, fd), 0);
    assert_false(store_blob_is(store, &d, fd));
    close(fd);
    assert_int_equal(files_in("quarantine"), 1);
}

static void test_a_store_that_is_not_open(void **state)
{
    struct conf_store conf = {.name = (char[]){"main"}, .path = directory};
    struct store *other = store_new(&conf), *none = NULL;
    struct digest d;
    uint64_t bytes;
    int fd;

    (void)state;
    digest_of(DIGEST_SHA256, "hello", 5, &d);
    assert_false(store_is_open(other) || store_is_elsewhere(other) || store_has_blobs(other));
    assert_int_equal(store_blob_size(other, &d, &bytes), ERR_UNAVAILABLE);
    assert_int_equal(store_blob_open(other, &d, 5, &fd), ERR_UNAVAILABLE);
    assert_int_equal(store_blob_write(other, &d, "hello", 5), ERR_UNAVAILABLE);
    assert_int_equal(store_free_bytes(other, &bytes), ERR_UNAVAILABLE);
    assert_int_equal(store_open(other, STORE_WRITE), 0);
    assert_true(store_is_open(other) && store_free_bytes(other, &bytes) == 0 && bytes > 0);
    assert_string_equal(store_id(other), "");
    store_close(other);
    assert_false(store_try(other, true)); /* it does not say who it is */
    assert_true(store_try(other, false));
    store_free(&other);
    store_free(&none);
}

static void test_a_store_that_was_moved_away(void **state)
{
    char path[96], away[96];
    struct conf_store conf = {.name = (char[]){"main"}, .path = path};
    struct store *moved = store_new(&conf);

    (void)state;
    snprintf(path, sizeof(path), "%s/here", directory);
    snprintf(away, sizeof(away), "%s/there", directory);
    assert_int_equal(store_open(moved, STORE_ANYHOW), ERR_NOT_FOUND);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(store_open(moved, STORE_READ), ERR_NOT_FOUND); /* nothing of ours */
    assert_false(store_is_open(moved));
    assert_int_equal(store_make(&conf, (uid_t)-1, (gid_t)-1), 0);
    assert_int_equal(store_open(moved, STORE_READ), 0);
    assert_false(store_is_elsewhere(moved));
    assert_int_equal(rename(path, away), 0);
    assert_true(store_is_elsewhere(moved));
    assert_int_equal(mkdir(path, 0700), 0); /* another directory in its place */
    assert_true(store_is_elsewhere(moved));
    store_free(&moved);
}

/* By another handle, for a lock is one process's and one open file's. */
static void test_whose_it_is(void **state)
{
    struct identity a = {.created_s = 7}, b;
    struct conf_store conf = {.name = (char[]){"main"}, .path = directory};
    struct store *other = store_new(&conf), *again;
    uid_t uid;
    gid_t gid;

    (void)state;
    assert_false(store_identity_there(store));
    assert_int_equal(store_identity_of(&conf, &b), ERR_NOT_FOUND);
    identity_new_id(a.id);
    identity_new_id(a.database);
    strcpy(a.name, "main");
    assert_int_equal(store_identity_write(store, &a), 0);
    assert_true(store_identity_there(store));
    assert_int_equal(store_identity_of(&conf, &b), 0);
    assert_string_equal(a.id, b.id);
    assert_true(store_try(other, true));
    assert_string_equal(store_id(other), a.id);
    assert_true(store_owner(other, &uid, &gid) == 0 && uid == geteuid());
    again = store_again(other);
    assert_int_equal(store_lock(other), 0);
    assert_int_equal(store_lock(store), ERR_BUSY);
    store_close(other);
    assert_int_equal(store_lock(store), 0);
    assert_true(!store_is_open(other) && store_is_open(again)); /* that one stays what it is */
    assert_int_equal(store_identity_read(again, &b), 0);
    assert_string_equal(store_id(again), a.id);
    store_free(&again);
    store_free(&other);
}

static void test_the_lock_of_what_is_not_there(void **state)
{
    char path[96];
    struct conf_store conf = {.name = (char[]){"main"}, .path = path};
    int fd;

    (void)state;
    snprintf(path, sizeof(path), "%s/locked", directory);
    assert_int_equal(store_lock_open(&conf), -1);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(store_lock_open(&conf), -1);
    assert_int_equal(files_in("locked"), 0); /* nothing of ours in an empty mount point */
    assert_int_equal(store_make(&conf, (uid_t)-1, (gid_t)-1), 0);
    fd = store_lock_open(&conf);
    assert_true(fd >= 0);
    close(fd);
}

static void test_running_hashes(void **state)
{
    struct api_hashes *hashes = api_hashes_new();
    struct digest_ctx *ctx = digest_ctx_new(DIGEST_SHA256);
    char id[33];

    (void)state;
    api_hashes_keep(hashes, "0123456789abcdef0123456789abcdef", 10, ctx);
    assert_null(api_hashes_take(hashes, "1123456789abcdef0123456789abcdef", 10));
    assert_ptr_equal(api_hashes_take(hashes, "0123456789abcdef0123456789abcdef", 10), ctx);
    assert_null(api_hashes_take(hashes, "0123456789abcdef0123456789abcdef", 10));
    api_hashes_keep(hashes, "0123456789abcdef0123456789abcdef", 10, ctx);
    assert_null(
        api_hashes_take(hashes, "0123456789abcdef0123456789abcdef", 11)); /* and is forgotten */
    for (int i = 0; i < 1000; i++) {
        snprintf(id, sizeof(id), "%032x", (unsigned)i);
        api_hashes_keep(hashes, id, 1, digest_ctx_new(DIGEST_SHA256));
    }
    snprintf(id, sizeof(id), "%032x", 0U);
    assert_null(api_hashes_take(hashes, id, 1)); /* made room */
    snprintf(id, sizeof(id), "%032x", 999U);
    ctx = api_hashes_take(hashes, id, 1);
    assert_non_null(ctx);
    digest_ctx_free(&ctx);
    api_hashes_free(&hashes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_blob),
        cmocka_unit_test(test_upload),
        cmocka_unit_test(test_sum_of_another_boot_is_ignored),
        cmocka_unit_test(test_survey),
        cmocka_unit_test(test_a_list_has_each_blob_once),
        cmocka_unit_test(test_what_goes_may_come_back),
        cmocka_unit_test(test_what_is_checked_is_what_is_there),
        cmocka_unit_test(test_a_store_that_is_not_open),
        cmocka_unit_test(test_a_store_that_was_moved_away),
        cmocka_unit_test(test_whose_it_is),
        cmocka_unit_test(test_the_lock_of_what_is_not_there),
        cmocka_unit_test(test_running_hashes),
    };

    return cmocka_run_group_tests_name("store", tests, setup, teardown);
}
