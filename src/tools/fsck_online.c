/*
 * fsck_online.c - checking beside a running daemon.
 *
 * Records are read from a copy of the database, which is as of one moment
 * (meta/checkpoint.h). Files are as of now, so what is wrong with one is looked at
 * again against a newer copy: a blob whose record went meanwhile was collected, a
 * file without a record that has one by then was pushed. Owns <data_dir>/fsck, which
 * a lock on it keeps for one fsck alone; a killed one's remains go with the next.
 */
#include "tools/fsck.h"

#include "base/fail.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/must.h"
#include "meta/checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define LOOKS_MAX 3
/* A push that was about to write its record has done so by then. */
#define LOOK_AFTER_US 300000
#define COPY_ATTEMPTS 3
#define NICE          10
/* linux/ioprio.h: only when nobody else wants the disk. */
#define IOPRIO_WHO_PROCESS 1
#define IOPRIO_IDLE        (3 << 13)

static void path_of(const struct fsck *f, const char *name, struct str *path)
{
    str_reset(path);
    str_printf(path, "%s/fsck%s%s", f->conf->data_dir, *name ? "/" : "", name);
}

static void copy_remove(const struct fsck *f)
{
    struct str path = {0};

    path_of(f, "copy", &path);
    checkpoint_remove(path.data);
    str_free(&path);
}

static void leave_nothing(const struct fsck *f)
{
    struct str path = {0};

    copy_remove(f);
    path_of(f, "", &path);
    rmdir(path.data);
    str_free(&path);
}

static sigset_t interrupts(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    return set;
}

/* Whoever interrupts an fsck expects nothing to be left. */
static void *signal_thread(void *ctx)
{
    const sigset_t set = interrupts();
    int signal = SIGTERM;

    sigwait(&set, &signal);
    leave_nothing(ctx);
    _exit(128 + signal);
}

static void catch_signals(struct fsck *f)
{
    const sigset_t set = interrupts();
    pthread_t thread;

    MUST(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    MUST(pthread_create(&thread, NULL, signal_thread, f) == 0);
    MUST(pthread_detach(thread) == 0);
}

int fsck_online_begin(struct fsck *f)
{
    struct str path = {0};
    int err;

    path_of(f, "", &path);
    err = file_mkdir_open(path.data, 0700, (uid_t)-1, (gid_t)-1, &f->online_fd);
    if (err != 0)
        fprintf(stderr, "entrepotctl: cannot make %s: %s\n", path.data, err_text(err));
    else if (flock(f->online_fd, LOCK_EX | LOCK_NB) != 0) {
        fprintf(stderr, "entrepotctl: another fsck is under way in %s\n", path.data);
        close(f->online_fd);
        f->online_fd = -1;
        err = ERR_BUSY;
    } else {
        f->online = true;
        catch_signals(f);
        /* The daemon's clients come first; where that cannot be had, it is only slower for them. */
        if (setpriority(PRIO_PROCESS, 0, NICE) != 0 ||
            syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_IDLE) != 0)
            fprintf(stderr, "entrepotctl: cannot step back behind the daemon: %s\n",
                    strerror(errno));
    }
    str_free(&path);
    return err;
}

static uint64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

uint64_t fsck_online_age_ms(const struct fsck *f)
{
    return now_ms() - f->copied_ms;
}

int fsck_online_copy(struct fsck *f)
{
    struct str from = {0}, to = {0};
    int err = ERR_BUSY;

    str_printf(&from, "%s/catalog", f->conf->data_dir);
    path_of(f, "copy", &to);
    db_close(&f->db);
    for (int i = 0; i < COPY_ATTEMPTS && err != 0; i++) {
        copy_remove(f);
        f->copied_ms = now_ms();
        err = checkpoint_make(from.data, to.data);
        if (err != 0)
            break;
        err = db_open(to.data, KV_EXISTING, &f->db);
    }
    if (err == 0)
        err = fsck_identity(f);
    if (err != 0)
        fprintf(stderr, "entrepotctl: cannot copy the database %s beside the daemon: %s\n",
                from.data, err_text(err));
    FAIL_POINT(fsck_copied);
    str_free(&from);
    str_free(&to);
    return err;
}

static bool any_odd(const struct fsck *f)
{
    for (size_t i = 0; i < f->blob_count; i++)
        if (fsck_blob_odd(&f->blobs[i]))
            return true;
    return false;
}

/* In the new copy: gone, or once more. */
static void look_again(struct fsck *f, struct fsck_blob *b)
{
    if (!meta_has(f->db, meta_blob(f->conf->stores[b->store].key, &b->digest))) {
        b->gone = true;
        return;
    }
    fsck_blob_mark(f, b);
    fsck_blob_look(f, b);
}

int fsck_online_confirm(struct fsck *f)
{
    int err = 0;

    for (int i = 0; i < LOOKS_MAX && err == 0 && any_odd(f); i++) {
        FAIL_POINT(fsck_suspects);
        usleep(LOOK_AFTER_US);
        err = fsck_online_copy(f);
        for (size_t at = 0; at < f->blob_count && err == 0; at++)
            if (fsck_blob_odd(&f->blobs[at]))
                look_again(f, &f->blobs[at]);
    }
    return err;
}

int fsck_online_settle(struct fsck *f)
{
    usleep(LOOK_AFTER_US);
    return fsck_online_copy(f);
}

void fsck_online_end(struct fsck *f)
{
    if (!f->online)
        return;
    leave_nothing(f);
    close(f->online_fd);
}
