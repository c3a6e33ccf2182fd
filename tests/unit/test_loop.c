#include "check.h"

#include "base/container.h"
#include "base/loop.h"
#include "base/pool.h"

#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <unistd.h>

static struct loop *loop;
static int order[16], order_count;

static void note(int what)
{
    order[order_count++] = what;
}

struct numbered {
    struct loop_timer timer;
    int number;
};

static void fire(struct loop_timer *timer)
{
    note(CONTAINER_OF(timer, struct numbered, timer)->number);
    if (order_count == 4)
        loop_stop(loop);
}

static void test_timers(void **state)
{
    struct numbered t[6] = {0};

    (void)state;
    loop = loop_new();
    order_count = 0;
    for (int i = 0; i < 6; i++) {
        t[i].timer.fire = fire;
        t[i].number = i;
        loop_timer_set(loop, &t[i].timer, (uint64_t)(20 - 3 * i));
    }
    loop_timer_cancel(loop, &t[5].timer);
    loop_timer_cancel(loop, &t[5].timer); /* twice is nothing */
    loop_timer_cancel(loop, &t[2].timer);
    loop_timer_set(loop, &t[4].timer, 30); /* moved to the end */
    loop_run(loop);
    assert_int_equal(order_count, 4);
    assert_int_equal(order[0], 3);
    assert_int_equal(order[1], 1);
    assert_int_equal(order[2], 0);
    assert_int_equal(order[3], 4);
    loop_free(&loop);
}

static void test_many_timers_fire_in_order(void **state)
{
    enum { COUNT = 500 };
    struct numbered t[COUNT] = {0};
    uint64_t last = 0;

    (void)state;
    loop = loop_new();
    order_count = 100; /* fire() is not used here */
    for (int i = 0; i < COUNT; i++) {
        t[i].timer.fire = fire;
        loop_timer_set(loop, &t[i].timer, (uint64_t)((i * 7919) % 1000) + 100000);
    }
    for (int i = 0; i < COUNT; i += 3)
        loop_timer_cancel(loop, &t[i].timer);
    for (int i = 0; i < COUNT; i++) {
        struct loop_timer *soonest = NULL;

        for (int j = 0; j < COUNT; j++)
            if (t[j].timer.slot == 1)
                soonest = &t[j].timer;
        if (!soonest)
            break;
        assert_true(soonest->at_ms >= last);
        last = soonest->at_ms;
        loop_timer_cancel(loop, soonest);
    }
    loop_free(&loop);
}

static void fire_again(struct loop_timer *timer)
{
    if (++order_count < 1000)
        loop_timer_set(loop, timer, 0);
    else
        loop_stop(loop);
}

static void stop_at_round_end(void *ctx)
{
    (void)ctx;
    loop_stop(loop);
}

/* A timer that sets itself again with no delay leaves the round its end. */
static void test_eager_timer_lets_the_round_end(void **state)
{
    struct loop_timer timer = {.fire = fire_again};

    (void)state;
    loop = loop_new();
    order_count = 0;
    loop_timer_set(loop, &timer, 0);
    loop_after_round(loop, stop_at_round_end, NULL);
    loop_run(loop);
    assert_int_equal(order_count, 1);
    loop_timer_cancel(loop, &timer);
    loop_free(&loop);
}

struct pipe_watch {
    struct loop_fd watch;
    int write_fd;
    struct pipe_watch *other;
};

static void pipe_ready(struct loop_fd *watch, uint32_t events)
{
    struct pipe_watch *p = CONTAINER_OF(watch, struct pipe_watch, watch);

    (void)events;
    note(1);
    loop_fd_remove(loop, &p->other->watch); /* its event of this round must not arrive */
    loop_free_later(loop, malloc(10));
    loop_stop(loop);
}

static void test_removed_watch_gets_no_event(void **state)
{
    struct pipe_watch a = {0}, b = {0};
    int fds[2];

    (void)state;
    loop = loop_new();
    order_count = 0;
    assert_int_equal(pipe(fds), 0);
    a.watch = (struct loop_fd){.fd = fds[0], .ready = pipe_ready};
    a.write_fd = fds[1];
    a.other = &b;
    assert_int_equal(pipe(fds), 0);
    b.watch = (struct loop_fd){.fd = fds[0], .ready = pipe_ready};
    b.write_fd = fds[1];
    b.other = &a;
    assert_int_equal(loop_fd_add(loop, &a.watch, EPOLLIN), 0);
    assert_int_equal(loop_fd_add(loop, &b.watch, EPOLLIN), 0);
    assert_int_equal(write(a.write_fd, "x", 1), 1);
    assert_int_equal(write(b.write_fd, "x", 1), 1);
    loop_run(loop);
    assert_int_equal(order_count, 1);
    loop_free(&loop);
    close(a.watch.fd);
    close(a.write_fd);
    close(b.watch.fd);
    close(b.write_fd);
}

static void after_two(void *ctx)
{
    note(*(int *)ctx);
    loop_stop(loop);
}

static void after_one(void *ctx)
{
    static int two = 2;

    note(*(int *)ctx);
    loop_after_round(loop, after_two, &two); /* belongs to the same round's end */
}

static void caught(int signal_number, void *ctx)
{
    static int one = 1;

    (void)ctx;
    note(signal_number);
    loop_after_round(loop, after_one, &one);
}

static void test_signals_and_round_ends(void **state)
{
    sigset_t set;

    (void)state;
    loop = loop_new();
    order_count = 0;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    assert_int_equal(loop_signals(loop, &set, caught, NULL), 0);
    raise(SIGUSR2);
    loop_run(loop);
    assert_int_equal(order_count, 3);
    assert_int_equal(order[0], SIGUSR2);
    assert_int_equal(order[1], 1);
    assert_int_equal(order[2], 2);
    loop_free(&loop);
}

struct job {
    struct pool_job job;
    pthread_t ran_on;
    int result;
};

static pthread_barrier_t barrier;
static int done_count;

static void work(struct pool_job *job)
{
    struct job *j = CONTAINER_OF(job, struct job, job);

    pthread_barrier_wait(&barrier); /* both at once: there are two threads */
    j->ran_on = pthread_self();
    j->result = 42;
}

static void done(struct pool_job *job)
{
    struct job *j = CONTAINER_OF(job, struct job, job);

    assert_int_equal(j->result, 42);
    assert_false(pthread_equal(j->ran_on, pthread_self()));
    if (++done_count == 2)
        loop_stop(loop);
}

static void test_pool(void **state)
{
    struct job jobs[4] = {0};
    struct pool *pool = NULL;

    (void)state;
    loop = loop_new();
    done_count = 0;
    pthread_barrier_init(&barrier, NULL, 2);
    assert_int_equal(pool_new(loop, 2, &pool), 0);
    for (int i = 0; i < 2; i++) {
        jobs[i].job.work = work;
        jobs[i].job.done = done;
        pool_submit(pool, &jobs[i].job);
    }
    assert_int_equal(pool_pending(pool), 2);
    loop_run(loop);
    assert_int_equal(done_count, 2);
    assert_int_equal(pool_pending(pool), 0);
    for (int i = 2; i < 4; i++) {
        jobs[i].job.work = work;
        jobs[i].job.done = done;
        pool_submit(pool, &jobs[i].job);
    }
    pool_free(&pool); /* waits, and tells */
    assert_int_equal(done_count, 4);
    assert_null(pool);
    loop_free(&loop);
    pthread_barrier_destroy(&barrier);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timers),
        cmocka_unit_test(test_many_timers_fire_in_order),
        cmocka_unit_test(test_eager_timer_lets_the_round_end),
        cmocka_unit_test(test_removed_watch_gets_no_event),
        cmocka_unit_test(test_signals_and_round_ends),
        cmocka_unit_test(test_pool),
    };

    return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
