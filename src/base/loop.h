/*
 * loop.h - the event loop: epoll, timers, signals. One a process, one thread.
 */
#ifndef ENTREPOT_BASE_LOOP_H
#define ENTREPOT_BASE_LOOP_H

#include "base/err.h"

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop;

/* A watched descriptor, embedded in its owner. The loop never closes `fd`. */
struct loop_fd {
    int fd;
    void (*ready)(struct loop_fd *watch, uint32_t events); /* EPOLLIN, EPOLLOUT, ... */
    uint32_t events;                                       /* what is watched now */
    bool added;
};

/* A one-shot timer, embedded in its owner; zero-initialise. */
struct loop_timer {
    void (*fire)(struct loop_timer *timer);
    uint64_t at_ms;
    size_t slot; /* 1-based place in the heap; 0: not set */
};

struct loop *loop_new(void); /* ends the process when the kernel refuses */
void loop_free(struct loop **loop);

/* Level-triggered unless EPOLLET is in `events`. NO_FILES/IO from the kernel. */
must_check int loop_fd_add(struct loop *loop, struct loop_fd *watch, uint32_t events);
void loop_fd_events(struct loop *loop, struct loop_fd *watch, uint32_t events);
/* After this, no event of the running round reaches `watch`. */
void loop_fd_remove(struct loop *loop, struct loop_fd *watch);

/* (Re)arms: fires once, delay_ms from now. */
void loop_timer_set(struct loop *loop, struct loop_timer *timer, uint64_t delay_ms);
void loop_timer_cancel(struct loop *loop, struct loop_timer *timer);

/* Blocks `signals` in the process and calls `caught` from the loop for each. */
must_check int loop_signals(struct loop *loop, const sigset_t *signals,
                            void (*caught)(int signal, void *ctx), void *ctx);

/* free(ptr) after the running round: pointers in the round's events stay valid. */
void loop_free_later(struct loop *loop, void *ptr);
/* Calls `call(ctx)` once after the running round of events, before sleeping. */
void loop_after_round(struct loop *loop, void (*call)(void *ctx), void *ctx);

/* Monotonic milliseconds, read once a round. */
uint64_t loop_now_ms(const struct loop *loop);
/* Runs until loop_stop(). */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

#endif
