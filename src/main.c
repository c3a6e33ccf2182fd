/*
 * main.c - arguments, configuration test, hand over to the master.
 *
 * Runs as whoever starts the daemon. Changes nothing before the master begins; its crash before
 * that is a start that fails.
 */
#include "config.h"

#include "auth/auth.h"
#include "auth/htpasswd.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "catalog/catalog.h"
#include "conf/conf.h"
#include "conf/holdings.h"
#include "fetcher/fetcher.h"
#include "master/master.h"
#include "store/belong.h"
#include "worker/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef DEFAULT_CONF
#define DEFAULT_CONF "/etc/entrepot/entrepot.conf"
#endif

static const struct master_role_entry roles[MASTER_ROLES] = {
    [MASTER_CATALOG] = {"catalog", ROLE_SOCKET_CATALOG, catalog_main},
    [MASTER_AUTH] = {"auth", ROLE_SOCKET_AUTH, auth_main},
    [MASTER_FETCHER] = {"fetcher", ROLE_SOCKET_FETCHER, fetcher_main},
    [MASTER_WORKER] = {"worker", NULL, worker_main},
};

static void usage(FILE *out)
{
    fprintf(out, "usage: entrepotd [-fhtV] [-c FILE]\n"
                 "  -c FILE  configuration (default " DEFAULT_CONF ")\n"
                 "  -f       stay in the foreground\n"
                 "  -t       test the configuration and exit\n"
                 "  -V       print the version and exit\n"
                 "  -h       print this and exit\n"
                 "signals: HUP reload, USR1 reopen logs, QUIT finish and stop, TERM stop,\n"
                 "         RTMIN+22 log everything, RTMIN+23 what log_level says\n");
}

/* The parent of a daemonised start waits until everything serves, so that an
 * init script's success means what it says, and ends as the daemon does that fails. */
static int wait_for_start(int fd, pid_t daemon)
{
    char byte;
    ssize_t got;
    int status;

    do {
        got = read(fd, &byte, 1);
    } while (got < 0 && errno == EINTR);
    if (got == 1)
        return EXIT_SUCCESS;
    fprintf(stderr, "entrepotd: did not start; what is wrong stands above\n");
    while (waitpid(daemon, &status, 0) < 0)
        if (errno != EINTR)
            return EXIT_FAILURE;
    return WIFEXITED(status) && WEXITSTATUS(status) != 0 ? WEXITSTATUS(status) : EXIT_FAILURE;
}

/* Standard error is let go by the master when it serves: until then the terminal is told
 * what is wrong. */
static void detach(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    setsid(); /* the working directory stays: relative paths count from it at every reload */
    if (null < 0)
        return;
    dup2(null, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
    if (null > STDERR_FILENO)
        close(null);
}

/* What a start or reload would refuse, or tell, as far as we may read it. */
static int holdings_test(const struct conf *conf)
{
    struct holdings held;
    struct str changed = {0}, unowned = {0};
    int err = 0;

    if (holdings_read(conf->data_dir, &held) != 0)
        return 0;
    holdings_compare(&held, conf, &changed, &unowned);
    holdings_free(&held);
    if (unowned.len > 0)
        fprintf(stderr, "entrepotd: a reload is refused, a start goes on: %s", unowned.data);
    if (changed.len > 0) {
        fputs(changed.data, stderr);
        err = ERR_CONFLICT;
    }
    str_free(&changed);
    str_free(&unowned);
    return err;
}

static int run_detached(struct conf *conf)
{
    int ready[2];
    pid_t pid;

    if (pipe2(ready, O_CLOEXEC) != 0 || (pid = fork()) < 0) {
        fprintf(stderr, "entrepotd: cannot fork: %s\n", strerror(errno));
        return EXIT_FAILURE;
    }
    if (pid > 0) {
        close(ready[1]);
        conf_free(&conf);
        return wait_for_start(ready[0], pid);
    }
    close(ready[0]);
    detach();
    return master_run(conf, roles, ready[1]);
}

/* Do database and blob stores belong to it? */
static int ground_test(const struct conf *conf, struct str *mistakes)
{
    struct belong *b = mem_alloc(sizeof(*b));
    int err;

    belong_look(conf, b);
    err = belong_judge(conf, b, false, mistakes);
    free(b);
    return err;
}

/* A test may look at the users' file; the daemon leaves it to AUTH. */
static int users_check(const struct conf *conf, struct str *mistakes)
{
    struct htpasswd *users = NULL;
    int err;

    if (!conf->auth.on)
        return 0;
    if (file_absent(conf->auth.htpasswd)) {
        fprintf(stderr,
                "entrepotd: warning: %s: there are no users yet; make one with entrepotctl user "
                "add NAME\n",
                conf->auth.htpasswd);
        return 0;
    }
    err = htpasswd_load(conf->auth.htpasswd, &users, mistakes);
    htpasswd_free(&users);
    return err;
}

/* What the configuration names: all that is wrong is told, and what is only odd. */
static bool test_files(const struct conf *conf)
{
    struct tls_pairs *certificates = NULL;
    struct str mistakes = {0}, odd = {0};
    bool fits = ground_test(conf, &mistakes) == 0;
    bool good = users_check(conf, &mistakes) == 0 && fits;
    int err = certificates_read(conf, &certificates, &odd);
    char *save = NULL;

    fputs(mistakes.data ? mistakes.data : "", stderr);
    for (char *line = strtok_r(odd.data ? odd.data : (char[]){0}, "\n", &save); line;
         line = strtok_r(NULL, "\n", &save))
        fprintf(stderr, "%s%s\n", err == 0 ? "entrepotd: warning: " : "", line);
    if (err == 0)
        certificates_wipe(&certificates, conf->connector_count);
    str_free(&mistakes);
    str_free(&odd);
    return good && err == 0;
}

int main(int argc, char **argv)
{
    const char *file = DEFAULT_CONF;
    bool foreground = false, test = false;
    struct conf *conf = NULL;
    struct str mistakes = {0};
    int option;

    fail_init();
    while ((option = getopt(argc, argv, "c:fhtV")) != -1) {
        switch (option) {
        case 'c':
            file = optarg;
            break;
        case 'f':
            foreground = true;
            break;
        case 't':
            test = true;
            break;
        case 'V':
            printf("entrepotd %s\n", PACKAGE_VERSION);
            return EXIT_SUCCESS;
        case 'h':
            usage(stdout);
            return EXIT_SUCCESS;
        default:
            usage(stderr);
            return EXIT_FAILURE;
        }
    }
    if (optind < argc) {
        usage(stderr);
        return EXIT_FAILURE;
    }
    if (conf_load(file, &conf, &mistakes) != 0) {
        fputs(mistakes.data ? mistakes.data : "entrepotd: cannot load the configuration\n", stderr);
        str_free(&mistakes);
        return ROLE_EXIT_CONFIG;
    }
    if (test) {
        bool good = test_files(conf) && holdings_test(conf) == 0;

        if (good)
            printf("entrepotd: %s is good\n", file);
        conf_free(&conf);
        return good ? EXIT_SUCCESS : ROLE_EXIT_CONFIG;
    }
    return foreground ? master_run(conf, roles, -1) : run_detached(conf);
}
