/*
 * clock.h - ages, and how far the wall clock can be believed.
 *
 * Files and records carry wall time; the wall clock may jump. The boot clock
 * (CLOCK_BOOTTIME) does not. The master watches one against the other, in memory all
 * its processes share: a difference that changes by more than CLOCK_JUMP_MS is a jump.
 * An age is at most the time since the last jump, so nothing is taken away by age
 * before the clock has been steady for as long as that age: what was written in that
 * time bears the right time, and what bears an older one has not been written since.
 *
 * Without a watch (entrepotctl, unit tests) ages are the wall clock's.
 */
#ifndef ENTREPOT_BASE_CLOCK_H
#define ENTREPOT_BASE_CLOCK_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

/* Less is a slew, a leap second, two reads of two clocks. */
#define CLOCK_JUMP_MS 10000

uint64_t clock_wall_s(void); /* seconds since 1970 */
uint64_t clock_boot_ms(void);

/* What is known of the wall clock, in milliseconds: wall time minus boot time, and the boot
 * time since when that has been so. Outlives the daemon within a boot. */
struct clock_known {
    int64_t offset_ms;
    uint64_t since_ms;
};

/* Master, before it forks. `known` NULL: this boot's clock counts as steady so far. */
must_check int clock_watch_begin(const struct clock_known *known);
/* Master, each second. By how much the wall clock has jumped since the last look; 0: it has not. */
int64_t clock_watch_look_ms(void);
void clock_watch_known(struct clock_known *known_r);

/* Since when there was no jump; 0 in the moment of one, before the master has looked. */
uint64_t clock_steady_ms(void);
/* How long ago wall time `then_s` was, as far as that is sure. */
uint64_t clock_age_ms(int64_t then_s);
/* `then_s` lies ahead of a clock that has been steady for `grace_ms`: written while it was
 * wrong. Whoever keeps it gives it the present time, or it would stay for as long as that jump. */
bool clock_ahead(int64_t then_s, uint64_t grace_ms);
/* Wall time of what is `grace_ms` old; 0 while the clock has not been steady for that long. */
uint64_t clock_deadline_s(uint64_t grace_ms);

#endif
