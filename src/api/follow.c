/*
 * follow.c - growing files on their way to clients.
 *
 * Runs in workers, on the loop. Owns a descriptor and at most one question to the
 * fetcher a download. What a dead fetcher leaves is found by its successor, which
 * hashes it again: so bytes of one file (inode) belong together however often the
 * fetcher died, and a request is cut off rather than continued from another file.
 * A crash here costs the worker's connections; the download goes on.
 */
#include "api/follow.h"

#include "base/container.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

/* The board is looked at this often although the fetcher has not rung. */
#define LOOK_MS 1000

STATES_DEFINE(follow_states, "a followed download", FOLLOW_STATES);

struct follow {
    struct follows *follows;
    enum follow_state state;
    char *repo, *image, *client;
    struct follow_target target;
    struct ask ask; /* under way in FOLLOW_ASKING */
    /* While one of the two is true it must not be freed, whatever its state: */
    bool telling; /* its shares are being told */
    bool due;     /* tell_due comes after the round */
    int fd;       /* -1: none yet */
    struct fetch_ready place;
    uint64_t have;
    TAILQ_HEAD(, follow_share) shares;
    LIST_ENTRY(follow) entry;
};

struct follows {
    struct loop *loop;
    struct link *fetcher;
    const struct board *board;
    struct ask hello;
    struct loop_fd bell; /* fd -1: none */
    struct loop_timer timer;
    LIST_HEAD(, follow) all;
};

static void follow_ask(struct follow *f);

static void follow_move(struct follow *f, enum follow_state state)
{
    states_must(&follow_states, f->state, state);
    f->state = state;
}

static void follow_free(struct follow *f)
{
    LIST_REMOVE(f, entry);
    if (f->fd >= 0)
        close(f->fd);
    free(f->repo);
    free(f->image);
    free(f->client);
    free(f);
}

static void follow_free_unused(struct follow *f)
{
    if (TAILQ_EMPTY(&f->shares) && f->state != FOLLOW_ASKING && !f->telling && !f->due)
        follow_free(f);
}

/* Tells those who wait for the beginning; cuts off those who are in the middle. */
static void follow_over(struct follow *f, int err, const struct fetch_failure *why)
{
    struct follow_share *share, *next;

    follow_move(f, FOLLOW_OVER);
    for (share = TAILQ_FIRST(&f->shares); share; share = next) {
        next = TAILQ_NEXT(share, entry);
        if (share->r) {
            log_warn("a download failed: the client's connection is cut", "req=%s why=%s",
                     share->r->id, log_quote(why ? why->reason : err_text(err)));
            http_abort(share->r);
            continue;
        }
        TAILQ_REMOVE(&f->shares, share, entry);
        share->follow = NULL;
        share->ready(share, err, why);
    }
    follow_free_unused(f);
}

static void follow_grown(struct follow *f, uint64_t have)
{
    struct follow_share *share;

    f->have = have;
    TAILQ_FOREACH(share, &f->shares, entry)
        if (share->r)
            http_file_grown(share->r, have);
    if (have == f->place.total)
        follow_move(f, FOLLOW_OVER);
}

static void follow_look(struct follow *f)
{
    struct board_view view;

    if (f->state != FOLLOW_RUNNING)
        return;
    if (board_look(f->follows->board, f->place.slot, f->place.epoch, &view) != 0) {
        follow_move(f, FOLLOW_ASKING);
        follow_ask(f);
    } else if (view.state == BOARD_FAILED) {
        follow_over(f, ERR_UNAVAILABLE, NULL);
    } else if (view.have > f->have && view.have <= f->place.total) {
        follow_grown(f, view.have);
    }
}

static void follows_look(struct follows *follows)
{
    struct follow *f, *next;

    for (f = LIST_FIRST(&follows->all); f; f = next) {
        next = LIST_NEXT(f, entry);
        follow_look(f);
    }
}

static void bell_rings(struct loop_fd *watch, uint32_t events)
{
    struct follows *follows = CONTAINER_OF(watch, struct follows, bell);
    uint64_t count;

    (void)events;
    if (read(watch->fd, &count, sizeof(count)) == sizeof(count))
        follows_look(follows);
}

static void look_timer(struct loop_timer *timer)
{
    struct follows *follows = CONTAINER_OF(timer, struct follows, timer);

    follows_look(follows);
    if (!LIST_EMPTY(&follows->all))
        loop_timer_set(follows->loop, &follows->timer, LOOK_MS);
}

static bool same_file(int a, int b)
{
    struct stat one, other;

    return fstat(a, &one) == 0 && fstat(b, &other) == 0 && one.st_ino == other.st_ino &&
           one.st_dev == other.st_dev;
}

/* ready() may leave, and its follow with it. */
static void tell_ready(struct follow *f)
{
    struct follow_share *share, *next;

    f->telling = true;
    for (share = TAILQ_FIRST(&f->shares); share && f->state == FOLLOW_RUNNING; share = next) {
        next = TAILQ_NEXT(share, entry);
        if (!share->r)
            share->ready(share, 0, NULL);
    }
    f->telling = false;
}

/* The fetcher has told where the bytes come to lie. */
static void follow_placed(struct follow *f, const struct fetch_ready *place, int fd)
{
    struct fetch_failure why = {.reason = "the download began anew"};

    if (f->fd >= 0 && (!same_file(f->fd, fd) || place->total != f->place.total)) {
        close(fd);
        follow_over(f, ERR_UNAVAILABLE, &why);
        return;
    }
    if (f->fd >= 0)
        close(fd);
    else
        f->fd = fd;
    f->place = *place;
    follow_move(f, FOLLOW_RUNNING);
    tell_ready(f);
    if (TAILQ_EMPTY(&f->shares))
        follow_free_unused(f);
    else
        follow_look(f); /* may be the end of it */
}

/* It was committed while nobody looked: the file that is held is the blob. */
static void follow_exists(struct follow *f)
{
    struct stat st;

    if (f->fd >= 0 && fstat(f->fd, &st) == 0 && (uint64_t)st.st_size == f->place.total &&
        st.st_nlink > 0 && !f->target.part) {
        follow_grown(f, f->place.total);
        follow_free_unused(f);
    } else {
        follow_over(f, ERR_EXISTS, NULL);
    }
}

static void follow_answered(struct ask *ask, int err, struct msg_reader *reply, int fd)
{
    struct follow *f = CONTAINER_OF(ask, struct follow, ask);
    struct fetch_failure why = {.reason = "the fetcher did not answer"};
    struct fetch_ready place;

    if (err == 0) {
        err = reply_err_get(reply);
        if (err == 0)
            fetch_ready_get(reply, &place);
        else if (err == ERR_EXISTS)
            fetch_size_get(reply);
        else
            fetch_failure_get(reply, &why);
        if (msg_end(reply) != 0 || (err == 0 && fd < 0))
            err = ERR_PROTOCOL;
    }
    if (err != 0 && fd >= 0)
        close(fd);
    if (TAILQ_EMPTY(&f->shares)) {
        if (err == 0)
            close(fd);
        follow_move(f, FOLLOW_OVER);
        follow_free_unused(f);
    } else if (err == 0) {
        follow_placed(f, &place, fd);
    } else if (err == ERR_EXISTS) {
        follow_exists(f);
    } else {
        follow_over(f, err, &why);
    }
}

static void follow_ask(struct follow *f)
{
    struct push_target target = {.repo = f->repo, .image = f->image, .digest = f->target.digest};
    struct msg_writer *w = link_ask_begin(f->follows->fetcher, &f->ask,
                                          f->target.part ? MSG_FETCH_RANGE : MSG_FETCH_BLOB);

    push_target_put(w, &target);
    if (f->target.part)
        fetch_range_put(w, &(struct fetch_range){f->target.first, f->target.last});
    fetch_client_put(w, f->client);
    f->ask.done = follow_answered;
    link_ask_send(f->follows->fetcher, &f->ask);
}

static void hello_answered(struct ask *ask, int err, struct msg_reader *reply, int fd)
{
    struct follows *follows = CONTAINER_OF(ask, struct follows, hello);

    if (err != 0 || reply_err_get(reply) != 0 || fd < 0) {
        if (fd >= 0)
            close(fd);
        return; /* the timer looks all the same */
    }
    if (follows->bell.fd >= 0) {
        loop_fd_remove(follows->loop, &follows->bell);
        close(follows->bell.fd);
    }
    follows->bell.fd = fd;
    follows->bell.added = false;
    if (loop_fd_add(follows->loop, &follows->bell, EPOLLIN) != 0) {
        close(fd);
        follows->bell.fd = -1;
    }
    follows_look(follows);
}

void follows_connected(struct follows *follows)
{
    follows->hello.done = hello_answered;
    link_ask_begin(follows->fetcher, &follows->hello, MSG_FETCH_HELLO);
    link_ask_send_first(follows->fetcher, &follows->hello);
}

struct follows *follows_new(struct loop *loop, struct link *fetcher, const struct board *board)
{
    struct follows *follows = mem_alloc(sizeof(*follows));

    follows->loop = loop;
    follows->fetcher = fetcher;
    follows->board = board;
    follows->bell.fd = -1;
    follows->bell.ready = bell_rings;
    follows->timer.fire = look_timer;
    LIST_INIT(&follows->all);
    return follows;
}

static bool same_target(const struct follow *f, const struct follow_target *target)
{
    return f->state != FOLLOW_OVER && !f->target.part && !target->part &&
           digest_equal(&f->target.digest, &target->digest) &&
           strcmp(f->image, target->image) == 0 && strcmp(f->repo, target->repo) == 0;
}

static void tell_due(void *ctx)
{
    struct follow *f = ctx;

    f->due = false;
    tell_ready(f);
    follow_free_unused(f);
}

void follow_join(struct follows *follows, const struct follow_target *target,
                 struct follow_share *share)
{
    struct follow *f;

    LIST_FOREACH(f, &follows->all, entry)
    if (same_target(f, target))
        break;
    share->r = NULL;
    if (f) {
        share->follow = f;
        TAILQ_INSERT_TAIL(&f->shares, share, entry);
        if (f->state == FOLLOW_RUNNING && !f->due) {
            f->due = true;
            loop_after_round(follows->loop, tell_due, f);
        }
        return;
    }
    f = mem_alloc(sizeof(*f));
    f->follows = follows;
    f->repo = mem_strdup(target->repo);
    f->image = mem_strdup(target->image);
    f->client = mem_strdup(target->client);
    f->target = *target;
    f->fd = -1;
    TAILQ_INIT(&f->shares);
    TAILQ_INSERT_TAIL(&f->shares, share, entry);
    share->follow = f;
    if (LIST_EMPTY(&follows->all))
        loop_timer_set(follows->loop, &follows->timer, LOOK_MS);
    LIST_INSERT_HEAD(&follows->all, f, entry);
    follow_ask(f);
}

void follow_file(const struct follow_share *share, struct follow_file *file_r)
{
    const struct follow *f = share->follow;
    struct board_view view;

    *file_r = (struct follow_file){
        .fd = f->fd, .total = f->place.total, .blob_total = f->place.blob_total, .have = f->have};
    if (f->state == FOLLOW_RUNNING &&
        board_look(f->follows->board, f->place.slot, f->place.epoch, &view) == 0 &&
        view.have > f->have && view.have <= f->place.total)
        file_r->have = view.have;
}

void follow_serve(struct follow_share *share, struct http_request *r)
{
    struct follow_file file;

    follow_file(share, &file);
    share->r = r;
    http_file_grown(r, file.have);
}

void follow_leave(struct follow_share *share)
{
    struct follow *f = share->follow;

    if (!f)
        return;
    share->follow = NULL;
    TAILQ_REMOVE(&f->shares, share, entry);
    follow_free_unused(f);
}
