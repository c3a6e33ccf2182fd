/*
 * master.c - the master process: start, signals, reload, stop.
 *
 * Single-threaded; opens neither the database nor any client's connection.
 * Owns listeners, role sockets, the lock, the descriptors of the index and the
 * tally, so that every other process can die and be born again around them.
 * When it dies, the children see EOF on their control channels, finish and leave.
 */
#include "master/master.h"

#include "base/clock.h"
#include "base/container.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Between TERM and KILL. */
#define STOP_PATIENCE_MS 5000

static void start_role(struct master *m, enum master_role role, size_t count)
{
    for (size_t i = 0; i < count; i++)
        slot_fork(slots_take(m, role));
}

static bool role_ready_in_generation(const struct master *m, enum master_role role, size_t count)
{
    size_t ready = 0;

    for (size_t i = 0; i < TALLY_SLOTS_MAX; i++)
        ready += m->slots[i].role == role && m->slots[i].state == SLOT_READY &&
                 m->slots[i].generation == m->generation;
    return ready >= count;
}

/* One whose old process still ends has its successor in its own place. */
static size_t role_started_in_generation(const struct master *m, enum master_role role)
{
    size_t count = 0;

    for (size_t i = 0; i < TALLY_SLOTS_MAX; i++)
        count += m->slots[i].role == role && m->slots[i].state != SLOT_EMPTY &&
                 m->slots[i].state != SLOT_DRAINING &&
                 (m->slots[i].generation == m->generation || m->slots[i].replace);
    return count;
}

static void drain_old_workers(struct master *m)
{
    for (size_t i = 0; i < TALLY_SLOTS_MAX; i++) {
        struct slot *slot = &m->slots[i];

        if (slot->role != MASTER_WORKER || slot->generation == m->generation ||
            slot->state == SLOT_EMPTY || slot->state == SLOT_DRAINING)
            continue;
        loop_timer_cancel(m->loop, &slot->again);
        if (slot->pid > 0) {
            slot->state = SLOT_DRAINING;
            slot_signal(slot, SIGQUIT);
        } else {
            slot->state = SLOT_EMPTY;
        }
    }
}

void master_leave_terminal(const struct master *m)
{
    int null = log_fd() == STDERR_FILENO ? -1 : open("/dev/null", O_RDWR | O_CLOEXEC);

    if (m->started_fd < 0 || null < 0)
        return;
    dup2(null, STDERR_FILENO);
    close(null);
}

static void serving(struct master *m)
{
    bool first = m->phase == MASTER_STARTING;

    m->phase = MASTER_SERVING;
    log_notice(first ? "serving" : "reloaded", "generation=%u workers=%u", m->generation,
               m->conf->workers);
    log_echo(false);
    if (m->started_fd >= 0) {
        master_leave_terminal(m);
        if (write(m->started_fd, "1", 1) != 1)
            log_warn("whoever started us has left", NULL);
        close(m->started_fd);
        m->started_fd = -1;
    }
    if (m->reload_again) {
        m->reload_again = false;
        reload_begin(m);
    }
}

/* A catalog that cannot be is not waited for at a start: without it everything is answered
 * 503, and health tells it. A reload waits: the old workers serve. */
static bool catalog_settled(const struct master *m)
{
    if (role_ready_in_generation(m, MASTER_CATALOG, 1))
        return true;
    if (slots_count(m, MASTER_CATALOG, SLOT_FAILED) > 0)
        return true;
    return m->phase == MASTER_STARTING && slots_count(m, MASTER_CATALOG, SLOT_WAITING) > 0;
}

static void master_stop(struct master *m, bool drain)
{
    if (m->phase == MASTER_STOPPING || (drain && m->phase == MASTER_DRAINING))
        return;
    log_notice(drain ? "finishing: no new connections" : "stopping", NULL);
    m->phase = drain ? MASTER_DRAINING : MASTER_STOPPING;
    for (size_t i = 0; i < TALLY_SLOTS_MAX; i++)
        loop_timer_cancel(m->loop, &m->slots[i].again);
    if (drain) {
        slots_signal_all(m, MASTER_WORKER, SIGQUIT);
        for (size_t i = 0; i < m->conf->connector_count; i++)
            close(m->connector_fds[i]);
    } else {
        slots_signal_all(m, MASTER_ROLES, SIGTERM);
        loop_timer_set(m->loop, &m->kill_timer, STOP_PATIENCE_MS);
    }
    master_progress(m);
}

/* At a start that no second one would mend, such as over a database of a newer build. (A role that
 * refuses a reload, or its data later, stays down: who serves goes on.) */
static bool refused(const struct master *m)
{
    return m->phase == MASTER_STARTING && slots_count(m, MASTER_CATALOG, SLOT_FAILED) > 0;
}

/* Start and reload are the same walk: catalog, then auth and workers, then serve. */
static void bring_up(struct master *m)
{
    if (refused(m)) {
        m->status = ROLE_EXIT_CONFIG;
        master_stop(m, false);
        return;
    }
    if (!catalog_settled(m))
        return;
    if (role_started_in_generation(m, MASTER_AUTH) == 0)
        start_role(m, MASTER_AUTH, 1);
    if (m->conf->has_proxies && role_started_in_generation(m, MASTER_FETCHER) == 0)
        start_role(m, MASTER_FETCHER, 1);
    if (role_started_in_generation(m, MASTER_WORKER) == 0)
        start_role(m, MASTER_WORKER, m->conf->workers);
    if (!role_ready_in_generation(m, MASTER_WORKER, m->conf->workers))
        return;
    drain_old_workers(m);
    serving(m);
}

void master_progress(struct master *m)
{
    size_t alive = 0, workers = 0;

    if (m->phase == MASTER_STARTING || m->phase == MASTER_RELOADING) {
        bring_up(m);
        return;
    }
    if (m->phase == MASTER_SERVING)
        return;
    for (size_t i = 0; i < TALLY_SLOTS_MAX; i++) {
        alive += m->slots[i].pid > 0;
        workers += m->slots[i].pid > 0 && m->slots[i].role == MASTER_WORKER;
    }
    if (alive == 0) {
        loop_stop(m->loop);
    } else if (m->phase == MASTER_DRAINING && workers == 0) {
        m->phase = MASTER_STOPPING;
        slots_signal_all(m, MASTER_ROLES, SIGTERM);
        loop_timer_set(m->loop, &m->kill_timer, STOP_PATIENCE_MS);
    }
}

static void master_kill(struct loop_timer *timer)
{
    struct master *m = CONTAINER_OF(timer, struct master, kill_timer);

    log_warn("some processes did not end in time: killing them", NULL);
    slots_signal_all(m, MASTER_ROLES, SIGKILL);
}

/* Logs belong to the account of the others: an AUTH of an account of its own cannot open them,
 * but its successor inherits ours. */
static void reopen_roles(struct master *m)
{
    for (enum master_role role = 0; role < MASTER_ROLES; role++)
        if (role != MASTER_AUTH || m->auth_uid == m->uid)
            slots_signal_all(m, role, SIGUSR1);
        else if (m->phase == MASTER_SERVING)
            reload_replace(m, role, true);
}

static void master_signal(int signal, void *ctx)
{
    struct master *m = ctx;

    if (role_log_signal(signal, m->conf)) {
        log_notice(signal == ROLE_SIGNAL_DEBUG ? "logging everything"
                                               : "logging what log_level says",
                   NULL);
        slots_signal_all(m, MASTER_ROLES, signal);
        return;
    }
    switch (signal) {
    case SIGCHLD:
        slots_reap(m);
        break;
    case SIGHUP:
        reload_begin(m);
        break;
    case SIGUSR1:
        if (log_reopen() != 0)
            log_error("cannot reopen the log; writing to the old file", NULL);
        if (resources_prepare(m, m->conf) != 0) /* the new files must belong to the roles */
            log_error("cannot prepare the new log files", NULL);
        reopen_roles(m);
        break;
    case SIGQUIT:
        master_stop(m, true);
        break;
    default:
        master_stop(m, false);
    }
}

static int master_watch_signals(struct master *m)
{
    static const int caught[] = {SIGCHLD, SIGHUP, SIGUSR1, SIGQUIT, SIGTERM, SIGINT};
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < sizeof(caught) / sizeof(caught[0]); i++)
        sigaddset(&set, caught[i]);
    sigaddset(&set, ROLE_SIGNAL_DEBUG);
    sigaddset(&set, ROLE_SIGNAL_LEVEL);
    return loop_signals(m->loop, &set, master_signal, m);
}

static void master_init(struct master *m, struct conf *conf,
                        const struct master_role_entry roles[MASTER_ROLES], int started_fd)
{
    m->roles = roles;
    m->conf = conf;
    m->started_fd = started_fd;
    m->lock_fd = m->run_lock_fd = m->run_dir_fd = m->control_fd = m->index_write_fd =
        m->index_read_fd = m->auth_dir_fd = -1;
    for (size_t i = 0; i < MASTER_ROLES; i++)
        m->socket_fds[i] = -1;
    m->generation = 1;
    m->started_ms = clock_boot_ms();
    m->kill_timer.fire = master_kill;
    slots_init(m);
}

/* Children exit with a copy of this; from here leak checkers find it there too. */
static struct master *self;

static int master_end(struct master *m, int status)
{
    resources_release(m);
    if (m->control)
        serve_free(&m->control);
    for (size_t i = 0; i < TALLY_SLOTS_MAX; i++)
        loop_timer_cancel(m->loop, &m->slots[i].again);
    for (size_t i = 0; i < TALLY_SLOTS_MAX; i++)
        free(m->slots[i].trouble);
    loop_timer_cancel(m->loop, &m->tickets_timer);
    loop_timer_cancel(m->loop, &m->stores_timer);
    loop_timer_cancel(m->loop, &m->clock_timer);
    loop_free(&m->loop);
    certificates_wipe(&m->certificates, m->conf->connector_count);
    tls_tickets_close(&m->tickets);
    free(m->connector_fds);
    free(m->store_fds);
    conf_free(&m->conf);
    free(m);
    self = NULL;
    return status;
}

static int master_certificates(struct master *m)
{
    struct str why = {0};
    int err = 0;

    m->tickets = tls_tickets_new();
    if (!m->tickets)
        err = ERR_UNAVAILABLE;
    else
        err = certificates_read(m->conf, &m->certificates, &why);
    if (err != 0)
        log_lines(LOG_LEVEL_ERROR, "a certificate cannot be used", &why);
    else
        certificates_rotate_tickets(m);
    if (err == 0)
        log_lines(LOG_LEVEL_WARN, "a certificate is out of date", &why);
    str_free(&why);
    return err;
}

int master_run(struct conf *conf, const struct master_role_entry roles[MASTER_ROLES],
               int started_fd)
{
    struct master *m = self = mem_alloc(sizeof(*m));
    struct serve_setup control = {
        .role = MSG_ROLE_MASTER, .peers_max = 16, .on_message = status_message, .ctx = m};

    master_init(m, conf, roles, started_fd);
    log_identity("master", 0);
    log_threshold(conf->log_level);
    m->loop = loop_new();
    /* Whoever starts us hears what is wrong, and so does the log, as soon as it is open. */
    log_echo(true);
    if (log_open(conf->log) != 0)
        log_debug("the log is not there yet", NULL); /* resources_prepare tells why, or makes it */
    if (resources_prepare(m, conf) != 0)
        return master_end(m, EXIT_FAILURE);
    if (log_open(conf->log) != 0) {
        log_error("cannot open the log", "log=%s errno=%s", log_quote(conf->log),
                  log_quote(strerror(errno)));
        return master_end(m, EXIT_FAILURE);
    }
    if (resources_claim(m) != 0)
        return master_end(m, EXIT_FAILURE);
    if (ground_check(conf, false) != 0 || resources_holdings(conf, false) != 0)
        return master_end(m, ROLE_EXIT_CONFIG);
    if (resources_stores(m, conf) != 0 || ground_lock(m, conf, &m->store_fds) != 0)
        return master_end(m, EXIT_FAILURE);
    if (master_certificates(m) != 0)
        return master_end(m, m->tickets ? ROLE_EXIT_CONFIG : EXIT_FAILURE);
    if (resources_listen(m, conf, &m->connector_fds) != 0)
        return master_end(m, EXIT_FAILURE);
    control.loop = m->loop;
    control.listen_fd = m->control_fd;
    MUST(master_watch_signals(m) == 0);
    MUST(serve_new(&control, &m->control) == 0);
    limits_fit(conf);
    log_notice("starting", "file=%s data_dir=%s", log_quote(conf->file), log_quote(conf->data_dir));
    ground_watch(m);
    start_role(m, MASTER_CATALOG, 1);
    loop_run(m->loop);
    log_notice("stopped", NULL);
    return master_end(m, m->status);
}
