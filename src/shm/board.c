/*
 * board.c - progress of downloads in shared memory.
 *
 * Mapped by the master before it forks; the fetcher writes, workers read. The
 * epoch is stored last when a slot is taken and first when it is given back, and
 * read before and after: a reader never takes one download's progress for
 * another's. A fetcher that dies leaves slots as they are; its successor resets all but those of
 * what was verified.
 */
#include "shm/board.h"

#include "base/must.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>

struct slot {
    _Atomic uint64_t epoch; /* 0: free */
    _Atomic uint64_t total, have;
    _Atomic uint32_t state;
    uint32_t pad[9]; /* a cache line each */
};

_Static_assert(sizeof(struct slot) == 64, "a slot is one cache line");

struct board {
    _Atomic uint64_t last_epoch;
    _Atomic uint64_t left_epoch; /* slots up to this one are a dead fetcher's */
    uint64_t pad[6];
    struct slot slots[BOARD_SLOTS_MAX];
};

int board_new(struct board **board_r)
{
    struct board *board =
        mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (board == MAP_FAILED)
        return err_from_errno(errno);
    *board_r = board;
    return 0;
}

void board_protect(struct board *board)
{
    MUST(mprotect(board, sizeof(*board), PROT_READ) == 0);
}

void board_give(struct board *board, size_t slot)
{
    MUST(slot < BOARD_SLOTS_MAX);
    atomic_store(&board->slots[slot].epoch, 0);
    atomic_store(&board->slots[slot].state, BOARD_FREE);
}

void board_reset(struct board *board)
{
    for (size_t i = 0; i < BOARD_SLOTS_MAX; i++) {
        uint32_t state = atomic_load(&board->slots[i].state);

        if (state != BOARD_VERIFY && state != BOARD_COMMIT && state != BOARD_DONE)
            board_give(board, i);
    }
    atomic_store(&board->left_epoch, atomic_load(&board->last_epoch));
}

bool board_forget(struct board *board)
{
    bool any = false;

    for (size_t i = 0; i < BOARD_SLOTS_MAX; i++) {
        uint64_t epoch = atomic_load(&board->slots[i].epoch);

        if (epoch == 0 || epoch > atomic_load(&board->left_epoch))
            continue;
        board_give(board, i);
        any = true;
    }
    return any;
}

int board_take(struct board *board, size_t *slot_r, uint64_t *epoch_r)
{
    for (size_t i = 0; i < BOARD_SLOTS_MAX; i++) {
        struct slot *slot = &board->slots[i];

        if (atomic_load(&slot->epoch) != 0)
            continue;
        *slot_r = i;
        *epoch_r = atomic_fetch_add(&board->last_epoch, 1) + 1;
        atomic_store(&slot->total, UINT64_MAX);
        atomic_store(&slot->have, 0);
        atomic_store(&slot->state, BOARD_QUEUED);
        atomic_store(&slot->epoch, *epoch_r);
        return 0;
    }
    return ERR_NO_SPACE;
}

void board_publish(struct board *board, size_t slot, enum board_state state, uint64_t total,
                   uint64_t have)
{
    struct slot *s = &board->slots[slot];

    MUST(slot < BOARD_SLOTS_MAX);
    atomic_store_explicit(&s->total, total, memory_order_relaxed);
    atomic_store_explicit(&s->have, have, memory_order_release);
    atomic_store_explicit(&s->state, state, memory_order_release);
}

int board_look(const struct board *board, size_t slot, uint64_t epoch, struct board_view *view_r)
{
    const struct slot *s = &board->slots[slot];

    if (slot >= BOARD_SLOTS_MAX || epoch == 0 || atomic_load(&s->epoch) != epoch)
        return ERR_CLOSED;
    view_r->state = (enum board_state)atomic_load_explicit(&s->state, memory_order_acquire);
    view_r->have = atomic_load_explicit(&s->have, memory_order_acquire);
    view_r->total = atomic_load_explicit(&s->total, memory_order_relaxed);
    return atomic_load(&s->epoch) == epoch ? 0 : ERR_CLOSED;
}

const char *board_state_name(enum board_state state)
{
    static const char *const names[] = {"free",   "queued", "connect", "stream", "stalled",
                                        "verify", "commit", "done",    "failed"};

    return (unsigned)state < sizeof(names) / sizeof(names[0]) ? names[state] : "unknown";
}
