/*
 * glob.c - matching of patterns. Pure; any process. Time is bounded by the product
 * of both lengths, whatever a pattern is made of.
 */
#include "oci/glob.h"

#include <stddef.h>

/* Back to the last star, one character further; false when it may not grow over this one. */
static bool grow(const char **at, const char **star_at, bool deep)
{
    if (**star_at == 0 || (!deep && **star_at == '/'))
        return false;
    *at = ++*star_at;
    return true;
}

bool glob_matches(const char *pattern, const char *name)
{
    /* The last `*` and the last `**` before it: only these two can still grow. */
    const char *star = NULL, *star_at = NULL, *deep = NULL, *deep_at = NULL;

    for (;;) {
        if (pattern[0] == '*' && pattern[1] == '*') {
            deep = pattern += 2;
            deep_at = name;
            star = NULL;
        } else if (*pattern == '*') {
            star = ++pattern;
            star_at = name;
        } else if (*pattern == *name) {
            if (*name == 0)
                return true;
            pattern++;
            name++;
        } else if (star && grow(&name, &star_at, false)) {
            pattern = star;
        } else if (deep && grow(&name, &deep_at, true)) {
            pattern = deep;
            star = NULL;
        } else {
            return false;
        }
    }
}
