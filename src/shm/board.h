/*
 * board.h - how far running downloads have come: shared memory of the master,
 * written by the fetcher alone, read by workers without a message.
 *
 * One slot a download. A slot is reused for another download with another epoch;
 * whoever remembers the old one sees that it is over. Bytes that `have` counts are
 * in the download's file, of which the worker got a descriptor.
 */
#ifndef ENTREPOT_SHM_BOARD_H
#define ENTREPOT_SHM_BOARD_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BOARD_SLOTS_MAX 4096

/* Only forwards, but for STREAM and STALLED; FAILED from any. */
enum board_state {
    BOARD_FREE,
    BOARD_QUEUED,
    BOARD_CONNECT,
    BOARD_STREAM,
    BOARD_STALLED, /* cut off or too slow; it goes on when the upstream does */
    BOARD_VERIFY,
    BOARD_COMMIT,
    BOARD_DONE, /* verified and durable: have == total */
    BOARD_FAILED
};

struct board;

/* What a reader sees of a slot at one moment. */
struct board_view {
    enum board_state state;
    uint64_t total; /* bytes of the whole; UINT64_MAX: not known yet */
    uint64_t have;  /* bytes that may be sent: never the last one before it is verified */
};

must_check int board_new(struct board **board_r);
/* In every process but the fetcher: a write would be a fault. */
void board_protect(struct board *board);
/* By a new fetcher: whatever its predecessor ran is over. What that had verified stays to be read
 * until board_forget: whoever holds its file has all of it, but may not have looked yet. */
void board_reset(struct board *board);
/* Gives back what board_reset left; false: nothing. */
bool board_forget(struct board *board);

/* The fetcher's: a free slot in state QUEUED, NO_SPACE when there is none. */
must_check int board_take(struct board *board, size_t *slot_r, uint64_t *epoch_r);
void board_give(struct board *board, size_t slot);
/* `have` only grows within an epoch. */
void board_publish(struct board *board, size_t slot, enum board_state state, uint64_t total,
                   uint64_t have);

/* CLOSED when the slot belongs to another download by now, or is none. */
must_check int board_look(const struct board *board, size_t slot, uint64_t epoch,
                          struct board_view *view_r);
/* "stream" */
const char *board_state_name(enum board_state state);

#endif
