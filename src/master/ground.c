/*
 * ground.c - what a configuration stands on: do database and blob stores belong to it, and are the
 * stores ours alone?
 *
 * Runs in the master before anything is opened, made or collected. Owns the locks of the blob
 * stores: held as long as the master lives, so that no second daemon, whatever its data directory,
 * takes for garbage what it has no record of. A crash leaves the locks to nobody: the kernel lets
 * them go.
 */
#include "base/container.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "master/master.h"
#include "store/belong.h"
#include "store/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define WATCH_MS 1000

int ground_check(const struct conf *conf, bool reload)
{
    struct belong *b = mem_alloc(sizeof(*b));
    struct str why = {0};
    int err;

    belong_look(conf, b);
    err = belong_judge(conf, b, reload, &why);
    if (err != 0)
        log_lines(LOG_LEVEL_ERROR, "database and blob stores do not belong together", &why);
    str_free(&why);
    free(b);
    return err;
}

static bool same_file(int a, int b)
{
    struct stat one, two;

    return a >= 0 && b >= 0 && fstat(a, &one) == 0 && fstat(b, &two) == 0 &&
           one.st_ino == two.st_ino && one.st_dev == two.st_dev;
}

/* An earlier daemon's processes may still be leaving: only the first try of a start is patient. */
static int lock_take(const struct master *m, const struct conf_store *store, int fd, bool tell)
{
    int err;

    if (m->uid != (uid_t)-1 && fchown(fd, m->uid, m->gid) != 0)
        log_debug("a blob store's lock stays root's", "store=%s", store->name);
    if (resources_lock_patiently(fd, !m->store_fds))
        return 0;
    err = errno == EWOULDBLOCK ? ERR_BUSY : err_from_errno(errno);
    if (tell)
        log_error(err == ERR_BUSY
                      ? "another entrepotd uses this blob store; give each its own, or "
                        "stop the other one"
                      : "a blob store's file system cannot lock: two daemons there would "
                        "take each other's images for garbage; use another one",
                  "store=%s path=%s errno=%s", store->name, log_quote(store->path),
                  log_quote(strerror(errno)));
    return err;
}

static int lock_one(const struct master *m, const struct conf_store *store, int *fd_r)
{
    int err, fd = store_lock_open(store);

    *fd_r = -1;
    if (fd < 0) {
        /* Away, read-only, full, not ours: such a store answers 503 or serves what it has. */
        log_warn(
            "a blob store cannot be locked against other daemons: is its disk mounted, and is it "
            "ours to write?",
            "store=%s path=%s errno=%s", store->name, log_quote(store->path),
            log_quote(strerror(errno)));
        return 0;
    }
    /* By whatever name the configuration has it now: a second lock would meet our first. */
    for (size_t i = 0; m->store_fds && i < m->conf->store_count; i++)
        if (same_file(fd, m->store_fds[i])) {
            close(fd);
            *fd_r = m->store_fds[i];
            return 0;
        }
    err = lock_take(m, store, fd, true);
    if (err == 0)
        *fd_r = fd;
    else
        close(fd);
    return err;
}

/* A disk that was mounted after the start, or over a store, is not locked yet. */
static void watch(struct loop_timer *timer)
{
    struct master *m = CONTAINER_OF(timer, struct master, stores_timer);

    for (size_t i = 0; i < m->conf->store_count; i++) {
        int fd = store_lock_open(&m->conf->stores[i]);

        if (fd < 0)
            continue;
        if (same_file(fd, m->store_fds[i]) ||
            lock_take(m, &m->conf->stores[i], fd, !m->stores_told) != 0) {
            m->stores_told = !same_file(fd, m->store_fds[i]);
            close(fd);
            continue;
        }
        if (m->store_fds[i] >= 0)
            close(m->store_fds[i]);
        m->store_fds[i] = fd;
    }
    loop_timer_set(m->loop, timer, WATCH_MS);
}

void ground_watch(struct master *m)
{
    m->stores_timer.fire = watch;
    loop_timer_set(m->loop, &m->stores_timer, WATCH_MS);
}

static bool locked_before(const struct master *m, int fd)
{
    for (size_t i = 0; m->store_fds && i < m->conf->store_count; i++)
        if (m->store_fds[i] == fd)
            return true;
    return false;
}

void ground_unlock(struct master *m, const struct conf *conf, int *fds)
{
    for (size_t i = 0; i < conf->store_count; i++)
        if (fds[i] >= 0 && !locked_before(m, fds[i]))
            close(fds[i]);
    free(fds);
}

int ground_lock(struct master *m, const struct conf *conf, int **fds_r)
{
    int *fds = mem_alloc_array(conf->store_count + 1, sizeof(*fds));
    int err = 0;

    for (size_t i = 0; i < conf->store_count; i++)
        fds[i] = -1;
    for (size_t i = 0; i < conf->store_count && err == 0; i++)
        err = lock_one(m, &conf->stores[i], &fds[i]);
    if (err == 0)
        *fds_r = fds;
    else
        ground_unlock(m, conf, fds);
    return err;
}

void ground_take(struct master *m, const struct conf *conf, int *fds)
{
    for (size_t i = 0; m->store_fds && i < m->conf->store_count; i++) {
        bool kept = m->store_fds[i] < 0;

        for (size_t j = 0; j < conf->store_count; j++)
            kept = kept || fds[j] == m->store_fds[i];
        if (!kept)
            close(m->store_fds[i]);
    }
    free(m->store_fds);
    m->store_fds = fds;
}
