/*
 * loop.c - epoll, a heap of timers, signalfd.
 *
 * Any role, one thread. Owns the epoll and signal descriptors, never those it
 * watches. Within a round, events of a watch that was removed meanwhile are
 * dropped, and memory given to loop_free_later stays valid. A crash leaves nothing.
 */
#include "base/loop.h"

#include "base/container.h"
#include "base/mem.h"
#include "base/must.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_MAX 256

struct after {
    void (*call)(void *ctx);
    void *ctx;
};

struct loop {
    int epoll_fd;
    uint64_t now_ms;
    bool stop;
    struct epoll_event events[EVENTS_MAX];
    int event_count, event_at; /* of the running round */
    struct loop_timer **heap;  /* [1..timer_count] */
    size_t timer_count, timer_cap;
    void **later;
    size_t later_count, later_cap;
    struct after *after;
    size_t after_count, after_cap;
    struct loop_fd signals;
    void (*caught)(int signal, void *ctx);
    void *caught_ctx;
};

static uint64_t clock_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

struct loop *loop_new(void)
{
    struct loop *loop = mem_alloc(sizeof(*loop));

    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    MUST(loop->epoll_fd >= 0);
    loop->now_ms = clock_ms();
    loop->signals.fd = -1;
    return loop;
}

static void run_later(struct loop *loop)
{
    for (size_t i = 0; i < loop->later_count; i++)
        free(loop->later[i]);
    loop->later_count = 0;
}

void loop_free(struct loop **loop_p)
{
    struct loop *loop = *loop_p;

    if (!loop)
        return;
    *loop_p = NULL;
    run_later(loop);
    if (loop->signals.fd >= 0)
        close(loop->signals.fd);
    close(loop->epoll_fd);
    free(loop->heap);
    free(loop->later);
    free(loop->after);
    free(loop);
}

int loop_fd_add(struct loop *loop, struct loop_fd *watch, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = watch};

    MUST(!watch->added && watch->ready);
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, watch->fd, &event) != 0)
        return errno == ENOSPC ? ERR_NO_FILES : err_from_errno(errno); /* max_user_watches */
    watch->events = events;
    watch->added = true;
    return 0;
}

void loop_fd_events(struct loop *loop, struct loop_fd *watch, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = watch};

    if (!watch->added || watch->events == events)
        return;
    MUST(epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, watch->fd, &event) == 0);
    watch->events = events;
}

void loop_fd_remove(struct loop *loop, struct loop_fd *watch)
{
    if (!watch->added)
        return;
    epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
    watch->added = false;
    for (int i = loop->event_at; i < loop->event_count; i++)
        if (loop->events[i].data.ptr == watch)
            loop->events[i].data.ptr = NULL;
}

static void heap_place(struct loop *loop, size_t slot, struct loop_timer *timer)
{
    loop->heap[slot] = timer;
    timer->slot = slot;
}

static void heap_up(struct loop *loop, size_t slot, struct loop_timer *timer)
{
    while (slot > 1 && loop->heap[slot / 2]->at_ms > timer->at_ms) {
        heap_place(loop, slot, loop->heap[slot / 2]);
        slot /= 2;
    }
    heap_place(loop, slot, timer);
}

static void heap_down(struct loop *loop, size_t slot, struct loop_timer *timer)
{
    for (;;) {
        size_t child = 2 * slot;

        if (child > loop->timer_count)
            break;
        if (child < loop->timer_count && loop->heap[child + 1]->at_ms < loop->heap[child]->at_ms)
            child++;
        if (loop->heap[child]->at_ms >= timer->at_ms)
            break;
        heap_place(loop, slot, loop->heap[child]);
        slot = child;
    }
    heap_place(loop, slot, timer);
}

void loop_timer_cancel(struct loop *loop, struct loop_timer *timer)
{
    size_t slot = timer->slot;
    struct loop_timer *last;

    if (slot == 0)
        return;
    timer->slot = 0;
    last = loop->heap[loop->timer_count--];
    if (last == timer)
        return;
    if (slot > 1 && loop->heap[slot / 2]->at_ms > last->at_ms)
        heap_up(loop, slot, last);
    else
        heap_down(loop, slot, last);
}

void loop_timer_set(struct loop *loop, struct loop_timer *timer, uint64_t delay_ms)
{
    MUST(timer->fire);
    loop_timer_cancel(loop, timer);
    timer->at_ms = delay_ms > UINT64_MAX - loop->now_ms ? UINT64_MAX : loop->now_ms + delay_ms;
    if (loop->timer_count + 2 > loop->timer_cap) {
        loop->timer_cap = loop->timer_cap ? loop->timer_cap * 2 : 64;
        loop->heap = mem_grow(loop->heap, loop->timer_cap * sizeof(*loop->heap));
    }
    heap_up(loop, ++loop->timer_count, timer);
}

static void signals_ready(struct loop_fd *watch, uint32_t events)
{
    struct loop *loop = CONTAINER_OF(watch, struct loop, signals);
    struct signalfd_siginfo info;

    (void)events;
    while (read(watch->fd, &info, sizeof(info)) == sizeof(info))
        loop->caught((int)info.ssi_signo, loop->caught_ctx);
}

int loop_signals(struct loop *loop, const sigset_t *signals, void (*caught)(int signal, void *ctx),
                 void *ctx)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};

    MUST(loop->signals.fd < 0);
    sigaction(SIGPIPE, &ignore, NULL); /* a lost peer is told by the return value */
    if (sigprocmask(SIG_BLOCK, signals, NULL) != 0)
        return err_from_errno(errno);
    loop->signals.fd = signalfd(-1, signals, SFD_NONBLOCK | SFD_CLOEXEC);
    if (loop->signals.fd < 0)
        return err_from_errno(errno);
    loop->caught = caught;
    loop->caught_ctx = ctx;
    loop->signals.ready = signals_ready;
    return loop_fd_add(loop, &loop->signals, EPOLLIN);
}

void loop_free_later(struct loop *loop, void *ptr)
{
    if (loop->later_count == loop->later_cap) {
        loop->later_cap = loop->later_cap ? loop->later_cap * 2 : 64;
        loop->later = mem_grow(loop->later, loop->later_cap * sizeof(*loop->later));
    }
    loop->later[loop->later_count++] = ptr;
}

void loop_after_round(struct loop *loop, void (*call)(void *ctx), void *ctx)
{
    if (loop->after_count == loop->after_cap) {
        loop->after_cap = loop->after_cap ? loop->after_cap * 2 : 64;
        loop->after = mem_grow(loop->after, loop->after_cap * sizeof(*loop->after));
    }
    loop->after[loop->after_count++] = (struct after){call, ctx};
}

uint64_t loop_now_ms(const struct loop *loop)
{
    return loop->now_ms;
}

/* Calls may ask for further calls: those belong to the same round's end. */
static void run_after(struct loop *loop)
{
    for (size_t i = 0; i < loop->after_count; i++) {
        struct after after = loop->after[i];

        after.call(after.ctx);
    }
    loop->after_count = 0;
}

/* At most as many as there were: one that sets itself again with no delay must
 * not keep the descriptors waiting. */
static void run_timers(struct loop *loop)
{
    for (size_t left = loop->timer_count;
         left > 0 && loop->timer_count > 0 && loop->heap[1]->at_ms <= loop->now_ms && !loop->stop;
         left--) {
        struct loop_timer *timer = loop->heap[1];

        loop_timer_cancel(loop, timer);
        timer->fire(timer);
    }
}

static int sleep_ms(const struct loop *loop)
{
    uint64_t at;

    if (loop->after_count > 0)
        return 0;
    if (loop->timer_count == 0)
        return -1;
    at = loop->heap[1]->at_ms;
    if (at <= loop->now_ms)
        return 0;
    return at - loop->now_ms > 60000 ? 60000 : (int)(at - loop->now_ms);
}

void loop_run(struct loop *loop)
{
    loop->stop = false;
    while (!loop->stop) {
        loop->event_at = loop->event_count = 0;
        loop->event_count = epoll_wait(loop->epoll_fd, loop->events, EVENTS_MAX, sleep_ms(loop));
        if (loop->event_count < 0) {
            MUST(errno == EINTR);
            loop->event_count = 0;
        }
        loop->now_ms = clock_ms();
        while (loop->event_at < loop->event_count) {
            struct epoll_event *event = &loop->events[loop->event_at++];
            struct loop_fd *watch = event->data.ptr;

            if (watch)
                watch->ready(watch, event->events);
        }
        run_timers(loop);
        run_after(loop);
        run_later(loop);
    }
}

void loop_stop(struct loop *loop)
{
    loop->stop = true;
}
