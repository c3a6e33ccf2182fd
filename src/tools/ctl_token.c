/*
 * ctl_token.c - entrepotctl token: robot tokens, made and revoked by AUTH.
 *
 * When it dies after it asked, there may be a robot whose password nobody saw: revoke it.
 */
#include "base/json.h"
#include "conf/conf.h"
#include "ipc/msg_auth.h"
#include "tools/ctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int usage(void)
{
    fprintf(stderr, "usage: entrepotctl token create NAME [--user USER] [--ttl DAYS]\n"
                    "       entrepotctl token revoke NAME\n"
                    "       entrepotctl token list\n");
    return EXIT_FAILURE;
}

static const char *reason(int err)
{
    switch (err) {
    case ERR_EXISTS:
        return "a robot or user of this name exists";
    case ERR_NOT_FOUND:
        return "there is no such robot, or no such user to act for";
    case ERR_UNSUPPORTED:
        return "the configuration has no logins; add a section auth";
    case ERR_DENIED:
        return "only the account that started the daemon may do this; be root";
    case ERR_DAMAGED:
        return "the file of robots is damaged; the log tells where";
    default:
        return err_text(err);
    }
}

static int ask(const struct ctl *ctl, struct msg_writer *question, struct str *in,
               struct msg_reader *reply)
{
    int err = ctl_ask(ctl, question, in, reply);

    if (err != 0 && in->len > 0) /* else it has been told that the daemon does not answer */
        fprintf(stderr, "entrepotctl: %s\n", reason(err));
    return err;
}

static int create_robot(const struct ctl *ctl, const struct auth_robot *robot)
{
    struct msg_writer question = {0};
    struct msg_reader reply;
    struct str in = {0};
    const char *token;
    int err;

    msg_begin(&question, MSG_ROBOT_CREATE, 1);
    auth_robot_put(&question, robot);
    err = ask(ctl, &question, &in, &reply);
    if (err == 0) {
        token = auth_robot_token_get(&reply);
        err = msg_end(&reply);
        if (ctl->json)
            printf("{\"name\":\"%s\",\"token\":\"%s\"}\n", robot->name, token);
        else
            printf("%s\n", token);
        if (!ctl->json)
            fprintf(stderr, "it is shown this once; log in with user %s and this password\n",
                    robot->name);
    }
    if (in.data)
        explicit_bzero(in.data, in.len);
    str_free(&in);
    return err == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int revoke_robot(const struct ctl *ctl, const char *name)
{
    struct msg_writer question = {0};
    struct msg_reader reply;
    struct str in = {0};
    int err;

    msg_begin(&question, MSG_ROBOT_REVOKE, 1);
    auth_name_put(&question, name);
    err = ask(ctl, &question, &in, &reply);
    if (err == 0 && ctl->json)
        printf("{\"name\":\"%s\",\"revoked\":true}\n", name);
    else if (err == 0)
        printf("robot %s revoked\n", name);
    str_free(&in);
    return err == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static void list_json(struct msg_reader *r)
{
    uint32_t count = reply_count_get(r);
    struct auth_robot robot;

    fputs("{\"robots\":[", stdout);
    for (uint32_t i = 0; i < count && !r->bad; i++) {
        auth_robot_get(r, &robot);
        printf("%s{\"name\":\"%s\",\"user\":\"%s\",\"created\":%llu,\"expires\":%llu}",
               i > 0 ? "," : "", robot.name, robot.user, (unsigned long long)robot.created_s,
               (unsigned long long)robot.expires_s);
    }
    puts("]}");
}

static void list_text(struct msg_reader *r)
{
    static const char *const heads[] = {"ROBOT", "USER", "CREATED", "EXPIRES"};
    struct ctl_table table = {.columns = 4};
    uint32_t count = reply_count_get(r);
    struct auth_robot robot;
    char text[32];

    for (size_t i = 0; i < table.columns; i++)
        ctl_cell(&table, heads[i]);
    for (uint32_t i = 0; i < count && !r->bad; i++) {
        auth_robot_get(r, &robot);
        ctl_cell(&table, robot.name);
        ctl_cell(&table, *robot.user ? robot.user : "-");
        ctl_cell(&table, ctl_when(robot.created_s, text));
        ctl_cell(&table, ctl_when(robot.expires_s, text));
    }
    ctl_table_print(&table);
}

static int list_robots(const struct ctl *ctl)
{
    struct msg_writer question = {0};
    struct msg_reader reply;
    struct str in = {0};
    int err;

    msg_begin(&question, MSG_ROBOT_LIST, 1);
    err = ask(ctl, &question, &in, &reply);
    if (err == 0) {
        (ctl->json ? list_json : list_text)(&reply);
        err = msg_end(&reply);
    }
    str_free(&in);
    return err == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static bool take_options(int argc, char **argv, struct auth_robot *robot)
{
    for (int i = 0; i < argc; i += 2) {
        uint64_t days;

        if (i + 1 == argc)
            return false;
        if (strcmp(argv[i], "--user") == 0 && conf_user_ok(argv[i + 1]))
            robot->user = argv[i + 1];
        else if (strcmp(argv[i], "--ttl") == 0 &&
                 str_parse_u64(argv[i + 1], strlen(argv[i + 1]), &days) == 0 && days > 0 &&
                 days <= 36500)
            robot->expires_s = days * 86400;
        else
            return false;
    }
    return true;
}

int ctl_token(const struct ctl *ctl, int argc, char **argv)
{
    const char *verb = argc > 0 ? argv[0] : "";
    struct auth_robot robot = {.user = ""};

    if (strcmp(verb, "list") == 0 && argc == 1)
        return list_robots(ctl);
    if (argc < 2 || !conf_user_ok(argv[1]))
        return usage();
    robot.name = argv[1];
    if (strcmp(verb, "revoke") == 0 && argc == 2)
        return revoke_robot(ctl, robot.name);
    if (strcmp(verb, "create") == 0 && take_options(argc - 2, argv + 2, &robot))
        return create_robot(ctl, &robot);
    return usage();
}
