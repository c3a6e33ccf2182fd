#include "check.h"

#include "api/pipe.h"
#include "base/file.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

#define BODY_BYTES (5u << 20)

static struct loop *loop;
static struct pool *pool;
static struct pipes *pipes;
static char path[64] = "", *body;
static int ready_count, ready_err;
static struct left {
    int count;
    uint64_t size;
    struct digest digest;
} left;

static void ready(void *ctx, int err)
{
    (void)ctx;
    ready_count++;
    ready_err = err;
    loop_stop(loop);
}

static void on_left(void *ctx, uint64_t size, struct digest_ctx **hash)
{
    assert_ptr_equal(ctx, body);
    left.count++;
    left.size = size;
    digest_ctx_peek(*hash, &left.digest);
    loop_stop(loop);
}

static int setup(void **state)
{
    (void)state;
    loop = loop_new();
    assert_int_equal(pool_new(loop, 2, &pool), 0);
    pipes = pipes_new(pool);
    body = malloc(BODY_BYTES);
    assert_non_null(body);
    for (size_t i = 0; i < BODY_BYTES; i++)
        body[i] = (char)(i ^ i >> 9 ^ i >> 17);
    ready_count = ready_err = 0;
    left = (struct left){0};
    strcpy(path, "/tmp/entrepot-unit-XXXXXX");
    close(mkstemp(path));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    pool_free(&pool);
    pipes_free(&pipes); /* checks that every piece came back */
    loop_free(&loop);
    free(body);
    unlink(path);
    return 0;
}

static struct pipe *open_pipe(int flags, uint64_t whole)
{
    struct pipe_setup setup = {.pipes = pipes,
                               .fd = open(path, flags | O_APPEND | O_CLOEXEC),
                               .hash = digest_ctx_new(DIGEST_SHA256),
                               .whole = whole,
                               .ready = ready};

    assert_true(setup.fd >= 0);
    return pipe_new(&setup);
}

/* Puts `len` bytes as a connection would: by copy and in place by turns. */
static void put(struct pipe *p, const char *data, size_t len)
{
    bool in_place = false;

    while (len > 0) {
        size_t piece = len < PIPE_PUT_MAX - 7 ? len : PIPE_PUT_MAX - 7, room;
        const char *from = data;

        if (in_place) {
            char *at = pipe_room(p, &room);

            assert_true(room >= piece);
            memcpy(at, data, piece);
            from = at;
        }
        in_place = !in_place;
        if (!pipe_put(p, from, piece))
            loop_run(loop); /* until there is room */
        data += piece;
        len -= piece;
    }
}

static void assert_file(uint64_t len)
{
    struct digest wanted, found;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    assert_int_equal(lseek(fd, 0, SEEK_END), len);
    digest_of(DIGEST_SHA256, body, len, &wanted);
    assert_int_equal(digest_of_file(DIGEST_SHA256, fd, len, &found), 0);
    assert_true(digest_equal(&wanted, &found));
    close(fd);
}

static void assert_hash(const struct pipe *p, uint64_t len)
{
    struct digest wanted, found;

    digest_of(DIGEST_SHA256, body, len, &wanted);
    digest_ctx_peek(pipe_hash(p), &found);
    assert_true(digest_equal(&wanted, &found));
}

static void bytes_arrive_in_order(void **state)
{
    struct pipe *p = open_pipe(O_RDWR, 0);

    (void)state;
    put(p, body, BODY_BYTES);
    pipe_end(p);
    while (pipe_written(p) < BODY_BYTES || !pipe_idle(p))
        loop_run(loop);
    assert_int_equal(ready_err, 0);
    assert_file(BODY_BYTES);
    assert_hash(p, BODY_BYTES);
    pipe_leave(&p, NULL, NULL);
    assert_null(p);
}

static void nothing_is_ready_at_once(void **state)
{
    struct pipe *p = open_pipe(O_RDWR, 0);

    (void)state;
    pipe_end(p);
    assert_int_equal(ready_count, 1);
    pipe_leave(&p, NULL, NULL);
}

static void nothing_comes_after_the_end(void **state)
{
    struct pipe *p = open_pipe(O_RDWR, 0);
    int status;
    pid_t pid;

    (void)state;
    pipe_end(p);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(2);
        pipe_put(p, body, 10);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    pipe_leave(&p, NULL, NULL);
}

static void a_small_body_waits_for_its_job(void **state)
{
    struct pipe *p = open_pipe(O_RDWR, 1000);

    (void)state;
    put(p, body, 1000);
    assert_true(pipe_idle(p));
    assert_int_equal(pipe_written(p), 0);
    assert_int_equal(pipe_write_rest(p), 0);
    assert_int_equal(pipe_write_rest(p), 0); /* once */
    assert_file(1000);
    assert_hash(p, 1000);
    pipe_leave(&p, on_left, body);
    assert_int_equal(left.size, 1000);
    assert_file(1000);
}

static void who_leaves_early_loses_nothing(void **state)
{
    struct pipe *p = open_pipe(O_RDWR, 0);
    struct digest wanted;

    (void)state;
    put(p, body, 300000);
    pipe_leave(&p, on_left, body);
    while (left.count == 0)
        loop_run(loop);
    assert_int_equal(left.size, 300000);
    digest_of(DIGEST_SHA256, body, 300000, &wanted);
    assert_true(digest_equal(&wanted, &left.digest));
    assert_file(300000);
}

static void a_failed_write_is_told_once(void **state)
{
    struct pipe *p = open_pipe(O_RDONLY, 0);

    (void)state;
    assert_true(pipe_put(p, body, 10));
    assert_true(pipe_put(p, body, 10)); /* while a thread fails with the first */
    loop_run(loop);
    assert_int_equal(ready_count, 1);
    assert_int_not_equal(ready_err, 0);
    assert_int_equal(pipe_written(p), 0);
    assert_false(pipe_clean(p)); /* ftruncate(2) is refused, too */
    pipe_leave(&p, NULL, NULL);
}

/* Many at once: what is beyond the limit gets room for one read, and none is stuck. */
static void memory_is_shared(void **state)
{
    struct pipe *all[40];
    size_t room, large = 0;

    (void)state;
    for (size_t i = 0; i < 40; i++) {
        all[i] = open_pipe(O_RDWR, 0);
        pipe_room(all[i], &room);
        assert_true(room >= PIPE_PUT_MAX);
        large += room > PIPE_PUT_MAX;
    }
    assert_in_range(large, 1, 39);
    for (size_t i = 0; i < 40; i++)
        pipe_leave(&all[i], NULL, NULL);
    all[0] = open_pipe(O_RDWR, 0);
    pipe_room(all[0], &room);
    assert_true(room > PIPE_PUT_MAX);
    pipe_leave(&all[0], NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(bytes_arrive_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_is_ready_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_comes_after_the_end, setup, teardown),
        cmocka_unit_test_setup_teardown(a_small_body_waits_for_its_job, setup, teardown),
        cmocka_unit_test_setup_teardown(who_leaves_early_loses_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failed_write_is_told_once, setup, teardown),
        cmocka_unit_test_setup_teardown(memory_is_shared, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
