/*
 * states.c - see states.h. Every process; owns nothing.
 */
#include "base/states.h"

#include "base/must.h"

#include <stdio.h>

bool states_may(const struct states *states, unsigned from, unsigned to)
{
    return from < states->count && to < states->count && (states->next[from] & TO(to)) != 0;
}

static const char *name_of(const struct states *states, unsigned state)
{
    return state < states->count ? states->names[state] : "no state at all";
}

void states_must(const struct states *states, unsigned from, unsigned to)
{
    char text[160];

    if (states_may(states, from, to))
        return;
    snprintf(text, sizeof(text), "%s: %s may not become %s", states->what, name_of(states, from),
             name_of(states, to));
    must_fail(text, __FILE__, __LINE__);
}
