/*
 * ctl_access.c - entrepotctl check-access: what a user may do with an image, by
 * the configuration file as it stands.
 *
 * Changes nothing.
 */
#include "conf/conf.h"
#include "oci/name.h"
#include "tools/ctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int print(const struct ctl *ctl, const char *user, const char *target, unsigned rights)
{
    char text[RIGHTS_TEXT_MAX];

    if (!ctl->json) {
        rights_text(rights, text);
        printf("%s on %s: %s\n", user, target, *text ? text : "nothing");
        return EXIT_SUCCESS;
    }
    printf("{\"user\":\"%s\",\"image\":\"%s\"", user, target);
    for (unsigned i = 0; i < RIGHTS_COUNT; i++)
        printf(",\"%s\":%s", right_word(i), rights & (1U << i) ? "true" : "false");
    puts("}");
    return EXIT_SUCCESS;
}

int ctl_check_access(const struct ctl *ctl, int argc, char **argv)
{
    const char *colon = argc == 2 ? strchr(argv[1], ':') : NULL;
    const struct conf_repo *repo;
    struct conf *conf = NULL;
    int status = EXIT_FAILURE;

    if (!colon || (strcmp(argv[0], "anonymous") != 0 && !conf_user_ok(argv[0]))) {
        fprintf(stderr, "usage: entrepotctl check-access USER REPOSITORY:IMAGE\n"
                        "USER anonymous is whoever has not logged in\n");
        return EXIT_FAILURE;
    }
    if (!ctl_conf(ctl, &conf))
        return EXIT_FAILURE;
    repo = conf_repo_by_name(conf, argv[1], (size_t)(colon - argv[1]));
    if (!repo)
        fprintf(stderr, "entrepotctl: there is no repository %.*s in %s\n", (int)(colon - argv[1]),
                argv[1], conf->file);
    else if (!name_image_ok(colon + 1, strlen(colon + 1)))
        fprintf(stderr, "entrepotctl: %s is not an image's name\n", colon + 1);
    else
        status = print(
            ctl, argv[0], argv[1],
            conf_rights(conf, strcmp(argv[0], "anonymous") == 0 ? NULL : argv[0], repo, colon + 1));
    conf_free(&conf);
    return status;
}
