/*
 * must.h - assertions about this program itself; never compiled out.
 */
#ifndef ENTREPOT_BASE_MUST_H
#define ENTREPOT_BASE_MUST_H

/* Ends the process with a log line naming the place when `cond` is false. */
#define MUST(cond)                                                                                 \
    do {                                                                                           \
        if (__builtin_expect(!(cond), 0))                                                          \
            must_fail(#cond, __FILE__, __LINE__);                                                  \
    } while (0)

__attribute__((noreturn)) void must_fail(const char *cond, const char *file, int line);

#endif
