/*
 * container.h - from a member that was handed out (a timer, an ask, a pool's job) back to the
 * object that it is embedded in.
 */
#ifndef ENTREPOT_BASE_CONTAINER_H
#define ENTREPOT_BASE_CONTAINER_H

#include <stddef.h>

/* `member_ptr` points to the `member` of a `type`; any other pointer does not compile. */
#define CONTAINER_OF(member_ptr, type, member)                                                     \
    ((type *)((char *)(1 ? (member_ptr) : &((type *)0)->member) - offsetof(type, member)))

#endif
