/*
 * ctl_evict.c - entrepotctl evict: what a proxy keeps of an image, or all of it, goes.
 *
 * The catalog does the work, and goes on with it when this tool dies.
 */
#include "ipc/msg_operator.h"
#include "tools/ctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void explain(int err, const char *repo)
{
    if (err == ERR_NOT_FOUND)
        fprintf(stderr, "entrepotctl: there is no repository %s\n", repo);
    else if (err == ERR_UNSUPPORTED)
        fprintf(stderr, "entrepotctl: %s is no proxy: delete by the registry's API\n", repo);
    else if (err == ERR_BUSY)
        fprintf(stderr, "entrepotctl: room is being made right now; try again\n");
    else
        fprintf(stderr, "entrepotctl: %s\n", err_text(err));
}

int ctl_evict(const struct ctl *ctl, int argc, char **argv)
{
    struct msg_writer question = {0};
    struct msg_reader reply;
    struct str in = {0};
    char *image;
    int err;

    if (argc != 1) {
        fprintf(stderr, "usage: entrepotctl evict REPOSITORY[:IMAGE]\n");
        return EXIT_FAILURE;
    }
    image = strchr(argv[0], ':');
    if (image)
        *image++ = 0;
    msg_begin(&question, MSG_EVICT, 1);
    operator_evict_put(&question,
                       &(struct operator_evict){.repo = argv[0], .image = image ? image : ""});
    err = ctl_ask(ctl, &question, &in, &reply);
    if (err != 0 && in.len > 0) /* else it has been told that the daemon does not answer */
        explain(err, argv[0]);
    else if (err == 0 && ctl->json)
        puts("{\"started\":true}");
    else if (err == 0)
        puts("started; pulls that run are not disturbed");
    str_free(&in);
    return err == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
