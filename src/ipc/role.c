/*
 * role.c - the first steps of every process the master forks.
 *
 * Runs in each role once, at its start. What a role may keep is listed in
 * role_close_others; what it may still do, in role_drop_privileges. Those two
 * functions are the whole of the privilege separation: read them together. A crash before READY
 * counts double towards the master's back-off.
 */
#include "ipc/role.h"

#include "base/container.h"
#include "base/log.h"
#include "base/must.h"

#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <unistd.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ROLE_LEAKS_TOLD 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define ROLE_LEAKS_TOLD 1
#endif
#ifdef ROLE_LEAKS_TOLD
#include <sanitizer/lsan_interface.h>
#endif

struct role {
    struct role_setup setup;
    struct loop_fd control;
    char trouble[ROLE_TROUBLE_MAX]; /* as the master has it */
};

const char *role_socket(enum msg_role role)
{
    static const char *const sockets[] = {
        [MSG_ROLE_CATALOG] = ROLE_SOCKET_CATALOG,
        [MSG_ROLE_FETCHER] = ROLE_SOCKET_FETCHER,
        [MSG_ROLE_AUTH] = ROLE_SOCKET_AUTH,
        [MSG_ROLE_MASTER] = ROLE_SOCKET_CONTROL,
    };

    MUST(role != MSG_ROLE_NOBODY);
    return sockets[role];
}

static bool role_keeps(const struct role_start *start, int fd)
{
    if (fd == start->control_fd || fd == start->run_dir_fd || fd == start->listen_fd ||
        fd == start->lock_fd || fd == start->index_write_fd || fd == start->index_read_fd ||
        fd == start->auth_dir_fd || fd == log_fd())
        return true;
    for (size_t i = 0; start->connector_fds && i < start->conf->connector_count; i++)
        if (fd == start->connector_fds[i])
            return true;
    return false;
}

static void role_close_others(const struct role_start *start)
{
    long max = sysconf(_SC_OPEN_MAX);
    int run = -1;

    if (max < 0 || max > 65536)
        max = 65536;
    for (int fd = 3; fd < max; fd++) {
        if (!role_keeps(start, fd)) {
            if (run < 0)
                run = fd;
            continue;
        }
        if (run >= 0)
            close_range((unsigned)run, (unsigned)fd - 1, 0);
        run = -1;
    }
    close_range(run >= 0 ? (unsigned)run : (unsigned)max, ~0U, 0);
}

static void role_drop_privileges(const struct role_start *start)
{
    if (start->uid != (uid_t)-1) {
        if (setgroups(0, NULL) != 0 || setresgid(start->gid, start->gid, start->gid) != 0 ||
            setresuid(start->uid, start->uid, start->uid) != 0) {
            log_error("cannot give up root", "role=%s errno=%m", start->name);
            _exit(ROLE_EXIT_CONFIG);
        }
        MUST(start->uid == 0 || setuid(0) != 0);
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        log_warn("cannot set no_new_privs", "errno=%m");
    /* Who holds secrets of all is not looked into by others of the account, nor dumped. */
    if (start->auth_dir_fd >= 0)
        MUST(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0);
}

bool role_log_signal(int signal, const struct conf *conf)
{
    if (signal == ROLE_SIGNAL_DEBUG)
        log_threshold(LOG_LEVEL_DEBUG);
    else if (signal == ROLE_SIGNAL_LEVEL)
        log_threshold(conf->log_level);
    else
        return false;
    return true;
}

static void role_signal(int signal, void *ctx)
{
    struct role *role = ctx;

    if (role_log_signal(signal, role->setup.start->conf))
        return;
    if (signal == SIGUSR1) {
        if (log_reopen() != 0)
            log_error("cannot reopen the log; writing to the old file", NULL);
        if (role->setup.on_reopen)
            role->setup.on_reopen(role->setup.ctx);
        return;
    }
    if (signal == SIGHUP)
        return; /* the master's business; a terminal sends it to all */
    role->setup.on_stop(signal == SIGQUIT, role->setup.ctx);
}

static void role_control(struct loop_fd *watch, uint32_t events)
{
    struct role *role = CONTAINER_OF(watch, struct role, control);

    /* The master sends nothing here: anything to read is its end. */
    (void)events;
    loop_fd_remove(role->setup.loop, watch);
    log_notice("the master is gone: finishing", NULL);
    role->setup.on_stop(true, role->setup.ctx);
}

void role_leave(int status)
{
#ifdef ROLE_LEAKS_TOLD
    __lsan_do_leak_check(); /* else a handler of exit() does it */
#endif
    _exit(status);
}

void role_confine(const struct role_start *start)
{
    char name[16]; /* the kernel's limit, with the end mark */

    log_identity(start->name, (int)start->slot);
    snprintf(name, sizeof(name), "entr-%s", start->name);
    prctl(PR_SET_NAME, name, 0, 0, 0);
    role_close_others(start);
    role_drop_privileges(start);
}

struct role *role_begin(const struct role_setup *setup)
{
    static struct role only; /* a process has one role, as long as it lives */
    struct role *role = &only;
    sigset_t signals;

    MUST(!role->setup.start);
    role->setup = *setup;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGQUIT);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGUSR1);
    sigaddset(&signals, ROLE_SIGNAL_DEBUG);
    sigaddset(&signals, ROLE_SIGNAL_LEVEL);
    MUST(loop_signals(setup->loop, &signals, role_signal, role) == 0);

    role->control.fd = setup->start->control_fd;
    role->control.ready = role_control;
    MUST(loop_fd_add(setup->loop, &role->control, EPOLLIN) == 0);
    return role;
}

static int role_tell(struct role *role, struct msg_writer *w, int fd)
{
    int err = msg_send(role->control.fd, w, fd);

    msg_writer_free(w);
    return err;
}

void role_ready(struct role *role)
{
    struct msg_writer w = {0};

    msg_begin(&w, MSG_READY, 0);
    /* Fails only when the master is gone, and that its channel's end tells as well. */
    if (role_tell(role, &w, -1) != 0)
        log_notice("the master is gone before this role was ready", NULL);
}

void role_trouble(struct role *role, const char *text)
{
    char now[ROLE_TROUBLE_MAX];
    struct msg_writer w = {0};

    snprintf(now, sizeof(now), "%s", text);
    if (strcmp(now, role->trouble) == 0)
        return;
    msg_begin(&w, MSG_TROUBLE, 0);
    msg_put_str(&w, now);
    if (role_tell(role, &w, -1) == 0) /* else with the next look */
        strcpy(role->trouble, now);
}

const char *role_trouble_get(struct msg_reader *r)
{
    return msg_get_str(r, ROLE_TROUBLE_MAX);
}

int role_keep_index(struct role *role, enum role_index_fd which, int fd)
{
    struct msg_writer w = {0};

    msg_begin(&w, MSG_INDEX_KEEP, 0);
    msg_put_u8(&w, (uint8_t)which);
    return role_tell(role, &w, fd);
}

enum role_index_fd role_index_fd_get(struct msg_reader *r)
{
    uint8_t which = msg_get_u8(r);

    if (which != ROLE_INDEX_WRITABLE && which != ROLE_INDEX_READABLE)
        r->bad = true;
    return which;
}
