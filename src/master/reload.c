/*
 * reload.c - HUP: a new configuration, all or nothing.
 *
 * Runs in the master. First phase: parse, check, make directories, bind new
 * connectors; any failure is logged and the old configuration stays untouched.
 * Second phase: the catalog and auth are replaced (their sockets keep what is
 * asked meanwhile), then new workers start, then the old ones finish their
 * connections. A crash of the new catalog in between leaves old workers serving.
 */
#include "base/fail.h"
#include "base/log.h"
#include "base/must.h"
#include "master/master.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int reload_read(struct master *m, struct conf **conf_r)
{
    struct str lines = {0};
    int err = conf_load(m->conf->file, conf_r, &lines);

    if (err != 0) {
        log_lines(LOG_LEVEL_ERROR, "mistake in the configuration", &lines);
        return err;
    }
    conf_restart_differences(m->conf, *conf_r, &lines);
    if (lines.len > 0) {
        log_lines(LOG_LEVEL_ERROR, "this change needs a restart", &lines);
        return ERR_CONFLICT;
    }
    str_free(&lines);
    err = resources_prepare(m, *conf_r);
    if (err == 0)
        err = ground_check(*conf_r, true);
    if (err == 0)
        err = resources_holdings(*conf_r, true);
    return err != 0 ? err : resources_stores(m, *conf_r);
}

/* Listeners only the old configuration has. The old workers close theirs when they drain. */
static void reload_close_listeners(struct master *m, const struct conf *conf, const int *fds)
{
    for (size_t i = 0; i < m->conf->connector_count; i++) {
        bool kept = false;

        for (size_t j = 0; j < conf->connector_count; j++)
            kept = kept || fds[j] == m->connector_fds[i];
        if (!kept)
            close(m->connector_fds[i]);
    }
}

void reload_replace(struct master *m, enum master_role role, bool wanted)
{
    for (size_t i = 0; i < TALLY_SLOTS_MAX; i++) {
        struct slot *slot = &m->slots[i];

        if (slot->role != role || slot->state == SLOT_EMPTY)
            continue;
        if (!wanted) {
            loop_timer_cancel(m->loop, &slot->again);
            slot->state = slot->pid > 0 ? SLOT_DRAINING : SLOT_EMPTY;
            slot_signal(slot, SIGQUIT);
        } else if (slot->pid > 0) {
            slot->replace = true;
            slot->state = SLOT_STARTING; /* it is ready again when its successor is */
            slot_signal(slot, SIGQUIT);
        } else {
            slot->failures = 0;
            slot_fork(slot);
        }
    }
}

/* Old workers that still drain hold their places. */
static int reload_room(struct master *m, const struct conf *conf)
{
    if (slots_count(m, MASTER_ROLES, SLOT_EMPTY) > conf->workers + MASTER_ROLES)
        return 0;
    log_error("too many workers of earlier configurations still finish; reload later, or lower "
              "drain_timeout",
              "draining=%zu", slots_count(m, MASTER_WORKER, SLOT_DRAINING));
    return ERR_BUSY;
}

/* A line of the audit trail for each change of rights. */
static void log_rights(struct str *lines)
{
    char *next;

    for (char *line = lines->data; line && *line; line = next) {
        size_t end = strcspn(line, "\n");

        next = line + end + (line[end] != 0);
        line[end] = 0;
        log_notice("audit", "%s", line);
    }
    str_free(lines);
}

void reload_begin(struct master *m)
{
    struct conf *conf = NULL;
    struct tls_pairs *certificates = NULL;
    struct str why = {0}, rights = {0};
    int *fds = NULL, *stores = NULL;

    if (m->phase != MASTER_SERVING) {
        m->reload_again = m->phase == MASTER_RELOADING || m->phase == MASTER_STARTING;
        return;
    }
    log_notice("reloading", "file=%s", log_quote(m->conf->file));
    if (reload_read(m, &conf) != 0 || reload_room(m, conf) != 0 ||
        certificates_read(conf, &certificates, &why) != 0 || ground_lock(m, conf, &stores) != 0 ||
        resources_listen(m, conf, &fds) != 0) {
        log_lines(LOG_LEVEL_ERROR, "a certificate cannot be used", &why);
        if (conf)
            certificates_wipe(&certificates, conf->connector_count);
        if (stores)
            ground_unlock(m, conf, stores);
        log_error("reload refused: the old configuration stays", NULL);
        conf_free(&conf);
        return;
    }
    log_lines(LOG_LEVEL_WARN, "a certificate is out of date", &why);
    limits_fit(conf);
    FAIL_POINT(master_reload);
    if (log_open(conf->log) != 0)
        log_error("cannot open the new log; writing to the old one", "log=%s errno=%s",
                  log_quote(conf->log), log_quote(strerror(errno)));
    log_threshold(conf->log_level);
    conf_rights_differences(m->conf, conf, &rights);
    log_rights(&rights);
    reload_close_listeners(m, conf, fds);
    free(m->connector_fds);
    m->connector_fds = fds;
    ground_take(m, conf, stores);
    certificates_wipe(&m->certificates, m->conf->connector_count);
    m->certificates = certificates;
    conf_free(&m->conf);
    m->conf = conf;
    m->generation++;
    m->phase = MASTER_RELOADING;
    reload_replace(m, MASTER_CATALOG, true);
    reload_replace(m, MASTER_AUTH, true);
    reload_replace(m, MASTER_FETCHER, m->conf->has_proxies);
    FAIL_POINT(master_replaced);
}
