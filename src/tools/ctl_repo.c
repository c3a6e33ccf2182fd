/*
 * ctl_repo.c - entrepotctl repo: what happens to a repository as a whole.
 *
 * The catalog drops and goes on with it when this tool dies; what a move leaves stands in
 * repo_move.c.
 */
#include "ipc/msg_operator.h"
#include "tools/ctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define POLL_US 200000

static int usage(void)
{
    fprintf(stderr, "usage: entrepotctl repo drop NAME [--yes]\n"
                    "       entrepotctl [-c FILE] repo move NAME --store STORE\n");
    return EXIT_FAILURE;
}

static void explain(int err, const char *name)
{
    if (err == ERR_NOT_FOUND)
        fprintf(stderr, "entrepotctl: there is no repository %s, and nothing is kept of one\n",
                name);
    else if (err == ERR_UNSUPPORTED)
        fprintf(stderr, "entrepotctl: %s is a group and holds nothing of its own\n", name);
    else if (err == ERR_BUSY)
        fprintf(stderr, "entrepotctl: another repository is being dropped; try again\n");
    else
        fprintf(stderr, "entrepotctl: %s\n", err_text(err));
}

/* `in` holds what *state_r points to. Prints why it failed; not that there is no such
 * repository any more once it has begun to go. */
static int ask(const struct ctl *ctl, const char *name, bool begin, struct str *in,
               struct operator_dropped *state_r)
{
    struct msg_writer question = {0};
    struct msg_reader reply;
    int err;

    str_reset(in);
    msg_begin(&question, MSG_REPO_DROP, 1);
    operator_drop_put(&question, &(struct operator_drop){.repo = name, .begin = begin});
    err = ctl_ask(ctl, &question, in, &reply);
    if (err != 0) {
        /* Else it has been told that the daemon does not answer. */
        if (in->len > 0 && !(err == ERR_NOT_FOUND && state_r->state == STATS_DROP_RUNNING))
            explain(err, name);
        return err;
    }
    operator_dropped_get(&reply, state_r);
    return msg_end(&reply);
}

static bool agreed(const struct ctl *ctl, const struct operator_dropped *state)
{
    const struct stats_repo *s = &state->stats;
    char bytes[32];

    fprintf(ctl_talk(ctl),
            "%s (%s%s%s%s): %llu images, %llu tags, %llu manifests, %llu blobs, %s.\n"
            "All of it is deleted for good; what other repositories hold too stays with them.\n",
            s->name, stats_kind_name(s->kind), *s->store ? ", blob store " : "", s->store,
            s->owned ? "" : ", no section", (unsigned long long)s->images,
            (unsigned long long)s->tags, (unsigned long long)s->manifests,
            (unsigned long long)s->blobs, ctl_bytes(s->bytes, bytes));
    return ctl_agreed(ctl, "Delete it?");
}

static int drop(const struct ctl *ctl, const char *name, bool yes)
{
    struct operator_dropped state = {0};
    struct str in = {0};
    int err = ask(ctl, name, false, &in, &state);

    if (err == 0 && !yes && !agreed(ctl, &state)) {
        str_free(&in);
        return CTL_EXIT_NO;
    }
    if (err == 0)
        err = ask(ctl, name, true, &in, &state);
    while (err == 0 && state.state != STATS_DROP_DONE && state.state != STATS_DROP_FAILED) {
        /* None: the catalog was replaced meanwhile, and its successor knows nothing of it. */
        bool again = state.state == STATS_DROP_NONE;

        usleep(POLL_US);
        state.state = STATS_DROP_RUNNING;
        err = ask(ctl, name, again, &in, &state);
        if (err == ERR_NOT_FOUND) { /* without a section it is gone with its last image */
            err = 0;
            break;
        }
    }
    str_free(&in);
    if (err == 0 && state.state == STATS_DROP_FAILED) {
        fprintf(stderr, "entrepotctl: the catalog could not write; see the log, then repeat the "
                        "command: it goes on where it was\n");
        err = ERR_IO;
    }
    if (err == 0)
        puts(ctl->json ? "{\"dropped\":true}" : "dropped");
    return err == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int ctl_repo(const struct ctl *ctl, int argc, char **argv)
{
    int yes_at = argc != 3 ? 0 : strcmp(argv[1], "--yes") == 0 ? 1 : 2;
    bool yes = argc == 3 && strcmp(argv[yes_at], "--yes") == 0;

    if (argc == 4 && strcmp(argv[0], "move") == 0 && strcmp(argv[2], "--store") == 0)
        return ctl_repo_move(ctl, argv[1], argv[3]);
    if (argc < 2 || (argc == 3 && !yes) || argc > 3 || strcmp(argv[0], "drop") != 0)
        return usage();
    return drop(ctl, argv[yes_at == 1 ? 2 : 1], yes);
}
