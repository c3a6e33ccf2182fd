/*
 * test_states.c - tables of states: what may follow what, and that a wrong move ends the process.
 */
#include "api/follow.h"
#include "api/pipe.h"
#include "api/upload.h"
#include "base/states.h"
#include "fetcher/job.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#define DOOR_STATES(X)                                                                             \
    X(DOOR_OPEN, TO(DOOR_SHUT))                                                                    \
    X(DOOR_SHUT, TO(DOOR_OPEN) | TO(DOOR_LOCKED))                                                  \
    X(DOOR_LOCKED, 0)
enum door_state { DOOR_STATES(STATES_ENUM) };
STATES_DEFINE(door_states, "a door", DOOR_STATES);

/* The last line that a process which dies of this move writes; "" when it lives. */
static void move_alone(const struct states *states, unsigned from, unsigned to, char text[512])
{
    int pipes[2], status;
    ssize_t n;
    pid_t pid;

    assert_int_equal(pipe(pipes), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(pipes[1], 2);
        signal(SIGABRT, SIG_DFL);
        states_must(states, from, to);
        _exit(0);
    }
    close(pipes[1]);
    n = read(pipes[0], text, 511);
    text[n > 0 ? n : 0] = 0;
    close(pipes[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(text[0] ? WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT : status == 0);
}

static void test_a_wrong_move_ends_the_process(void **state)
{
    char text[512];

    (void)state;
    for (unsigned from = 0; from <= 3; from++)
        for (unsigned to = 0; to <= 3; to++) {
            bool may = (from == DOOR_OPEN && to == DOOR_SHUT) ||
                       (from == DOOR_SHUT && (to == DOOR_OPEN || to == DOOR_LOCKED));

            assert_int_equal(states_may(&door_states, from, to), may);
            move_alone(&door_states, from, to, text);
            assert_int_equal(text[0] == 0, may);
        }
    move_alone(&door_states, DOOR_LOCKED, DOOR_OPEN, text);
    assert_non_null(strstr(text, "a door: DOOR_LOCKED may not become DOOR_OPEN"));
}

/* Every state can be reached from the first, and from each the way leads to where it ends: all
 * states of `ends`, and no others, have nothing behind them. */
static void check_table(const struct states *states, uint32_t ends)
{
    uint32_t reached = TO(0), before = 0;

    while (reached != before) {
        before = reached;
        for (unsigned from = 0; from < states->count; from++)
            if (reached & TO(from))
                reached |= states->next[from];
    }
    assert_int_equal(reached, TO(states->count) - 1);
    for (unsigned from = 0; from < states->count; from++)
        assert_int_equal(states->next[from] == 0, (ends & TO(from)) != 0);
}

static void test_tables_have_no_state_that_nothing_leads_to(void **state)
{
    (void)state;
    check_table(&door_states, TO(DOOR_LOCKED));
    check_table(&follow_states, TO(FOLLOW_OVER));
    check_table(&part_steps, 0);
    check_table(&job_phases, TO(JOB_DONE) | TO(JOB_FAILED));
    check_table(&remote_states, 0);
    check_table(&upstream_states, TO(UPSTREAM_FINISHED) | TO(UPSTREAM_CANCELLED));
    check_table(&upload_phases, TO(UPLOAD_LET_GO));
    check_table(&pipe_states, TO(PIPE_LEAVING) | TO(PIPE_UNDOING));
}

static void test_one_step_of_a_file_at_a_time(void **state)
{
    (void)state;
    for (unsigned step = 1; step < part_steps.count; step++)
        for (unsigned next = 0; next < part_steps.count; next++)
            assert_int_equal(states_may(&part_steps, step, next), next == PART_IDLE);
}

/* Nobody is given a blob as whole and kept whose digest was not compared: a whole one is done only
 * by way of the commit, and there is no way to that but through JOB_PLACE. */
static void test_a_download_is_verified_before_it_is_linked(void **state)
{
    (void)state;
    for (unsigned from = 0; from < job_phases.count; from++) {
        assert_int_equal(states_may(&job_phases, from, JOB_COMMIT), from == JOB_PLACE);
        assert_int_equal(states_may(&job_phases, from, JOB_PLACE),
                         from == JOB_DRAIN || from == JOB_CHECK);
        assert_int_equal(states_may(&job_phases, from, JOB_DONE),
                         from == JOB_COMMIT || from == JOB_DRAIN); /* of a range */
    }
}

/* Nothing writes to a file that was let go of, or that is being made a blob. */
static void test_an_upload_writes_only_what_is_its_own(void **state)
{
    (void)state;
    for (unsigned from = 0; from < upload_phases.count; from++)
        assert_int_equal(states_may(&upload_phases, from, UPLOAD_BODY),
                         from == UPLOAD_FOUND || from == UPLOAD_REWIND);
    assert_int_equal(upload_phases.next[UPLOAD_PLACE], TO(UPLOAD_LET_GO));
}

static void test_what_is_over_never_runs_again(void **state)
{
    (void)state;
    assert_true(states_may(&follow_states, FOLLOW_RUNNING, FOLLOW_ASKING));
    assert_false(states_may(&follow_states, FOLLOW_OVER, FOLLOW_ASKING));
    assert_false(states_may(&follow_states, FOLLOW_ASKING, FOLLOW_ASKING));
    /* What the asker was told to begin with is not taken from another remote. */
    assert_int_equal(remote_states.next[REMOTE_ANSWER], TO(REMOTE_IDLE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_wrong_move_ends_the_process),
        cmocka_unit_test(test_tables_have_no_state_that_nothing_leads_to),
        cmocka_unit_test(test_one_step_of_a_file_at_a_time),
        cmocka_unit_test(test_a_download_is_verified_before_it_is_linked),
        cmocka_unit_test(test_an_upload_writes_only_what_is_its_own),
        cmocka_unit_test(test_what_is_over_never_runs_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
