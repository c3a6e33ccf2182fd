/*
 * resources.c - what the master makes before any role needs it.
 *
 * Runs in the master, as root when started so. Everything a configuration can
 * fail at is tried here, before anything of the old one is given up. A crash leaves empty
 * directories and files, sockets and a pid file, which the next start takes over.
 */
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/net.h"
#include "conf/holdings.h"
#include "master/master.h"
#include "store/belong.h"
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define BACKLOG 4096
/* How often and how far apart what an earlier daemon holds is asked for. */
#define CLAIM_TRIES   30
#define CLAIM_WAIT_US 100000

static int account_of(const char *key, const char *name, uid_t *uid_r, gid_t *gid_r)
{
    const struct passwd *account;

    errno = 0;
    account = getpwnam(name);
    if (!account) {
        log_error("no such account; create it or name another", "key=%s account=%s errno=%s", key,
                  log_quote(name), log_quote(errno ? strerror(errno) : "no entry"));
        return ERR_NOT_FOUND;
    }
    *uid_r = account->pw_uid;
    *gid_r = account->pw_gid;
    return 0;
}

static int resources_account(struct master *m, const struct conf *conf)
{
    int err;

    m->uid = m->auth_uid = (uid_t)-1;
    m->gid = m->auth_gid = (gid_t)-1;
    if (getuid() != 0 || !conf->user || !*conf->user)
        return 0;
    err = account_of("user", conf->user, &m->uid, &m->gid);
    m->auth_uid = m->uid;
    m->auth_gid = m->gid;
    if (err == 0 && conf->auth_user && *conf->auth_user)
        err = account_of("auth_user", conf->auth_user, &m->auth_uid, &m->auth_gid);
    return err;
}

/* `key`: of the configuration, for the message. */
static int resources_directory(struct master *m, const char *key, const char *path, mode_t mode)
{
    int fd = -1;
    int err = file_mkdir_open(path, mode, m->uid, m->gid, &fd);

    if (err != 0) {
        log_error(err == ERR_NOT_FOUND ? "a directory is not made because what is above it is "
                                         "missing; is its disk mounted?"
                                       : "cannot make or open a directory",
                  "key=%s path=%s errno=%s", key, log_quote(path), log_quote(strerror(errno)));
        return err;
    }
    close(fd);
    return 0;
}

/* Roles open log files again as themselves: the files must be theirs. */
static int resources_log_file(struct master *m, const char *key, const char *path)
{
    char *copy;
    int fd, err;

    if (strcmp(path, "stderr") == 0 || strcmp(path, "off") == 0)
        return 0;
    copy = mem_strdup(path);
    err = resources_directory(m, key, dirname(copy), 0750);
    free(copy);
    if (err != 0)
        return err;
    fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (fd < 0 || (m->uid != (uid_t)-1 && fchown(fd, m->uid, m->gid) != 0)) {
        log_error("cannot open a log file", "key=%s path=%s errno=%s", key, log_quote(path),
                  log_quote(strerror(errno)));
        err = ERR_IO;
    }
    if (fd >= 0)
        close(fd);
    return err;
}

static bool may_read(const struct stat *st, uid_t uid, gid_t gid)
{
    if (st->st_uid == uid)
        return st->st_mode & S_IRUSR;
    return st->st_mode & (st->st_gid == gid ? S_IRGRP : S_IROTH);
}

/* With an account of AUTH's own, the hashes are for nobody else. */
static void users_look(const struct master *m, const struct conf *conf)
{
    struct stat st;

    if (m->uid == (uid_t)-1)
        return;
    if (m->auth_uid == m->uid)
        log_notice("no account of AUTH's own: a worker that is taken over could read password "
                   "hashes and the key that signs; name one with auth_user",
                   NULL);
    else if (stat(conf->auth.htpasswd, &st) == 0 && may_read(&st, m->uid, m->gid))
        log_warn("the account of the workers can read the file of users: give it to auth_user's "
                 "group, mode 0640",
                 "htpasswd=%s auth_user=%s", log_quote(conf->auth.htpasswd), conf->auth_user);
}

/* What is in the file, and that it is not made yet, is AUTH's to tell, and so is a directory
 * of the wrong owner. AUTH gets a descriptor: what is above may be closed to its account. */
static int resources_auth(struct master *m, const struct conf *conf)
{
    struct str path = {0};
    int fd = -1, err;

    if (m->auth_dir_fd >= 0)
        close(m->auth_dir_fd);
    m->auth_dir_fd = -1;
    if (!conf->auth.on)
        return 0;
    if (access(conf->auth.htpasswd, F_OK) != 0 && !file_absent(conf->auth.htpasswd)) {
        log_error("the file of users cannot be reached", "htpasswd=%s errno=%s",
                  log_quote(conf->auth.htpasswd), log_quote(strerror(errno)));
        return ERR_NOT_FOUND;
    }
    users_look(m, conf);
    str_printf(&path, "%s/auth", conf->data_dir);
    err = file_mkdir_open(path.data, 0700, m->auth_uid, m->auth_gid, &fd);
    if (err != 0)
        log_error("cannot make or open the directory of AUTH", "path=%s errno=%s",
                  log_quote(path.data), log_quote(strerror(errno)));
    m->auth_dir_fd = fd;
    str_free(&path);
    return err;
}

int resources_prepare(struct master *m, const struct conf *conf)
{
    int err = resources_account(m, conf);

    if (err == 0)
        err = resources_directory(m, "data_dir", conf->data_dir, 0750);
    if (err == 0)
        err = resources_auth(m, conf);
    if (err == 0)
        err = resources_log_file(m, "log", conf->log);
    if (err == 0)
        err = resources_log_file(m, "access_log", conf->access_log);
    return err;
}

int resources_stores(const struct master *m, const struct conf *conf)
{
    struct belong *b = mem_alloc(sizeof(*b));
    int err = 0;

    belong_look(conf, b);
    for (size_t i = 0; i < conf->store_count && err == 0; i++) {
        if (b->stores[i] == BELONG_AWAY) /* nothing is made in its place */
            continue;
        err = store_make(&conf->stores[i], m->uid, m->gid);
        if (err != 0)
            log_error(err == ERR_NOT_FOUND ? "a blob store is not made because what is above it is "
                                             "missing; is its disk mounted?"
                                           : "cannot make or open a blob store",
                      "store=%s path=%s errno=%s", conf->stores[i].name,
                      log_quote(conf->stores[i].path), log_quote(strerror(errno)));
    }
    free(b);
    return err;
}

int resources_holdings(const struct conf *conf, bool reload)
{
    struct holdings held;
    struct str changed = {0}, unowned = {0};
    int err = holdings_read(conf->data_dir, &held);

    if (err != 0) {
        if (err != ERR_NOT_FOUND)
            log_warn("what repositories hold is not known before the database is open",
                     "path=%s/catalog err=%s", log_quote(conf->data_dir), log_quote(err_text(err)));
        return 0;
    }
    holdings_compare(&held, conf, &changed, &unowned);
    holdings_free(&held);
    if (changed.len > 0 || (reload && unowned.len > 0))
        err = ERR_CONFLICT;
    log_lines(LOG_LEVEL_ERROR, "images would be lost from sight", &changed);
    log_lines(reload ? LOG_LEVEL_ERROR : LOG_LEVEL_WARN, "a section is missing", &unowned);
    return err;
}

static int listen_patiently(const struct conf_connector *connector, bool patient, int *fd_r)
{
    int tries = patient ? CLAIM_TRIES : 1;
    int err = ERR_EXISTS;

    while (err == ERR_EXISTS && tries-- > 0) {
        err = net_listen(&connector->addr, BACKLOG, fd_r);
        if (err == ERR_EXISTS && tries > 0)
            usleep(CLAIM_WAIT_US);
    }
    if (err == ERR_EXISTS)
        log_error("a connector's address is in use by another program", "connector=%s errno=%s",
                  connector->address, log_quote(strerror(errno)));
    else if (err == ERR_DENIED)
        log_error("no right to listen on a connector's port", "connector=%s errno=%s",
                  connector->address, log_quote(strerror(errno)));
    else if (err != 0)
        log_error("cannot listen on a connector's address", "connector=%s errno=%s",
                  connector->address, log_quote(strerror(errno)));
    return err;
}

/* However it is written: the kernel would refuse to bind it twice. */
static bool same_address(const struct conf_connector *a, const struct conf_connector *b)
{
    return a->addr.len == b->addr.len && memcmp(&a->addr.ss, &b->addr.ss, a->addr.len) == 0;
}

int resources_listen(struct master *m, const struct conf *conf, int **fds_r)
{
    int *fds = mem_alloc_array(conf->connector_count + 1, sizeof(*fds));
    bool *opened = mem_alloc_array(conf->connector_count + 1, sizeof(*opened));
    int err = 0;
    size_t i;

    for (i = 0; i < conf->connector_count && err == 0; i++) {
        fds[i] = -1;
        for (size_t j = 0; m->connector_fds && j < m->conf->connector_count; j++)
            if (same_address(&conf->connectors[i], &m->conf->connectors[j]))
                fds[i] = m->connector_fds[j];
        if (fds[i] >= 0)
            continue;
        err = listen_patiently(&conf->connectors[i], !m->connector_fds, &fds[i]);
        opened[i] = err == 0;
    }
    if (err != 0) {
        while (i-- > 0)
            if (opened[i])
                close(fds[i]);
        free(fds);
    } else {
        *fds_r = fds;
    }
    free(opened);
    return err;
}

/* An earlier daemon's processes may still be leaving. */
bool resources_lock_patiently(int fd, bool patient)
{
    for (int tries = patient ? CLAIM_TRIES : 0; flock(fd, LOCK_EX | LOCK_NB) != 0; tries--) {
        if (errno != EWOULDBLOCK || tries == 0)
            return false;
        usleep(CLAIM_WAIT_US);
    }
    return true;
}

static int resources_lock(struct master *m)
{
    struct str path = {0};

    str_printf(&path, "%s/lock", m->conf->data_dir);
    m->lock_fd = open(path.data, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (m->lock_fd < 0 && (errno == EROFS || errno == ENOSPC)) /* what is there is served */
        m->lock_fd = open(path.data, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (m->lock_fd < 0) {
        log_error("cannot open the lock file", "path=%s errno=%s", log_quote(path.data),
                  log_quote(strerror(errno)));
        str_free(&path);
        return ERR_IO;
    }
    str_free(&path);
    /* The account's, as all that lies beside it: it may fsck its data itself. Where that
     * cannot be had (a read-only disk), only root may. */
    if (m->uid != (uid_t)-1 && fchown(m->lock_fd, m->uid, m->gid) != 0)
        log_notice("the lock file stays as it is", "data_dir=%s errno=%s",
                   log_quote(m->conf->data_dir), log_quote(strerror(errno)));
    if (resources_lock_patiently(m->lock_fd, true))
        return 0;
    log_error("another entrepotd uses this data directory; stop it first", "data_dir=%s",
              log_quote(m->conf->data_dir));
    return ERR_BUSY;
}

/* Takes the run directory over: nobody else's, and the roles' to enter. */
static int resources_run_dir(struct master *m)
{
    int err = file_mkdir_open(m->conf->run_dir, 0700, m->uid, m->gid, &m->run_dir_fd);

    if (err != 0) {
        log_error(err == ERR_NOT_FOUND
                      ? "the run directory is not made because what is above it is missing"
                      : "cannot make or open the run directory",
                  "run_dir=%s errno=%s", log_quote(m->conf->run_dir), log_quote(strerror(errno)));
        return err;
    }
    /* Opened again: the roles inherit the other descriptor, and a worker that
     * finishes its downloads must not keep a successor of ours waiting. */
    m->run_lock_fd = openat(m->run_dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (m->run_lock_fd < 0 || !resources_lock_patiently(m->run_lock_fd, true)) {
        log_error("another entrepotd uses this run directory; give each its own", "run_dir=%s",
                  log_quote(m->conf->run_dir));
        close(m->run_dir_fd);
        m->run_dir_fd = -1; /* what lies there is not ours to remove */
        return ERR_BUSY;
    }
    /* A service manager may have made it, as root's. */
    if (fchmod(m->run_dir_fd, 0700) != 0 ||
        (m->uid != (uid_t)-1 && fchown(m->run_dir_fd, m->uid, m->gid) != 0)) {
        log_error("cannot take the run directory over", "run_dir=%s errno=%s",
                  log_quote(m->conf->run_dir), log_quote(strerror(errno)));
        return ERR_IO;
    }
    return 0;
}

static int resources_socket(struct master *m, const char *name, int *fd_r)
{
    int err = net_seqpacket_listen(m->run_dir_fd, name, fd_r);

    if (err == 0 && m->uid != (uid_t)-1 && fchownat(m->run_dir_fd, name, m->uid, m->gid, 0) != 0)
        err = err_from_errno(errno);
    if (err != 0)
        log_error("cannot make a role socket", "name=%s/%s errno=%s", log_quote(m->conf->run_dir),
                  name, log_quote(strerror(errno)));
    return err;
}

static int resources_pid_file(struct master *m)
{
    int fd = openat(m->run_dir_fd, "entrepotd.pid",
                    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    int err = fd < 0 || dprintf(fd, "%d\n", (int)getpid()) < 0 ? err_from_errno(errno) : 0;

    if (err != 0)
        log_error("cannot write the pid file", "path=%s/entrepotd.pid errno=%s",
                  log_quote(m->conf->run_dir), log_quote(strerror(errno)));
    if (fd >= 0)
        close(fd);
    return err;
}

int resources_claim(struct master *m)
{
    int err = resources_lock(m);

    if (err != 0)
        return err;
    err = resources_run_dir(m);
    for (size_t i = 0; i < MASTER_ROLES && err == 0; i++)
        if (m->roles[i].socket)
            err = resources_socket(m, m->roles[i].socket, &m->socket_fds[i]);
    if (err == 0)
        err = resources_socket(m, ROLE_SOCKET_CONTROL, &m->control_fd);
    if (err == 0)
        err = tally_new(&m->tally);
    if (err == 0)
        err = recent_new(&m->recent);
    if (err == 0)
        err = clock_watch_start(m);
    if (err == 0)
        err = placed_new(&m->placed);
    if (err == 0)
        err = sessions_new(&m->sessions);
    if (err == 0)
        err = board_new(&m->board);
    if (err == 0)
        err = throttle_new(&m->throttle);
    if (err == 0)
        err = resources_pid_file(m);
    return err;
}

void resources_release(struct master *m)
{
    for (size_t i = 0; i < MASTER_ROLES; i++)
        if (m->roles[i].socket && m->run_dir_fd >= 0)
            unlinkat(m->run_dir_fd, m->roles[i].socket, 0);
    if (m->run_dir_fd >= 0) {
        unlinkat(m->run_dir_fd, ROLE_SOCKET_CONTROL, 0);
        unlinkat(m->run_dir_fd, "entrepotd.pid", 0);
    }
}
