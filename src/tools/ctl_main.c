/*
 * ctl_main.c - entrepotctl: arguments and the table of commands.
 *
 * Runs as whoever may enter the daemon's run directory: root or its account. Owns nothing.
 */
#include "config.h"

#include "base/fail.h"
#include "base/log.h"
#include "conf/conf.h"
#include "tools/ctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef DEFAULT_CONF
#define DEFAULT_CONF "/etc/entrepot/entrepot.conf"
#endif
#define DEFAULT_RUN_DIR "/run/entrepot"

static const struct command {
    const char *name;
    bool offline; /* works on files: needs no daemon */
    int (*run)(const struct ctl *ctl, int argc, char **argv);
} commands[] = {
    {"status", false, ctl_status},   {"repos", false, ctl_repos},
    {"images", false, ctl_images},   {"tags", false, ctl_tags},
    {"gc", false, ctl_gc},           {"scrub", false, ctl_scrub},
    {"fetches", false, ctl_fetches}, {"proxy", false, ctl_proxy},
    {"warm", false, ctl_warm},       {"evict", false, ctl_evict},
    {"repo", false, ctl_repo},       {"user", true, ctl_user},
    {"token", false, ctl_token},     {"check-access", true, ctl_check_access},
    {"store", true, ctl_store},      {"rebuild", true, ctl_rebuild},
};

static int usage(FILE *out, int status)
{
    fprintf(
        out,
        "usage: entrepotctl [--json] [-c FILE | -s RUN_DIR] COMMAND\n"
        "  status                   processes, connections, generations\n"
        "  repos                    repositories and blob stores\n"
        "  images [REPOSITORY]      images of one repository or of all\n"
        "  tags REPOSITORY:IMAGE    tags of an image\n"
        "  gc [--now | --status]    collect garbage now; without gc_grace; what was collected\n"
        "  gc --orphans [--yes]     files that no record knows: how many; take them away\n"
        "  scrub [--status]         read every blob now; what was found\n"
        "  fetches                  downloads that run\n"
        "  proxy status             remotes, budgets and counters of proxies\n"
        "  warm [--platform OS/ARCH | --all-platforms] FILE|REPOSITORY:IMAGE[:TAG|@DIGEST]...\n"
        "                           fetch images ahead of need\n"
        "  evict REPOSITORY[:IMAGE] drop what a proxy keeps\n"
        "  repo drop NAME [--yes]   delete all that a repository holds\n"
        "  repo move NAME --store STORE\n"
        "                           bring it to another blob store, while no daemon runs\n"
        "  cert NAME...             a certificate for HTTPS, and its CA\n"
        "  user add|passwd|del NAME, user list\n"
        "                           users and their passwords\n"
        "  token create|revoke NAME, token list\n"
        "                           passwords for machines\n"
        "  check-access USER REPOSITORY:IMAGE\n"
        "                           what a user may do\n"
        "  store list               whether blob stores are what they should be\n"
        "  store adopt NAME [--yes] a blob store belongs to this database from now on\n"
        "  store rename OLD NEW     a blob store has another name in the configuration\n"
        "  fsck [--repair]          check all that is kept; to repair, stop the daemon first\n"
        "  rebuild [--list | --yes] a database anew, from what is left and the stores' journals\n"
        "  config check [FILE]      test a configuration\n"
        "  -c FILE     the configuration, and so its daemon (default " DEFAULT_CONF ")\n"
        "  -s RUN_DIR  find the daemon by its run directory\n"
        "  --json      print JSON\n"
        "  -V          print the version\n");
    return status;
}

static int config_check(const struct ctl *ctl, const char *file)
{
    struct ctl of_file = {.conf_file = file};
    struct conf *conf = NULL;
    bool good = ctl_conf(&of_file, &conf);

    if (ctl->json)
        printf("{\"good\":%s}\n", good ? "true" : "false");
    else if (good)
        printf("%s is good\n", file);
    conf_free(&conf);
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* Without -s the configuration tells where the daemon runs; a default that is
 * not there means the default place. */
static bool find_run_dir(struct ctl *ctl, const char *file, bool file_given, struct conf **conf)
{
    if (ctl->run_dir)
        return true;
    if (!file_given && access(file, R_OK) != 0) {
        ctl->run_dir = DEFAULT_RUN_DIR;
        return true;
    }
    if (!ctl_conf(ctl, conf))
        return false;
    ctl->run_dir = (*conf)->run_dir;
    return true;
}

static int run(struct ctl *ctl, const char *file, bool file_given, int argc, char **argv)
{
    struct conf *conf = NULL;
    int status;

    if (strcmp(argv[0], "config") == 0) {
        if (argc < 2 || argc > 3 || strcmp(argv[1], "check") != 0)
            return usage(stderr, EXIT_FAILURE);
        return config_check(ctl, argc == 3 ? argv[2] : file);
    }
    if (strcmp(argv[0], "cert") == 0)
        return ctl_cert(ctl, argc - 1, argv + 1);
    if (strcmp(argv[0], "fsck") == 0)
        return ctl_fsck(ctl, argc - 1, argv + 1);
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(argv[0], commands[i].name) != 0)
            continue;
        if (!commands[i].offline && !find_run_dir(ctl, file, file_given, &conf))
            return EXIT_FAILURE;
        status = commands[i].run(ctl, argc - 1, argv + 1);
        conf_free(&conf);
        return status;
    }
    fprintf(stderr, "entrepotctl: no such command: %s\n", argv[0]);
    return usage(stderr, EXIT_FAILURE);
}

int main(int argc, char **argv)
{
    struct ctl ctl = {0};
    const char *file = DEFAULT_CONF;
    bool file_given = false;
    int kept = 0;

    log_plain("entrepotctl");
    fail_init();
    /* --json, -c and -s are allowed anywhere; everything else is in order. */
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            ctl.json = true;
        } else if (strcmp(argv[i], "-c") == 0 && i + 1 < argc) {
            file = argv[++i];
            file_given = true;
        } else if (strcmp(argv[i], "-s") == 0 && i + 1 < argc) {
            ctl.run_dir = argv[++i];
        } else {
            argv[kept++] = argv[i];
        }
    }
    argc = kept;
    for (int option; (option = getopt(argc, argv, "+c:s:hV")) != -1;) {
        switch (option) {
        case 'c':
            file = optarg;
            file_given = true;
            break;
        case 's':
            ctl.run_dir = optarg;
            break;
        case 'V':
            printf("entrepotctl %s\n", PACKAGE_VERSION);
            return EXIT_SUCCESS;
        case 'h':
            return usage(stdout, EXIT_SUCCESS);
        default:
            return usage(stderr, EXIT_FAILURE);
        }
    }
    if (optind >= argc)
        return usage(stderr, EXIT_FAILURE);
    ctl.conf_file = file;
    return run(&ctl, file, file_given, argc - optind, argv + optind);
}
