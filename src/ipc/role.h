/*
 * role.h - how a process of the daemon begins and hears from its master.
 *
 * Every role starts as a fork of the master with a struct role_start, calls
 * role_confine() before it touches anything foreign, and tells READY when it
 * serves. The control channel's EOF means that the master is gone.
 */
#ifndef ENTREPOT_IPC_ROLE_H
#define ENTREPOT_IPC_ROLE_H

#include "base/err.h"
#include "base/loop.h"
#include "conf/conf.h"
#include "ipc/msg.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* To the master, which passes them on: everything is logged; what `log_level` says counts again.
 * Real-time signals, for no terminal makes one, and the two that systemd's own daemons have. */
#define ROLE_SIGNAL_DEBUG (SIGRTMIN + 22)
#define ROLE_SIGNAL_LEVEL (SIGRTMIN + 23)

/* A role that exits with this is not started again, nor is the daemon, by its unit (sysexits'
 * EX_CONFIG): somebody has to change something first. */
#define ROLE_EXIT_CONFIG 78

#define ROLE_SOCKET_CATALOG "catalog.sock"
#define ROLE_SOCKET_AUTH    "auth.sock"
#define ROLE_SOCKET_FETCHER "fetcher.sock"
#define ROLE_SOCKET_CONTROL "control.sock"
/* Where that role is asked: the name of a socket in the run directory. */
const char *role_socket(enum msg_role role);

/* Which descriptor an INDEX_KEEP message carries. */
enum role_index_fd { ROLE_INDEX_WRITABLE = 1, ROLE_INDEX_READABLE = 2 };

struct tls_pairs;
struct tls_tickets;
struct recent;
struct placed;
struct sessions;
struct board;
struct throttle;

struct role_start {
    const char *name;        /* "worker" */
    const struct conf *conf; /* a copy of the process's own by fork */
    size_t slot;
    unsigned generation; /* of the configuration */
    bool died;           /* the one before, unasked and not by SIGKILL, a short while ago */
    int control_fd;      /* SEQPACKET to the master */
    int run_dir_fd;      /* of the role sockets */
    int listen_fd;       /* the role's own socket; -1 for workers */
    int lock_fd; /* catalog: the data directory's flock, held as long as it lives; else -1 */
    const int *connector_fds;             /* by place in conf->connectors; NULL for others */
    const struct tls_pairs *certificates; /* the same */
    struct tls_tickets *tickets;          /* worker: shared by all of them; else NULL */
    int index_write_fd;                   /* catalog: the map of an earlier catalog; else -1 */
    int index_read_fd;                    /* worker: the present map; -1 when there is none yet */
    void *tally;                          /* region of all slots */
    struct recent *recent;                /* shared: what was asked for lately */
    struct placed *placed;                /* worker: upload sessions that ended lately */
    struct sessions *sessions;            /* worker, catalog: how many are open, and whose */
    struct board *board;                  /* shared: progress of downloads */
    struct throttle *throttle;            /* auth: failed logins lately */
    int auth_dir_fd;                      /* auth: data_dir/auth; -1 for others */
    uid_t operator_uid;                   /* who may ask what is privileged: whoever started us */
    uid_t uid;                            /* to become; -1: stay */
    gid_t gid;
};

struct role;

struct role_setup {
    const struct role_start *start;
    struct loop *loop;
    /* TERM, INT or the master's death ask to stop, QUIT to finish what runs first. */
    void (*on_stop)(bool drain, void *ctx);
    /* USR1 */
    void (*on_reopen)(void *ctx);
    void *ctx;
};

/* Does what one of the two signals above asks for; false: it is another one. */
bool role_log_signal(int signal, const struct conf *conf);
/* The very first call: names the process, closes every inherited descriptor the
 * role has no use for and gives up root and the way back to it. Ends the process
 * when a privilege cannot be dropped. */
void role_confine(const struct role_start *start);
/* The very last: ends the process without exit()'s handlers. Threads of its pool may be at work,
 * and a library's handler (OpenSSL's) takes away under them what they use. */
_Noreturn void role_leave(int status);
/* Watches signals and the control channel. The result lives as long as the process. */
struct role *role_begin(const struct role_setup *setup);
/* Tells the master that the role serves. */
void role_ready(struct role *role);
/* Of what role_trouble() tells, in bytes; the rest is cut off. */
#define ROLE_TROUBLE_MAX 4096
/* Tells the master what this process cannot do although it runs, a line each, with what helps; "":
 * all is well, as at its start. For entrepotctl status. Sent when it has changed. */
void role_trouble(struct role *role, const char *text);
/* What the master reads of it. */
const char *role_trouble_get(struct msg_reader *r);
/* Hands a descriptor of the index to the master. */
must_check int role_keep_index(struct role *role, enum role_index_fd which, int fd);
enum role_index_fd role_index_fd_get(struct msg_reader *r);

#endif
