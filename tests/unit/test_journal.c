/* Lines of a journal, files of them as a whole, and records as lines. */
#include "check.h"
#include "check_store.h"

#include "meta/records.h"
#include "meta/witness.h"
#include "store/journal.h"
#include "store/layout.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define ID    "0123456789abcdef0123456789abcdef"
#define OTHER "fedcba9876543210fedcba9876543210"
#define TYPE  "application/vnd.oci.image.manifest.v1+json"
#define HEX64 "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static char directory[64];
static int dir;
static struct store *store;
static struct str text;

static int setup(void **state)
{
    (void)state;
    check_directory(directory);
    dir = open(directory, O_RDONLY | O_DIRECTORY);
    store = check_store(directory);
    return dir < 0;
}

static int teardown(void **state)
{
    (void)state;
    close(dir);
    store_free(&store);
    str_free(&text);
    check_remove(directory);
    return 0;
}

static struct journal_line line_of(enum journal_kind kind, uint64_t number)
{
    struct journal_line l = {.kind = kind, .number = number, .database = ID, .store = OTHER};

    l.repo = "hosted";
    l.image = "team/image";
    l.tag = "v1.0";
    l.media_type = TYPE;
    l.size = 7;
    l.time = 1700000000;
    l.count = kind == JOURNAL_BEGIN ? 1 : 0;
    assert_int_equal(digest_parse("sha256:" HEX64, &l.digest), 0);
    return l;
}

/* What is on the disk of others must be read for ever. */
static void test_lines_are_these(void **state)
{
    static const struct {
        enum journal_kind kind;
        const char *line;
    } lines[] = {
        {JOURNAL_BEGIN, "c1ad24b9 5 J 1 " ID " " OTHER "\n"},
        {JOURNAL_MANIFEST, "4e75bf57 5 M hosted team/image sha256:" HEX64 " 7 " TYPE "\n"},
        {JOURNAL_MANIFEST_GONE, "13d558e9 5 m hosted team/image sha256:" HEX64 "\n"},
        {JOURNAL_TAG, "7a5270e3 5 T hosted team/image v1.0 sha256:" HEX64 " 1700000000\n"},
        {JOURNAL_TAG_GONE, "fa463874 5 t hosted team/image v1.0\n"},
        {JOURNAL_END, "c6b4bb65 5 E 0 0\n"},
        {JOURNAL_LOST, "b5405cf7 5 L 0\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        struct journal_line l = line_of(lines[i].kind, 5), got;

        str_reset(&text);
        journal_put(&text, &l);
        assert_string_equal(text.data, lines[i].line);
        assert_int_equal(journal_take(text.data, text.len - 1, &got), 0);
        assert_int_equal(got.kind, l.kind);
        assert_int_equal(got.number, 5);
        if (l.kind == JOURNAL_TAG || l.kind == JOURNAL_MANIFEST) {
            assert_string_equal(got.repo, l.repo);
            assert_string_equal(got.image, l.image);
            assert_true(digest_equal(&got.digest, &l.digest));
        }
        if (l.kind == JOURNAL_TAG)
            assert_true(got.time == l.time && strcmp(got.tag, l.tag) == 0);
        if (l.kind == JOURNAL_MANIFEST)
            assert_true(got.size == 7 && strcmp(got.media_type, TYPE) == 0);
    }
}

/* Any bit of it, and any end too early. */
static void test_a_changed_line_is_none(void **state)
{
    struct journal_line l = line_of(JOURNAL_TAG, 5), got;
    struct str copy = {0};

    (void)state;
    journal_put(&text, &l);
    for (size_t bit = 0; bit < 8 * (text.len - 1); bit++) {
        str_reset(&copy);
        str_append(&copy, text.data, text.len - 1);
        copy.data[bit / 8] = (char)(copy.data[bit / 8] ^ 1 << bit % 8);
        assert_int_equal(journal_take(copy.data, copy.len, &got), ERR_DAMAGED);
    }
    for (size_t len = 0; len < text.len - 1; len++) {
        str_reset(&copy);
        str_append(&copy, text.data, text.len);
        assert_int_equal(journal_take(copy.data, len, &got), ERR_DAMAGED);
    }
    str_free(&copy);
}

/* The sum is right and the text is not: whoever writes it by hand. */
static void test_what_is_no_name_is_no_line(void **state)
{
    static const char *const bad[] = {"../x", "", "A/B", "a b", "a\tb"};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct journal_line l = line_of(JOURNAL_TAG_GONE, 5), got;

        l.image = bad[i];
        str_reset(&text);
        journal_put(&text, &l);
        assert_int_equal(journal_take(text.data, text.len - 1, &got), ERR_DAMAGED);
        l = line_of(JOURNAL_TAG_GONE, 5);
        l.tag = i == 2 ? "a/b" : bad[i];
        str_reset(&text);
        journal_put(&text, &l);
        assert_int_equal(journal_take(text.data, text.len - 1, &got), ERR_DAMAGED);
    }
}

static void put(enum journal_kind kind, uint64_t number, uint64_t count)
{
    struct journal_line l = line_of(kind, number);

    l.count = kind == JOURNAL_BEGIN ? 1 : count;
    l.until = number;
    journal_put(&text, &l);
}

static void counting(void *ctx, const struct journal_line *line)
{
    (void)line;
    ++*(unsigned *)ctx;
}

static void look(struct journal_file *f, unsigned lines)
{
    int fd = openat(dir, JOURNAL_FILE, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    unsigned count = 0;

    assert_int_equal(write(fd, text.data, text.len), text.len);
    close(fd);
    assert_int_equal(journal_read(store, counting, &count, f), 0);
    assert_int_equal(count, lines);
}

/* Two lines as of number 5, then the changes 6 and 7. */
static void whole(void)
{
    str_reset(&text);
    put(JOURNAL_BEGIN, 5, 0);
    put(JOURNAL_MANIFEST, 5, 0);
    put(JOURNAL_TAG, 5, 0);
    put(JOURNAL_END, 5, 2);
    put(JOURNAL_MANIFEST_GONE, 6, 0);
    put(JOURNAL_TAG_GONE, 7, 0);
}

static void test_a_file_as_a_whole(void **state)
{
    struct journal_file f;

    (void)state;
    assert_int_equal(journal_read(store, NULL, NULL, &f), ERR_NOT_FOUND);
    whole();
    look(&f, 4);
    assert_true(journal_whole(&f) && !f.torn && f.first == 5 && f.last == 7 && f.settled == 5);
    assert_string_equal(f.database, ID);
    assert_string_equal(f.store, OTHER);
    assert_int_equal(journal_glance(store, &f), 0);
    assert_true(f.last == 7 && strcmp(f.database, ID) == 0);
    look(&f, 4);
    assert_true(!journal_ahead(&f, 7) && journal_ahead(&f, 6));
    put(JOURNAL_LOST, 8, 7); /* nothing was lost */
    put(JOURNAL_LOST, 9, 6);
    look(&f, 4);
    assert_true(journal_whole(&f) && f.last == 9 && f.changed == 7);
    /* The one that fell back has number 9 or more by now; 7 is the newest copy. */
    assert_true(journal_ahead(&f, 6) && !journal_ahead(&f, 7) && journal_ahead(&f, 9));
    put(JOURNAL_TAG, 10, 0);
    look(&f, 5);
    assert_true(journal_ahead(&f, 7) && journal_ahead(&f, 10));
}

static void test_a_torn_end_is_left_out(void **state)
{
    struct journal_file f;
    size_t before;

    (void)state;
    whole();
    before = text.len;
    put(JOURNAL_TAG, 8, 0);
    for (size_t len = before + 1; len < text.len; len++) {
        text.len = len;
        look(&f, 4);
        assert_true(f.torn && f.last == 7 && f.bad == 0);
        assert_int_equal(journal_glance(store, &f), 0);
        assert_int_equal(f.last, 7);
        whole();
        put(JOURNAL_TAG, 8, 0);
    }
}

static void test_what_is_missing_is_seen(void **state)
{
    struct journal_file f;

    (void)state;
    whole(); /* a change */
    put(JOURNAL_TAG, 9, 0);
    look(&f, 5);
    assert_true(f.gap && !journal_whole(&f));
    str_reset(&text); /* a line of what was written whole */
    put(JOURNAL_BEGIN, 5, 0);
    put(JOURNAL_TAG, 5, 0);
    put(JOURNAL_END, 5, 2);
    look(&f, 1);
    assert_false(journal_whole(&f));
    str_reset(&text); /* its end */
    put(JOURNAL_BEGIN, 5, 0);
    put(JOURNAL_TAG, 5, 0);
    look(&f, 1);
    assert_false(journal_whole(&f));
    whole(); /* the first line */
    memmove(text.data, strchr(text.data, '\n') + 1, strlen(strchr(text.data, '\n')));
    text.len = strlen(text.data);
    look(&f, 4);
    assert_false(journal_whole(&f));
    whole(); /* a line in the middle is damaged */
    text.data[300] ^= 1;
    look(&f, 3);
    assert_true(f.bad == 1 && !journal_whole(&f));
}

/* Longer than any line, and not text. */
static void test_garbage(void **state)
{
    struct journal_file f;

    (void)state;
    whole();
    for (int i = 0; i < 5000; i++)
        str_putc(&text, (char)(i % 7 == 0 ? 0 : 'x'));
    str_putc(&text, '\n');
    put(JOURNAL_TAG, 8, 0);
    look(&f, 5);
    assert_true(f.bad > 0 && f.last == 8 && !journal_whole(&f));
}

/* What was appended last is read; a new one counts when it is placed, and not before. */
static void test_a_new_one_takes_the_place_of_the_old(void **state)
{
    struct str more = {0};
    struct journal_file f;

    (void)state;
    assert_int_equal(journal_append(store, &text), ERR_NOT_FOUND);
    assert_int_equal(journal_sync(store), ERR_NOT_FOUND);
    assert_int_equal(journal_new_place(store), ERR_NOT_FOUND);
    assert_int_equal(journal_aside(store), ERR_NOT_FOUND);
    whole();
    look(&f, 4);
    str_reset(&text);
    put(JOURNAL_TAG, 8, 0);
    assert_int_equal(journal_append(store, &text), 0);
    assert_int_equal(journal_sync(store), 0);
    assert_int_equal(journal_read(store, NULL, NULL, &f), 0);
    assert_true(f.last == 8 && journal_whole(&f));
    str_puts(&more, "of one that was never placed\n");
    assert_int_equal(journal_new_write(store, &more, true), 0);
    whole();
    assert_int_equal(journal_new_write(store, &text, true), 0);
    str_reset(&text);
    put(JOURNAL_TAG, 8, 0);
    put(JOURNAL_TAG, 9, 0);
    assert_int_equal(journal_new_write(store, &text, false), 0);
    assert_int_equal(journal_read(store, NULL, NULL, &f), 0);
    assert_true(f.last == 8);
    assert_int_equal(journal_new_place(store), 0);
    assert_int_equal(journal_read(store, NULL, NULL, &f), 0);
    assert_true(f.last == 9 && journal_whole(&f));
    assert_int_equal(journal_aside(store), 0);
    assert_int_equal(journal_glance(store, &f), ERR_NOT_FOUND);
    assert_int_equal(mkdirat(dir, JOURNAL_FILE, 0700), 0);
    assert_int_equal(journal_append(store, &text), ERR_CONFLICT);
    assert_int_equal(journal_read(store, NULL, NULL, &f), ERR_CONFLICT);
    str_free(&more);
}

static void test_records_are_lines(void **state)
{
    struct record_tag tag = {.size = 7, .time = 9, .media_type = TYPE};
    struct record_manifest manifest = {.size = 7, .time = 9, .contents = {.media_type = TYPE}};
    struct journal_line l;
    struct str value = {0};
    struct meta_key key;

    (void)state;
    assert_int_equal(digest_parse("sha256:" HEX64, &tag.digest), 0);
    key = meta_tag("hosted", "team/image", "v1.0");
    record_tag_encode(&value, &tag);
    assert_true(witness_line(&key, value.data, value.len, &l));
    assert_true(l.kind == JOURNAL_TAG && l.time == 9 && digest_equal(&l.digest, &tag.digest));
    assert_string_equal(l.tag, "v1.0");
    assert_true(witness_key(&l).kind == META_TAG);
    assert_true(witness_line(&key, NULL, 0, &l));
    assert_int_equal(l.kind, JOURNAL_TAG_GONE);
    assert_false(witness_line(&key, "x", 1, &l));
    key = meta_at(META_MANIFEST, "hosted", "team/image", &tag.digest);
    record_manifest_encode(&value, &manifest);
    assert_true(witness_line(&key, value.data, value.len, &l));
    assert_true(l.kind == JOURNAL_MANIFEST && l.size == 7 && strcmp(l.media_type, TYPE) == 0);
    assert_true(witness_key(&l).kind == META_MANIFEST);
    key.kind = META_LINK;
    assert_false(witness_line(&key, value.data, value.len, &l));
    str_free(&value);
}

static void test_the_last_number(void **state)
{
    char path[80];
    struct db *db;
    uint64_t number = 1;

    (void)state;
    snprintf(path, sizeof(path), "%s/db", directory);
    assert_int_equal(db_open(path, KV_MAKE, &db), 0);
    assert_int_equal(witness_number(db, "main", &number), 0);
    assert_int_equal(number, 0);
    witness_number_put(db, "main", 0x123456789abcdefULL);
    assert_int_equal(db_batch_commit(db), 0);
    assert_int_equal(witness_number(db, "main", &number), 0);
    assert_true(number == 0x123456789abcdefULL);
    assert_int_equal(witness_number(db, "two", &number), 0);
    assert_int_equal(number, 0);
    db_close(&db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_lines_are_these, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_changed_line_is_none, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_no_name_is_no_line, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_file_as_a_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_torn_end_is_left_out, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_missing_is_seen, setup, teardown),
        cmocka_unit_test_setup_teardown(test_garbage, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_new_one_takes_the_place_of_the_old, setup, teardown),
        cmocka_unit_test_setup_teardown(test_records_are_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_last_number, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
