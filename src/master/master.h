/*
 * master.h - the process that starts, watches and replaces all others.
 */
#ifndef ENTREPOT_MASTER_MASTER_H
#define ENTREPOT_MASTER_MASTER_H

#include "base/loop.h"
#include "conf/conf.h"
#include "http/tls.h"
#include "ipc/role.h"
#include "ipc/serve.h"
#include "shm/board.h"
#include "shm/placed.h"
#include "shm/recent.h"
#include "shm/sessions.h"
#include "shm/tally.h"
#include "shm/throttle.h"

#include <stdbool.h>
#include <sys/types.h>

enum master_role { MASTER_CATALOG, MASTER_AUTH, MASTER_FETCHER, MASTER_WORKER, MASTER_ROLES };

/* What main.c tells about each role; the master knows none of them itself. */
struct master_role_entry {
    const char *name;
    const char *socket; /* name of its role socket; NULL: none */
    int (*run)(const struct role_start *start);
};

enum slot_state {
    SLOT_EMPTY,
    SLOT_STARTING, /* forked */
    SLOT_READY,    /* said so */
    SLOT_DRAINING, /* told to finish; not replaced */
    SLOT_WAITING,  /* died too often: back-off runs */
    SLOT_FAILED    /* exited with ROLE_EXIT_CONFIG: stays down until a reload */
};

struct master;

/* A place for one process. Its number is its place in the tally. */
struct slot {
    struct master *master;
    enum master_role role;
    enum slot_state state;
    pid_t pid;
    unsigned generation, restarts, failures;
    uint64_t started_ms;
    bool replace;           /* planned end: start the next one at once */
    char *trouble;          /* what it has told that it cannot do; NULL: nothing */
    struct loop_fd control; /* fd -1: none */
    struct loop_timer again;
};

enum master_phase {
    MASTER_STARTING, /* first catalog, then the rest */
    MASTER_SERVING,
    MASTER_RELOADING, /* the new catalog, then new workers, then the old ones drain */
    MASTER_DRAINING,  /* QUIT: workers finish, then all end */
    MASTER_STOPPING   /* TERM: everybody ends now */
};

struct master {
    const struct master_role_entry *roles; /* [MASTER_ROLES] */
    struct conf *conf;
    struct loop *loop;
    struct serve *control;
    enum master_phase phase;
    bool reload_again; /* a HUP came during a reload */
    int status;        /* what to end with */
    unsigned generation;
    uid_t uid; /* of the roles; -1: ours */
    gid_t gid;
    uid_t auth_uid; /* of AUTH */
    gid_t auth_gid;
    int auth_dir_fd; /* what AUTH alone may read; -1: there are no logins */
    int lock_fd, run_dir_fd;
    int run_lock_fd; /* the run directory's flock: ours alone, so that it ends with us */
    int socket_fds[MASTER_ROLES], control_fd;
    int *store_fds; /* locks, by place in conf->stores */
    struct loop_timer stores_timer;
    bool stores_told;               /* that one of them is another daemon's */
    int *connector_fds;             /* by place in conf->connectors */
    struct tls_pairs *certificates; /* the same */
    struct tls_tickets *tickets;
    struct loop_timer tickets_timer;
    int index_write_fd, index_read_fd;
    void *tally;
    struct recent *recent;
    struct placed *placed;
    struct sessions *sessions;
    struct board *board;
    struct throttle *throttle;
    int started_fd;      /* told when we serve (daemonised start); -1: nobody waits */
    uint64_t started_ms; /* of the boot clock */
    struct loop_timer kill_timer, clock_timer;
    int64_t clock_noted_ms; /* the offset as data_dir/clock has it */
    struct slot slots[TALLY_SLOTS_MAX];
};

/* Runs the daemon with a checked configuration, which it owns from then on.
 * started_fd gets one byte when everything serves; -1: nobody waits. Returns the exit status:
 * ROLE_EXIT_CONFIG for what `entrepotd -t` would refuse, too, EXIT_FAILURE for all else. */
int master_run(struct conf *conf, const struct master_role_entry roles[MASTER_ROLES],
               int started_fd);
/* Moves a start, reload or stop on; called after every change of a slot. */
void master_progress(struct master *m);
/* A daemonised start holds the caller's standard error until it serves; each process it
 * forks lets go of it at once. Does nothing in the foreground or while the log is there. */
void master_leave_terminal(const struct master *m);

/* slots.c */
void slots_init(struct master *m);
/* A place for a new process of that role; MUST when all are taken (the
 * configuration bounds workers, reloads wait for each other). */
struct slot *slots_take(struct master *m, enum master_role role);
void slot_fork(struct slot *slot);
void slot_signal(struct slot *slot, int signal);
/* Collects dead children, replaces whom it should. */
void slots_reap(struct master *m);
/* How many processes of a role (MASTER_ROLES: of any) are in a state. */
size_t slots_count(const struct master *m, enum master_role role, enum slot_state state);
void slots_signal_all(struct master *m, enum master_role role, int signal);

/* resources.c: what must be there before a configuration can be used. */
/* Makes directories, opens and owns log files; the account. */
must_check int resources_prepare(struct master *m, const struct conf *conf);
/* Refuses what would change under the content of a repository, and tells of repositories
 * without a section: that refuses a reload, and a start goes on with a warning. */
must_check int resources_holdings(const struct conf *conf, bool reload);
/* Makes what is missing in blob stores that are not away (store/belong.h). */
must_check int resources_stores(const struct master *m, const struct conf *conf);
/* flock, waiting a moment for whoever is about to leave; errno tells why not. */
bool resources_lock_patiently(int fd, bool patient);
/* Sockets for every connector of `conf`; those also in m->conf are taken over.
 * On failure nothing is left open that was not before. */
must_check int resources_listen(struct master *m, const struct conf *conf, int **fds_r);
/* Lock, run directory, role sockets, pid file. */
must_check int resources_claim(struct master *m);
void resources_release(struct master *m);

/* ground.c: what a configuration stands on. */
/* Do database and blob stores belong to it? What does not is logged with the way to mend it. */
must_check int ground_check(const struct conf *conf, bool reload);
/* Locks the stores of `conf`, but those that are locked already. By place, -1: it cannot be locked
 * and is not ours to collect. BUSY: another daemon has one. Then nothing is left locked that was
 * not. */
must_check int ground_lock(struct master *m, const struct conf *conf, int **fds_r);
/* It did not come into force: what only it has is let go. */
void ground_unlock(struct master *m, const struct conf *conf, int *fds);
/* `conf` is in force: stores that only the old one had are let go. */
void ground_take(struct master *m, const struct conf *conf, int *fds);
/* From now on locks stores that come late. */
void ground_watch(struct master *m);

/* limits.c */
/* Raises the soft limit of open files to the hard one, and makes `conf` fit it: what cannot be had
 * is logged with what is used. */
void limits_fit(struct conf *conf);

/* clock_watch.c: from now on, for all processes forked later (base/clock.h). */
must_check int clock_watch_start(struct master *m);

/* certificates.c */
/* Reads and checks the certificates of every connector of `conf`: an array by
 * place. What is wrong is appended to *why, a line each; what is odd, too, when it is 0. */
must_check int certificates_read(const struct conf *conf, struct tls_pairs **certificates_r,
                                 struct str *why);
/* Overwrites the keys and frees all. */
void certificates_wipe(struct tls_pairs **certificates, size_t count);
/* New session tickets every hour from now on. */
void certificates_rotate_tickets(struct master *m);

/* reload.c */
void reload_begin(struct master *m);
/* Ends the processes of a role and, when it is still `wanted`, starts others. */
void reload_replace(struct master *m, enum master_role role, bool wanted);

/* status.c */
int status_message(struct serve *serve, struct serve_return to, struct msg_reader *m, void *ctx);
/* As entrepotctl status has it: "degraded" is ready, and told that it cannot do all. */
const char *status_state_name(const struct slot *slot);

#endif
