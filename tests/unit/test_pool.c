#include "check.h"

#include "base/container.h"
#include "base/pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <unistd.h>

static struct loop *loop;
static struct pool *pool;
static int order[64], order_count;
static atomic_int started;

struct job {
    struct pool_job job;
    int number, place; /* place: how many had begun before */
    bool blocked;      /* were the signals? */
    struct job *then;
};

static int setup(void **state)
{
    (void)state;
    loop = loop_new();
    order_count = 0;
    started = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    pool_free(&pool);
    loop_free(&loop);
    return 0;
}

static void work(struct pool_job *job)
{
    sigset_t set;

    CONTAINER_OF(job, struct job, job)->place = started++;
    pthread_sigmask(SIG_SETMASK, NULL, &set);
    CONTAINER_OF(job, struct job, job)->blocked =
        sigismember(&set, SIGTERM) && sigismember(&set, SIGHUP);
}

static void done(struct pool_job *job)
{
    struct job *j = CONTAINER_OF(job, struct job, job);

    order[order_count++] = j->number;
    if (j->then)
        pool_submit(pool, &j->then->job);
    if (pool_pending(pool) == 0)
        loop_stop(loop);
}

static void test_one_thread_keeps_the_order(void **state)
{
    struct job jobs[64] = {0};

    (void)state;
    assert_int_equal(pool_new(loop, 1, &pool), 0);
    for (int i = 0; i < 64; i++) {
        jobs[i] = (struct job){.job = {.work = work, .done = done}, .number = i};
        pool_submit(pool, &jobs[i].job);
        assert_int_equal(pool_pending(pool), i + 1);
    }
    loop_run(loop);
    assert_int_equal(order_count, 64);
    for (int i = 0; i < 64; i++) {
        assert_int_equal(order[i], i);
        assert_int_equal(jobs[i].place, i);
        assert_true(jobs[i].blocked);
    }
}

/* The mask of whoever starts the pool is as it was. */
static void test_own_signals_stay_open(void **state)
{
    sigset_t set;

    (void)state;
    assert_int_equal(pool_new(loop, 2, &pool), 0);
    pthread_sigmask(SIG_SETMASK, NULL, &set);
    assert_false(sigismember(&set, SIGTERM));
}

static void test_done_may_submit_again(void **state)
{
    struct job last = {.job = {.work = work, .done = done}, .number = 2};
    struct job first = {.job = {.work = work, .done = done}, .number = 1, .then = &last};

    (void)state;
    assert_int_equal(pool_new(loop, 2, &pool), 0);
    pool_submit(pool, &first.job);
    loop_run(loop);
    assert_int_equal(order_count, 2);
    assert_int_equal(order[1], 2);
}

static void test_free_finishes_a_chain(void **state)
{
    struct job jobs[10] = {0};

    (void)state;
    assert_int_equal(pool_new(loop, 2, &pool), 0);
    for (int i = 0; i < 10; i++)
        jobs[i] = (struct job){
            .job = {.work = work, .done = done}, .number = i, .then = i < 9 ? &jobs[i + 1] : NULL};
    pool_submit(pool, &jobs[0].job);
    pool_free(&pool);
    assert_null(pool);
    assert_int_equal(order_count, 10);
    for (int i = 0; i < 10; i++)
        assert_int_equal(order[i], i);
}

static void done_frees(struct pool_job *job)
{
    free(job);
    if (pool_pending(pool) == 0)
        loop_stop(loop);
}

static void test_done_may_free_the_job(void **state)
{
    (void)state;
    assert_int_equal(pool_new(loop, 2, &pool), 0);
    for (int i = 0; i < 20; i++) {
        struct job *j = calloc(1, sizeof(*j));

        assert_non_null(j);
        j->job = (struct pool_job){.work = work, .done = done_frees};
        pool_submit(pool, &j->job);
    }
    loop_run(loop);
    assert_int_equal(pool_pending(pool), 0);
}

/* A job that waits for the loop to go on: the loop is not held up by it. */
static int gate[2];

static void work_gate(struct pool_job *job)
{
    char c;

    CONTAINER_OF(job, struct job, job)->number = (int)read(gate[0], &c, 1);
}

static void open_gate(struct loop_timer *timer)
{
    (void)timer;
    order[order_count++] = 100;
    assert_int_equal(write(gate[1], "x", 1), 1);
}

static void test_loop_runs_while_a_job_blocks(void **state)
{
    struct job slow = {.job = {.work = work_gate, .done = done}};
    struct loop_timer timer = {.fire = open_gate};

    (void)state;
    assert_int_equal(pipe(gate), 0);
    assert_int_equal(pool_new(loop, 1, &pool), 0);
    pool_submit(pool, &slow.job);
    loop_timer_set(loop, &timer, 0);
    loop_run(loop);
    assert_int_equal(order_count, 2);
    assert_int_equal(order[0], 100);
    assert_int_equal(order[1], 1);
    close(gate[0]);
    close(gate[1]);
}

static void test_free_takes_null_inside(void **state)
{
    struct pool *none = NULL;

    (void)state;
    pool_free(&none);
    assert_null(none);
}

#define with_loop(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_loop(test_one_thread_keeps_the_order),    with_loop(test_own_signals_stay_open),
        with_loop(test_done_may_submit_again),         with_loop(test_free_finishes_a_chain),
        with_loop(test_done_may_free_the_job),         with_loop(test_loop_runs_while_a_job_blocks),
        cmocka_unit_test(test_free_takes_null_inside),
    };

    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
