/* Who asks for lists is answered by turns, one question a round. */
#include "catalog/readers.h"

#include "base/container.h"
#include "base/mem.h"
#include "check.h"

#include <string.h>

struct served {
    struct loop *loop;
    struct readers *readers;
    struct serve_return to[64];
    size_t count, rounds, last_round;
    struct serve_return again; /* asked again when it was answered; peer 0: no */
    unsigned more;
};

static void ask(struct served *s, uint64_t peer, uint64_t id)
{
    struct msg_writer w = {0};
    struct msg_reader question;

    msg_begin(&w, MSG_TAG_LIST, id);
    assert_int_equal(msg_reader_init(&question, w.buf.data, w.buf.len), 0);
    assert_int_equal(
        readers_add(s->readers, (struct serve_return){.peer = peer, .id = id}, &question), 0);
    msg_writer_free(&w);
}

static void count_round(void *ctx)
{
    ((struct served *)ctx)->rounds++;
}

static void answer(struct serve_return to, struct msg_reader *question, void *ctx)
{
    struct served *s = ctx;

    assert_int_equal(question->type, MSG_TAG_LIST);
    assert_int_equal(question->id, to.id);
    s->to[s->count++] = to;
    assert_true(s->count == 1 || s->rounds > s->last_round); /* changes had their turn */
    s->last_round = s->rounds;
    loop_after_round(s->loop, count_round, s);
    if (to.peer == s->again.peer && s->more > 0) {
        s->more--;
        ask(s, to.peer, to.id);
    }
}

static void stop(struct loop_timer *timer)
{
    (void)timer;
}

struct ending {
    struct loop_timer timer;
    struct served *served;
    size_t wanted;
};

static void end_when_served(struct loop_timer *timer)
{
    struct ending *e = CONTAINER_OF(timer, struct ending, timer);

    if (e->served->count >= e->wanted)
        loop_stop(e->served->loop);
    else
        loop_timer_set(e->served->loop, timer, 1);
}

static void run(struct served *s, size_t wanted)
{
    struct ending e = {.timer.fire = end_when_served, .served = s, .wanted = wanted};
    struct loop_timer others[4] = {{.fire = stop}, {.fire = stop}, {.fire = stop}, {.fire = stop}};

    for (size_t i = 0; i < 4; i++)
        loop_timer_set(s->loop, &others[i], 0); /* more timers in a round than questions */
    loop_timer_set(s->loop, &e.timer, 1);
    loop_run(s->loop);
    assert_int_equal(s->count, wanted);
}

static void begin(struct served *s)
{
    memset(s, 0, sizeof(*s));
    s->loop = loop_new();
    s->readers = readers_new(s->loop, answer, s);
}

static void end(struct served *s)
{
    readers_free(&s->readers);
    loop_free(&s->loop);
}

static void test_by_turns(void **state)
{
    static const struct serve_return order[] = {{1, 1},  {2, 9}, {3, 8}, {1, 2},
                                                {2, 10}, {1, 3}, {1, 4}};
    struct served s;

    (void)state;
    begin(&s);
    for (uint64_t id = 1; id <= 4; id++)
        ask(&s, 1, id);
    ask(&s, 2, 9);
    ask(&s, 2, 10);
    ask(&s, 3, 8);
    run(&s, 7);
    for (size_t i = 0; i < 7; i++) {
        assert_int_equal(s.to[i].peer, order[i].peer);
        assert_int_equal(s.to[i].id, order[i].id);
    }
    end(&s);
}

/* The next question of a long list stands behind whoever waits. */
static void test_a_long_list_and_a_short_one(void **state)
{
    struct served s;

    (void)state;
    begin(&s);
    s.again.peer = 1;
    s.more = 5;
    ask(&s, 1, 1);
    ask(&s, 1, 2);
    ask(&s, 2, 3);
    run(&s, 8);
    assert_int_equal(s.to[1].peer, 2);
    assert_int_equal(s.to[2].id, 2); /* before the first one's second slice */
    end(&s);
}

static void test_who_left_is_not_answered(void **state)
{
    struct served s;

    (void)state;
    begin(&s);
    ask(&s, 1, 1);
    ask(&s, 2, 2);
    ask(&s, 1, 3);
    readers_gone(s.readers, 1);
    readers_gone(s.readers, 7);
    run(&s, 1);
    assert_int_equal(s.to[0].id, 2);
    ask(&s, 4, 5); /* freed with it */
    end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_turns),
        cmocka_unit_test(test_a_long_list_and_a_short_one),
        cmocka_unit_test(test_who_left_is_not_answered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
