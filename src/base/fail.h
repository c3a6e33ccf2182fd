/*
 * fail.h - fail points: named places where a test makes a process die, wait or
 * fail. They are in every build, because what is tested must be what is run;
 * without the environment variable ENTREPOT_FAIL_DIR each costs one load and one
 * branch.
 *
 * A test puts a file named like the point into that directory. Whoever reaches
 * the point first takes it (by renaming or removing it: exactly one process
 * does) and obeys its first word:
 *
 *   kill     SIGKILL to itself
 *   wait     the file becomes NAME.reached; goes on when the test removes that, and fails then
 *            when an errno is the second word
 *   ERRNO    ENOSPC, EDQUOT, EROFS, EACCES, EIO, EMFILE: the call that the point guards fails so
 *
 * A second word `always` leaves an errno's file in place: everybody fails until
 * the test removes it.
 */
#ifndef ENTREPOT_BASE_FAIL_H
#define ENTREPOT_BASE_FAIL_H

#include "base/fail_points.h"

/* The directory, or NULL: nothing ever fails. Set once, by fail_init(). */
extern const char *fail_dir;

/* Reads the environment; main's first call. */
void fail_init(void);
/* 0, or an errno. */
int fail_reach(enum fail_point_id point);

/* As a statement where there is nothing to fail. */
#define FAIL_POINT(name) (__builtin_expect(fail_dir != NULL, 0) ? fail_reach(FAIL_POINT_##name) : 0)

#endif
