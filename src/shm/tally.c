/*
 * tally.c - counters of each process slot.
 *
 * An anonymous shared mapping made by the master before it forks. A process
 * writes only its own page; readers take each counter as it is. A process that dies leaves what it
 * counted until its place is taken again.
 */
#include "shm/tally.h"

#include "base/must.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE_BYTES 4096

_Static_assert(sizeof(struct tally_page) <= PAGE_BYTES, "a tally page is one page");

int tally_new(void **region_r)
{
    void *p = mmap(NULL, (size_t)TALLY_SLOTS_MAX * PAGE_BYTES, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED)
        return err_from_errno(errno);
    *region_r = p;
    return 0;
}

struct tally_page *tally_at(void *region, size_t slot)
{
    MUST(slot < TALLY_SLOTS_MAX);
    return (struct tally_page *)((char *)region + slot * PAGE_BYTES);
}

void tally_reset(void *region, size_t slot)
{
    memset(tally_at(region, slot), 0, sizeof(struct tally_page));
}
