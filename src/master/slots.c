/*
 * slots.c - processes: fork, hear, reap, back off.
 *
 * Runs in the master. A slot is a place for one process; its control channel's
 * other end lives in that process alone, so EOF and SIGCHLD tell the same story
 * and SIGCHLD is the one acted on. A crash of the master leaves children that
 * see EOF and finish.
 */
#include "base/container.h"
#include "base/fail.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "base/net.h"
#include "master/master.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define BACKOFF_MAX_S 60
/* Who lived this long starts with a clean record. */
#define GOOD_LIFE_MS 60000

static void slot_again(struct loop_timer *timer);
static void slot_control(struct loop_fd *watch, uint32_t events);

void slots_init(struct master *m)
{
    for (size_t i = 0; i < TALLY_SLOTS_MAX; i++) {
        struct slot *slot = &m->slots[i];

        slot->master = m;
        slot->control.fd = -1;
        slot->control.ready = slot_control;
        slot->again.fire = slot_again;
    }
}

struct slot *slots_take(struct master *m, enum master_role role)
{
    for (size_t i = 0; i < TALLY_SLOTS_MAX; i++) {
        struct slot *slot = &m->slots[i];

        if (slot->state != SLOT_EMPTY)
            continue;
        slot->role = role;
        slot->restarts = slot->failures = 0;
        slot->replace = false;
        return slot;
    }
    MUST(!"a free slot");
    return NULL;
}

static void slot_close_control(struct slot *slot)
{
    if (slot->control.fd < 0)
        return;
    loop_fd_remove(slot->master->loop, &slot->control);
    close(slot->control.fd);
    slot->control.fd = -1;
}

/* In the child: never returns. */
__attribute__((noreturn)) static void slot_child(struct slot *slot, int control_fd)
{
    struct master *m = slot->master;
    const struct master_role_entry *entry = &m->roles[slot->role];
    struct role_start start = {
        .name = entry->name,
        .conf = m->conf,
        .slot = (size_t)(slot - m->slots),
        .generation = m->generation,
        .died = slot->failures > 0,
        .control_fd = control_fd,
        .run_dir_fd = m->run_dir_fd,
        .listen_fd = entry->socket ? m->socket_fds[slot->role] : -1,
        .lock_fd = slot->role == MASTER_CATALOG ? m->lock_fd : -1,
        .connector_fds = slot->role == MASTER_WORKER ? m->connector_fds : NULL,
        .certificates = slot->role == MASTER_WORKER ? m->certificates : NULL,
        .tickets = slot->role == MASTER_WORKER ? m->tickets : NULL,
        .index_write_fd = slot->role == MASTER_CATALOG ? m->index_write_fd : -1,
        .index_read_fd = slot->role == MASTER_WORKER ? m->index_read_fd : -1,
        .tally = m->tally,
        .recent = m->recent,
        .placed = slot->role == MASTER_WORKER ? m->placed : NULL,
        .sessions =
            slot->role == MASTER_WORKER || slot->role == MASTER_CATALOG ? m->sessions : NULL,
        .board = m->board,
        .throttle = slot->role == MASTER_AUTH ? m->throttle : NULL,
        .auth_dir_fd = slot->role == MASTER_AUTH ? m->auth_dir_fd : -1,
        .operator_uid = getuid(),
        .uid = slot->role == MASTER_AUTH ? m->auth_uid : m->uid,
        .gid = slot->role == MASTER_AUTH ? m->auth_gid : m->gid,
    };

    log_echo(false);
    master_leave_terminal(m);
    if (slot->role != MASTER_FETCHER)
        board_protect(m->board);
    if (slot->role != MASTER_AUTH) /* who has failed to log in is AUTH's alone */
        throttle_free(&m->throttle);
    if (slot->role != MASTER_WORKER) { /* keys are for those who use them */
        certificates_wipe(&m->certificates, m->conf->connector_count);
        tls_tickets_close(&m->tickets);
    }
    role_leave(entry->run(&start));
}

/* What a terminal could take for an order does not reach it, whoever has taken a role over. */
static void slot_trouble(struct slot *slot, const char *text)
{
    free(slot->trouble);
    slot->trouble = *text ? mem_strdup(text) : NULL;
    for (char *c = slot->trouble; c && *c; c++)
        if ((*c < ' ' && *c != '\n') || *c > '~')
            *c = '?';
}

void slot_fork(struct slot *slot)
{
    struct master *m = slot->master;
    int pair[2];
    pid_t pid;

    loop_timer_cancel(m->loop, &slot->again);
    slot->generation = m->generation;
    slot->started_ms = loop_now_ms(m->loop);
    slot->replace = false;
    slot_trouble(slot, "");
    tally_reset(m->tally, (size_t)(slot - m->slots));
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) {
        log_error("cannot start a process: no socket pair", "role=%s errno=%s",
                  m->roles[slot->role].name, log_quote(strerror(errno)));
        slot->state = SLOT_WAITING;
        loop_timer_set(m->loop, &slot->again, 1000);
        return;
    }
    FAIL_POINT(master_fork);
    pid = fork();
    if (pid == 0) {
        close(pair[0]);
        slot_child(slot, pair[1]);
    }
    close(pair[1]);
    if (pid < 0) {
        log_error("cannot fork", "role=%s errno=%s", m->roles[slot->role].name,
                  log_quote(strerror(errno)));
        close(pair[0]);
        slot->state = SLOT_WAITING;
        loop_timer_set(m->loop, &slot->again, 1000);
        return;
    }
    slot->pid = pid;
    slot->state = SLOT_STARTING;
    slot->control.fd = pair[0];
    MUST(loop_fd_add(m->loop, &slot->control, EPOLLIN) == 0);
    log_notice("process started", "child=%s child_slot=%zu child_pid=%d generation=%u",
               m->roles[slot->role].name, (size_t)(slot - m->slots), (int)pid, slot->generation);
}

static void slot_again(struct loop_timer *timer)
{
    struct slot *slot = CONTAINER_OF(timer, struct slot, again);

    slot->restarts++;
    slot_fork(slot);
}

static void slot_hear_trouble(struct slot *slot, struct msg_reader *r)
{
    const char *text = role_trouble_get(r);

    if (msg_end(r) == 0)
        slot_trouble(slot, text);
}

static void slot_keep_index(struct slot *slot, struct msg_reader *r, int fd)
{
    struct master *m = slot->master;
    enum role_index_fd which = role_index_fd_get(r);
    int *place = which == ROLE_INDEX_WRITABLE ? &m->index_write_fd : &m->index_read_fd;

    if (msg_end(r) != 0 || fd < 0 || slot->role != MASTER_CATALOG) {
        if (fd >= 0)
            close(fd);
        return;
    }
    if (*place >= 0)
        close(*place);
    *place = fd;
}

static void slot_control(struct loop_fd *watch, uint32_t events)
{
    struct slot *slot = CONTAINER_OF(watch, struct slot, control);
    struct str in = {0};

    (void)events;
    for (;;) {
        struct msg_reader r;
        int fd = -1;
        int err = msg_receive(watch->fd, &in, &fd);

        if (err == ERR_BUSY)
            break;
        if (err == 0)
            err = msg_reader_init(&r, in.data, in.len);
        if (err != 0) {
            if (fd >= 0)
                close(fd);
            slot_close_control(slot); /* its death is told by SIGCHLD */
            break;
        }
        if (r.type == MSG_INDEX_KEEP) {
            slot_keep_index(slot, &r, fd);
        } else {
            if (fd >= 0)
                close(fd);
            if (r.type == MSG_READY && slot->state == SLOT_STARTING) {
                slot->state = SLOT_READY;
                master_progress(slot->master);
            } else if (r.type == MSG_TROUBLE) {
                slot_hear_trouble(slot, &r);
            }
        }
    }
    str_free(&in);
}

void slot_signal(struct slot *slot, int signal)
{
    if (slot->pid > 0)
        kill(slot->pid, signal);
}

/* At once, then 1, 2, 4 ... 60 s. Dying before being ready counts double; a
 * ready process that somebody else killed outright has done nothing wrong. */
static uint64_t slot_backoff_ms(struct slot *slot, int status)
{
    bool was_ready = slot->state == SLOT_READY;
    uint64_t seconds;

    if (loop_now_ms(slot->master->loop) - slot->started_ms > GOOD_LIFE_MS)
        slot->failures = 0;
    if (!(was_ready && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL))
        slot->failures += was_ready ? 1 : 2;
    if (slot->failures <= 1)
        return 0;
    seconds = slot->failures - 2 >= 6 ? BACKOFF_MAX_S : 1U << (slot->failures - 2);
    return (seconds > BACKOFF_MAX_S ? BACKOFF_MAX_S : seconds) * 1000;
}

static void slot_died(struct slot *slot, int status)
{
    struct master *m = slot->master;
    bool stopping = m->phase == MASTER_DRAINING || m->phase == MASTER_STOPPING;
    bool planned = slot->state == SLOT_DRAINING || slot->replace || stopping;
    bool config = WIFEXITED(status) && WEXITSTATUS(status) == ROLE_EXIT_CONFIG;
    uint64_t delay_ms;

    log_write(planned ? LOG_LEVEL_NOTICE : LOG_LEVEL_WARN, "process ended",
              "child=%s child_slot=%zu child_pid=%d %s=%d", m->roles[slot->role].name,
              (size_t)(slot - m->slots), (int)slot->pid, WIFSIGNALED(status) ? "signal" : "status",
              WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    slot->pid = 0;
    slot_close_control(slot);
    if (slot->replace && !stopping) {
        slot_fork(slot);
        return;
    }
    if (planned) {
        slot->state = SLOT_EMPTY;
        return;
    }
    if (config) {
        log_error("a process refuses its configuration or data and is not started again: the log "
                  "tells why; correct it and reload",
                  "child=%s log=%s", m->roles[slot->role].name, log_quote(m->conf->log));
        slot->state = SLOT_FAILED;
        return;
    }
    delay_ms = slot_backoff_ms(slot, status);
    slot->state = SLOT_WAITING;
    loop_timer_set(m->loop, &slot->again, delay_ms);
    if (delay_ms > 0)
        log_error("a process keeps dying; waiting before the next start", "child=%s wait_ms=%llu",
                  m->roles[slot->role].name, (unsigned long long)delay_ms);
}

void slots_reap(struct master *m)
{
    pid_t pid;
    int status;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        for (size_t i = 0; i < TALLY_SLOTS_MAX; i++) {
            if (m->slots[i].pid != pid)
                continue;
            slot_control(&m->slots[i].control, 0); /* what it still said */
            slot_died(&m->slots[i], status);
        }
    }
    master_progress(m);
}

size_t slots_count(const struct master *m, enum master_role role, enum slot_state state)
{
    size_t count = 0;

    for (size_t i = 0; i < TALLY_SLOTS_MAX; i++)
        if (m->slots[i].state == state && (role == MASTER_ROLES || m->slots[i].role == role))
            count++;
    return count;
}

void slots_signal_all(struct master *m, enum master_role role, int signal)
{
    for (size_t i = 0; i < TALLY_SLOTS_MAX; i++)
        if (role == MASTER_ROLES || m->slots[i].role == role)
            slot_signal(&m->slots[i], signal);
}
