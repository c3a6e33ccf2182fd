/*
 * must.c - how a bug ends a process: one log line, then abort() for the core.
 *
 * Any process. Others see EOF, as after any other crash.
 */
#include "base/must.h"

#include "base/log.h"

#include <stdlib.h>

void must_fail(const char *cond, const char *file, int line)
{
    log_error("bug: an assertion failed", "assertion=%s file=%s line=%d", log_quote(cond), file,
              line);
    abort();
}
