/*
 * check.h - what every unit test includes, in the order cmocka wants.
 */
#ifndef ENTREPOT_TESTS_CHECK_H
#define ENTREPOT_TESTS_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Skips what takes from the process what valgrind itself needs: descriptors, memory. */
static inline void check_not_under_valgrind(void)
{
    if (getenv("ENTREPOT_UNDER_VALGRIND"))
        skip();
}

/* A fresh directory in /tmp as a descriptor; its path in path_r (removed by the test). */
static inline int check_directory(char path_r[64])
{
    strcpy(path_r, "/tmp/entrepot-unit-XXXXXX");
    assert_non_null(mkdtemp(path_r));
    return 0;
}

static inline void check_remove(const char *path)
{
    char command[128];

    snprintf(command, sizeof(command), "rm -rf %s", path);
    assert_int_equal(system(command), 0);
}

#endif
