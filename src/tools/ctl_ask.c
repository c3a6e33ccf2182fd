/*
 * ctl_ask.c - entrepotctl's line to the daemon: connect, ask once, wait.
 *
 * Owns nothing; when it dies, what was asked for goes on without it.
 */
#include "base/file.h"
#include "base/net.h"
#include "ipc/role.h"
#include "tools/ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Whatever is asked: longer than roles wait for most (MSG_TABLE), a person can break it off. */
#define WAIT_MS  30000
#define STAT_MAX 4096
/* Then we look whether somebody has stopped who should answer. */
#define LOOK_MS 1000

static int ask_connect(const struct ctl *ctl, const char *socket, int *fd_r)
{
    int dir = open(ctl->run_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int err;

    if (dir < 0) {
        fprintf(stderr,
                "entrepotctl: cannot open the run directory %s: %s; name another with -s DIR or "
                "the configuration with -c FILE\n",
                ctl->run_dir, strerror(errno));
        return err_from_errno(errno);
    }
    err = net_seqpacket_connect(dir, socket, fd_r);
    if (err != 0)
        fprintf(stderr, "entrepotctl: cannot reach the daemon at %s/%s: %s; %s\n", ctl->run_dir,
                socket, err_text(err),
                err == ERR_NO_ACCESS ? "run entrepotctl as root or as the daemon's account"
                                     : "is it running?");
    close(dir);
    return err;
}

/* The process that made the socket, if it is stopped (SIGSTOP, a debugger): it will not
 * answer however long we wait. 0: it is not, or is not to be seen from here. Role sockets
 * are made by the master and answered by others: there this says nothing. */
static pid_t stopped_peer(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);
    struct str stat = {0};
    char path[64];
    const char *end = NULL;
    pid_t pid = 0;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0 || peer.pid <= 0)
        return 0;
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)peer.pid);
    if (file_read_all(path, STAT_MAX, &stat) == 0)
        end = strrchr(stat.data, ')'); /* proc(5): the state follows the name in parentheses */
    if (end && end[1] == ' ' && (end[2] == 'T' || end[2] == 't'))
        pid = peer.pid;
    str_free(&stat);
    return pid;
}

static int ask_wait(const struct ctl *ctl, int fd, enum msg_role role, struct str *in, int *pass_fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    int ready = poll(&poll_fd, 1, LOOK_MS);
    pid_t pid = 0;

    if (ready == 0 && role == MSG_ROLE_MASTER)
        pid = stopped_peer(fd);
    if (pid > 0) {
        fprintf(stderr,
                "entrepotctl: the master, pid %d, is stopped: kill -CONT %d lets it go on; the "
                "other processes serve without it\n",
                (int)pid, (int)pid);
        return ERR_TIMEOUT;
    }
    if (ready == 0 && role == MSG_ROLE_FETCHER && !ctl_role_runs(ctl, "fetcher")) {
        fprintf(stderr, "entrepotctl: nothing is fetched: no proxy is configured\n");
        return ERR_UNAVAILABLE;
    }
    if (ready == 0)
        ready = poll(&poll_fd, 1, WAIT_MS - LOOK_MS);
    return ready <= 0 ? ERR_TIMEOUT : msg_receive(fd, in, pass_fd);
}

int ctl_ask(const struct ctl *ctl, struct msg_writer *question, struct str *in,
            struct msg_reader *reply_r)
{
    enum msg_role role = msg_role(msg_writer_type(question));
    int fd = -1, pass_fd = -1;
    int err = ask_connect(ctl, role_socket(role), &fd);

    *reply_r = (struct msg_reader){0};
    if (err != 0) {
        msg_writer_free(question);
        return err;
    }
    err = msg_send(fd, question, -1);
    msg_writer_free(question);
    /* News for workers may come before the answer. */
    while (err == 0 && reply_r->type != MSG_REPLY) {
        err = ask_wait(ctl, fd, role, in, &pass_fd);
        if (pass_fd >= 0)
            close(pass_fd);
        pass_fd = -1;
        if (err == 0)
            err = msg_reader_init(reply_r, in->data, in->len);
    }
    close(fd);
    if (err != 0) {
        fprintf(stderr, "entrepotctl: no answer from the daemon: %s\n", err_text(err));
        str_reset(in); /* of half an answer, or of news */
        return err;
    }
    return reply_err_get(reply_r);
}

void ctl_refused(int err, const struct str *in)
{
    if (in->len == 0)
        return;
    fprintf(stderr, "entrepotctl: the daemon answers: %s%s\n", err_text(err),
            err == ERR_UNAVAILABLE ? "; entrepotctl status and the log tell what cannot be opened"
                                   : "");
}

int ctl_show(const struct ctl *ctl, const char *name, int argc, enum msg_type type,
             void (*json)(struct msg_reader *reply), void (*text)(struct msg_reader *reply))
{
    struct msg_writer question = {0};
    struct msg_reader reply;
    struct str in = {0};
    int err;

    if (argc != 0) {
        fprintf(stderr, "usage: entrepotctl %s\n", name);
        return EXIT_FAILURE;
    }
    msg_begin(&question, type, 1);
    err = ctl_ask(ctl, &question, &in, &reply);
    if (err == 0) {
        (ctl->json ? json : text)(&reply);
        err = msg_end(&reply);
    }
    if (err != 0)
        ctl_refused(err, &in);
    str_free(&in);
    return err == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

void ctl_started_json(struct msg_reader *r)
{
    (void)r;
    puts("{\"started\":true}");
}

void ctl_started_text(struct msg_reader *r)
{
    (void)r;
    puts("started; the same command with --status tells how it goes");
}
