/*
 * clock.c - the wall clock against the boot clock.
 *
 * Any process; the shared words are the master's to write. Each is written whole: a
 * process that dies leaves nothing to repair, and while they change nothing is old.
 */
#include "base/clock.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

static struct watch {
    _Atomic int64_t offset_ms;
    _Atomic uint64_t since_ms;
} * watch; /* shared by all that the master forks; NULL: nobody watches */

static uint64_t read_ms(clockid_t id)
{
    struct timespec now;

    clock_gettime(id, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t clock_wall_s(void)
{
    return (uint64_t)time(NULL);
}

uint64_t clock_boot_ms(void)
{
    return read_ms(CLOCK_BOOTTIME);
}

static int64_t offset_now_ms(void)
{
    return (int64_t)read_ms(CLOCK_REALTIME) - (int64_t)clock_boot_ms();
}

static bool jumped(int64_t by_ms)
{
    return by_ms > CLOCK_JUMP_MS || by_ms < -CLOCK_JUMP_MS;
}

int clock_watch_begin(const struct clock_known *known)
{
    watch = mmap(NULL, sizeof(*watch), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (watch == MAP_FAILED) {
        watch = NULL;
        return err_from_errno(errno);
    }
    atomic_store(&watch->offset_ms, known ? known->offset_ms : offset_now_ms());
    atomic_store(&watch->since_ms, known ? known->since_ms : 0);
    return 0;
}

int64_t clock_watch_look_ms(void)
{
    int64_t offset = offset_now_ms(), by = offset - atomic_load(&watch->offset_ms);

    /* Since first: whoever reads between the two finds no steady clock. */
    if (jumped(by))
        atomic_store(&watch->since_ms, clock_boot_ms());
    atomic_store(&watch->offset_ms, offset);
    return jumped(by) ? by : 0;
}

void clock_watch_known(struct clock_known *known_r)
{
    known_r->offset_ms = atomic_load(&watch->offset_ms);
    known_r->since_ms = atomic_load(&watch->since_ms);
}

uint64_t clock_steady_ms(void)
{
    uint64_t now, since;

    if (!watch)
        return UINT64_MAX;
    if (jumped(offset_now_ms() - atomic_load(&watch->offset_ms)))
        return 0;
    since = atomic_load(&watch->since_ms);
    now = clock_boot_ms();
    return now > since ? now - since : 0;
}

uint64_t clock_age_ms(int64_t then_s)
{
    int64_t now_s = (int64_t)clock_wall_s();
    uint64_t steady = clock_steady_ms(), age = now_s > then_s ? (uint64_t)(now_s - then_s) : 0;

    age = age > UINT64_MAX / 1000 ? UINT64_MAX : age * 1000;
    return age < steady ? age : steady;
}

bool clock_ahead(int64_t then_s, uint64_t grace_ms)
{
    return then_s > (int64_t)clock_wall_s() + CLOCK_JUMP_MS / 1000 && clock_steady_ms() >= grace_ms;
}

uint64_t clock_deadline_s(uint64_t grace_ms)
{
    uint64_t now_s = clock_wall_s();

    return clock_steady_ms() < grace_ms || now_s < grace_ms / 1000 ? 0 : now_s - grace_ms / 1000;
}
