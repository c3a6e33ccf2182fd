/*
 * test_board.c - what is left on the board when its fetcher dies.
 */
#include "shm/board.h"

#include "check.h"

static struct board *board;

static int setup(void **state)
{
    (void)state;
    return board_new(&board);
}

static size_t take(enum board_state as, uint64_t *epoch_r)
{
    size_t slot;

    assert_int_equal(board_take(board, &slot, epoch_r), 0);
    board_publish(board, slot, as, 100, as == BOARD_STREAM ? 99 : 100);
    return slot;
}

static void test_what_was_verified_outlives_the_fetcher(void **state)
{
    static const enum board_state left[] = {BOARD_VERIFY, BOARD_COMMIT, BOARD_DONE};
    static const enum board_state gone[] = {BOARD_QUEUED, BOARD_CONNECT, BOARD_STREAM,
                                            BOARD_STALLED, BOARD_FAILED};
    size_t slots[8];
    uint64_t epochs[8];
    struct board_view view;

    (void)state;
    for (size_t i = 0; i < 3; i++)
        slots[i] = take(left[i], &epochs[i]);
    for (size_t i = 0; i < 5; i++)
        slots[3 + i] = take(gone[i], &epochs[3 + i]);
    board_reset(board);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(board_look(board, slots[i], epochs[i], &view), i < 3 ? 0 : ERR_CLOSED);
    assert_int_equal(board_look(board, slots[0], epochs[0], &view), 0);
    assert_true(view.state == BOARD_VERIFY && view.have == 100);
}

/* The places that a dead fetcher left are given back, and those alone. */
static void test_what_was_left_makes_room(void **state)
{
    uint64_t epoch, own;
    struct board_view view;
    size_t slot, kept;

    (void)state;
    while (board_take(board, &slot, &epoch) == 0)
        board_publish(board, slot, BOARD_DONE, 100, 100);
    board_reset(board);
    assert_int_equal(board_take(board, &slot, &epoch), ERR_NO_SPACE);
    assert_true(board_forget(board));
    kept = take(BOARD_DONE, &own);
    assert_false(board_forget(board));
    assert_int_equal(board_look(board, kept, own, &view), 0);
    board_reset(board);
    assert_true(board_forget(board));
    assert_int_equal(board_look(board, kept, own, &view), ERR_CLOSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_what_was_verified_outlives_the_fetcher, setup),
        cmocka_unit_test_setup(test_what_was_left_makes_room, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
