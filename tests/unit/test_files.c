/* Files that operations need: at once where the kernel knows, else by a thread, in the order of
 * asking. */
#include "catalog/files.h"

#include "base/mem.h"
#include "catalog/turn.h"
#include "check.h"
#include "store/layout.h"
#include "store/store.h"

#include <sys/stat.h>
#include <unistd.h>

#define HERE 0 /* the store that is open, and one that is away */
#define AWAY 1

static char directory[64];
static struct catalog c;
static struct conf conf;
static struct file_ask *order[8];
static size_t answered, wanted;

static int setup(void **state)
{
    static char here[] = "here", away[] = "away", nowhere[] = "/nonexistent/store";

    (void)state;
    check_directory(directory);
    memset(&c, 0, sizeof(c));
    conf = (struct conf){.store_count = 2, .stores = mem_alloc_array(2, sizeof(*conf.stores))};
    conf.stores[HERE] = (struct conf_store){.name = here, .path = directory};
    conf.stores[AWAY] = (struct conf_store){.name = away, .path = nowhere};
    c.conf = &conf;
    c.loop = loop_new();
    assert_int_equal(pool_new(c.loop, 2, &c.pool), 0);
    for (size_t i = 0; i < 2; i++)
        c.stores[i] = store_new(&conf.stores[i]);
    assert_int_equal(store_make(&conf.stores[HERE], (uid_t)-1, (gid_t)-1), 0);
    assert_int_equal(store_open(c.stores[HERE], STORE_WRITE), 0);
    c.files = files_new(&c);
    answered = wanted = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    pool_free(&c.pool);
    files_end(c.files);
    files_free(&c.files);
    for (size_t i = 0; i < 2; i++)
        store_free(&c.stores[i]);
    free(conf.stores);
    loop_free(&c.loop);
    check_remove(directory);
    return 0;
}

static void done(struct file_ask *ask)
{
    if (answered < sizeof(order) / sizeof(order[0]))
        order[answered] = ask;
    if (++answered == wanted)
        loop_stop(c.loop);
}

static struct file_ask asked(enum file_task task, size_t store, const struct digest *digest)
{
    return (struct file_ask){
        .task = task, .store = store, .digest = *digest, .fd = -1, .done = done};
}

static void until(size_t count)
{
    wanted = count;
    if (answered < wanted)
        loop_run(c.loop);
    assert_int_equal(answered, count);
}

static bool is_here(const struct digest *digest)
{
    uint64_t size;

    return store_blob_size(c.stores[HERE], digest, &size) == 0;
}

static void put(const char *content, struct digest *digest_r)
{
    char path[LAYOUT_PATH_MAX], full[LAYOUT_PATH_MAX + 65];
    FILE *file;

    digest_of(DIGEST_SHA256, content, strlen(content), digest_r);
    snprintf(full, sizeof(full), "%s/%s", directory, layout_blob(digest_r, path));
    file = fopen(full, "w");
    assert_non_null(file);
    fputs(content, file);
    fclose(file);
    assert_true(is_here(digest_r));
}

/* Before Linux 5.12, and under valgrind, nothing is known without a thread. */
static bool kernel_tells(const struct digest *digest)
{
    uint64_t size;

    return store_blob_size_cached(c.stores[HERE], digest, &size) == 0;
}

static void test_what_the_kernel_knows_is_found_at_once(void **state)
{
    struct digest d;
    struct file_ask look;

    (void)state;
    put("content", &d);
    look = asked(FILE_LOOK, HERE, &d);
    files_ask(c.files, &look);
    if (kernel_tells(&d))
        assert_int_equal(answered, 1);
    until(1);
    assert_true(look.err == 0 && look.size == 7 && files_holds(c.files, &look));
    files_forget(c.files, &look);
    assert_false(files_holds(c.files, &look));
}

static void test_what_has_moved_does_not_hold(void **state)
{
    struct digest d, copy;
    struct file_ask look, other, aside;

    (void)state;
    put("content", &d);
    memset(&copy, 0xff, sizeof(copy)); /* of a digest, bytes behind its length mean nothing */
    copy.alg = d.alg;
    memcpy(copy.bytes, d.bytes, digest_len(d.alg));
    look = asked(FILE_LOOK, HERE, &d);
    other = asked(FILE_LOOK, AWAY, &d);
    files_ask(c.files, &look);
    files_ask(c.files, &other);
    until(2);
    assert_true(files_holds(c.files, &look) && files_holds(c.files, &other));
    aside = asked(FILE_ASIDE, HERE, &copy);
    files_ask(c.files, &aside);
    assert_false(files_holds(c.files, &look)); /* as soon as it is asked */
    assert_true(files_holds(c.files, &other) && is_here(&d));
    until(3);
    assert_true(aside.err == 0 && !is_here(&d) && !files_holds(c.files, &look));
    files_forget(c.files, &look);
    files_forget(c.files, &other);
}

static void test_a_look_waits_for_what_moves(void **state)
{
    struct digest d;
    struct file_ask aside, look, back;

    (void)state;
    put("content", &d);
    aside = asked(FILE_ASIDE, HERE, &d);
    look = asked(FILE_LOOK, HERE, &d);
    back = asked(FILE_BACK, HERE, &d);
    files_ask(c.files, &aside);
    files_ask(c.files, &look);
    files_ask(c.files, &back);
    assert_int_equal(answered, 0);
    until(3);
    assert_true(order[0] == &aside && order[1] == &look && order[2] == &back);
    assert_int_equal(aside.err, 0);
    assert_int_equal(look.err, ERR_NOT_FOUND);
    assert_true(back.err == 0 && back.size == 7 && is_here(&d));
    assert_true(files_holds(c.files, &back));
    files_forget(c.files, &look);
    files_forget(c.files, &back);
}

static void test_order_is_of_each_store(void **state)
{
    struct digest d;
    struct file_ask look, behind, elsewhere;

    (void)state;
    put("content", &d);
    look = asked(FILE_LOOK, AWAY, &d);
    behind = asked(FILE_PASS, AWAY, &d);
    elsewhere = asked(FILE_PASS, HERE, &d);
    files_ask(c.files, &look);
    files_ask(c.files, &behind);
    assert_int_equal(answered, 0);
    files_ask(c.files, &elsewhere);
    assert_int_equal(answered, 1);
    until(3);
    assert_true(order[0] == &elsewhere && order[1] == &look && order[2] == &behind);
    assert_true(look.err != 0 && look.err != ERR_NOT_FOUND); /* nobody can say so */
    files_forget(c.files, &look);
}

static void test_a_store_that_opens_puts_its_own_finds_in_doubt(void **state)
{
    struct digest d;
    struct file_ask look;

    (void)state;
    put("content", &d);
    look = asked(FILE_LOOK, HERE, &d);
    files_ask(c.files, &look);
    until(1);
    files_doubt(c.files, AWAY);
    assert_true(files_holds(c.files, &look));
    files_doubt(c.files, HERE);
    assert_false(files_holds(c.files, &look));
    files_ask(c.files, &look);
    until(2);
    assert_true(look.err == 0 && files_holds(c.files, &look));
    files_forget(c.files, &look);
}

/* What waits for one disk leaves room for changes of others, in number and in bytes. */
static void test_one_store_does_not_take_the_whole_queue(void **state)
{
    struct digest d = {.alg = DIGEST_SHA256};
    struct file_ask *asks = mem_alloc_array(TURN_QUEUE_MAX, sizeof(*asks));
    size_t count;

    (void)state;
    for (count = 0; !files_crowded(c.files, AWAY); count++) {
        assert_true(count < TURN_QUEUE_MAX / 2);
        asks[count] = asked(FILE_LOOK, AWAY, &d);
        files_ask(c.files, &asks[count]);
    }
    assert_false(files_crowded(c.files, HERE));
    until(count);
    assert_false(files_crowded(c.files, AWAY));
    asks[0].bytes = TURN_QUEUE_BYTES_MAX / 2;
    files_ask(c.files, &asks[0]);
    assert_true(files_crowded(c.files, AWAY) && !files_crowded(c.files, HERE));
    until(count + 1);
    assert_false(files_crowded(c.files, AWAY));
    for (size_t i = 0; i < count; i++)
        files_forget(c.files, &asks[i]);
    free(asks);
}

static void test_what_is_to_move_moves_at_the_end(void **state)
{
    struct digest d;
    struct file_ask aside, look;

    (void)state;
    put("content", &d);
    aside = asked(FILE_ASIDE, HERE, &d);
    look = asked(FILE_LOOK, HERE, &d);
    files_ask(c.files, &aside);
    files_ask(c.files, &look);
    c.stopping = true;
    pool_free(&c.pool);
    files_end(c.files);
    assert_int_equal(answered, 2);
    assert_true(aside.err == 0 && !is_here(&d));
    files_forget(c.files, &look);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_what_the_kernel_knows_is_found_at_once),
        TEST(test_what_has_moved_does_not_hold),
        TEST(test_a_look_waits_for_what_moves),
        TEST(test_order_is_of_each_store),
        TEST(test_a_store_that_opens_puts_its_own_finds_in_doubt),
        TEST(test_one_store_does_not_take_the_whole_queue),
        TEST(test_what_is_to_move_moves_at_the_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
