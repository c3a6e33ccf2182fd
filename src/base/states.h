/*
 * states.h - what an object is doing, as one enum, and a table of what may follow what.
 *
 * The table stands in the object's header, first state first, each with a comment that says what
 * it means and who moves the object there:
 *
 *     #define DOOR_STATES(X)                                                 \
 *         X(DOOR_OPEN, TO(DOOR_SHUT))                          // door_new   \
 *         X(DOOR_SHUT, TO(DOOR_OPEN) | TO(DOOR_LOCKED))        // door_push  \
 *         X(DOOR_LOCKED, 0)                                    // door_lock: for good
 *     enum door_state { DOOR_STATES(STATES_ENUM) };
 *     extern const struct states door_states;
 *
 * and the object's .c has STATES_DEFINE(door_states, "a door", DOOR_STATES) and one function that
 * moves a door, through states_must. Memory of zeroes is in the first state.
 */
#ifndef ENTREPOT_BASE_STATES_H
#define ENTREPOT_BASE_STATES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct states {
    const char *what; /* for the log */
    const char *const *names;
    const uint32_t *next; /* by state: a bit for each that may follow */
    size_t count;
};

#define TO(state)                (1u << (state))
#define STATES_ENUM(state, next) state,
#define STATES_NAME(state, next) #state,
#define STATES_NEXT(state, next) next,
#define STATES_DEFINE(table, what, LIST)                                                           \
    static const char *const table##_names[] = {LIST(STATES_NAME)};                                \
    static const uint32_t table##_next[] = {LIST(STATES_NEXT)};                                    \
    const struct states table = {what, table##_names, table##_next,                                \
                                 sizeof(table##_next) / sizeof(table##_next[0])}

bool states_may(const struct states *states, unsigned from, unsigned to);
/* Any other move is a bug: ends the process, as MUST does, with a log line that names it. */
void states_must(const struct states *states, unsigned from, unsigned to);

#endif
