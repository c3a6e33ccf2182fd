/*
 * throttle.h - failed logins lately, by address and by user.
 *
 * Shared memory of the master, so that it outlives AUTH, which counts. Each place
 * is a leaking bucket; keys share places by a random hash: that only ever slows
 * somebody who had no part in it, and never lets anybody through.
 */
#ifndef ENTREPOT_SHM_THROTTLE_H
#define ENTREPOT_SHM_THROTTLE_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

/* Failures before somebody is slowed, and the seconds in which one is forgotten. */
#define THROTTLE_ADDRESS_MAX 20
#define THROTTLE_ADDRESS_S   3
#define THROTTLE_USER_MAX    10
#define THROTTLE_USER_S      6

enum throttle_kind { THROTTLE_ADDRESS = 'A', THROTTLE_USER = 'U' };

struct throttle;

must_check int throttle_new(struct throttle **throttle_r);
/* This process's view of it. */
void throttle_free(struct throttle **throttle);
/* Of an address: numeric, without a port; IPv6 counts by its /64, the least a
 * client has of it. now_s: any clock that never steps back. */
void throttle_fail(struct throttle *t, enum throttle_kind kind, const char *key, uint64_t now_s);
bool throttle_slowed(struct throttle *t, enum throttle_kind kind, const char *key, uint64_t now_s);
/* A good login: this user's failures are forgotten. */
void throttle_forget(struct throttle *t, enum throttle_kind kind, const char *key);

#endif
