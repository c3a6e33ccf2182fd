/*
 * ctl_gc.c - entrepotctl gc: collect garbage now, and what was collected.
 *
 * The catalog does the work, and goes on with it when this tool dies.
 */
#include "base/json.h"
#include "ipc/msg_operator.h"
#include "tools/ctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Between two looks whether the walk is over. */
#define ORPHANS_WAIT_US 50000

static void gc_json(const struct stats_gc *g, const struct stats_waiting *w)
{
    printf("{\"running\":%s,\"sweeps\":%llu,\"started\":%llu,\"finished\":%llu,\"looked_at\":%llu,"
           "\"links\":%llu,\"blobs\":%llu,\"bytes\":%llu,\"kept\":%llu,\"orphans\":%llu,"
           "\"looked_at_now\":%llu,\"orphans_left\":%llu,\"orphans_left_bytes\":%llu,"
           "\"orphan_counts\":%llu,\"grace_ms\":%llu,\"interval_ms\":%llu,\"waiting\":%llu,"
           "\"waiting_bytes\":%llu,\"waiting_first\":%llu,\"waiting_last\":%llu}\n",
           g->running ? "true" : "false", (unsigned long long)g->sweeps,
           (unsigned long long)g->started_s, (unsigned long long)g->finished_s,
           (unsigned long long)g->looked_at, (unsigned long long)g->links,
           (unsigned long long)g->blobs, (unsigned long long)g->bytes, (unsigned long long)g->kept,
           (unsigned long long)g->orphans, (unsigned long long)g->looked_at_now,
           (unsigned long long)g->orphans_left, (unsigned long long)g->orphans_left_bytes,
           (unsigned long long)g->orphan_counts, (unsigned long long)g->grace_ms,
           (unsigned long long)g->interval_ms, (unsigned long long)w->count,
           (unsigned long long)w->bytes, (unsigned long long)w->first_s,
           (unsigned long long)w->last_s);
}

static void waiting_print(const struct stats_gc *g, const struct stats_waiting *w)
{
    uint64_t grace_s = g->grace_ms / 1000;
    char first[32], last[32], bytes[32];

    if (w->count == 0) {
        printf("nothing waits\n");
        return;
    }
    printf("what nothing names waits: up to %llu blobs and manifests, up to %s; the first may go "
           "from %s on, the last from %s on, where nobody asks for them until then\n",
           (unsigned long long)w->count, ctl_bytes(w->bytes, bytes),
           ctl_when(w->first_s + grace_s, first), ctl_when(w->last_s + grace_s, last));
}

static void gc_text(const struct stats_gc *g, const struct stats_waiting *w)
{
    char started[32], finished[32], bytes[32];

    if (g->running)
        printf("running since %s, %llu entries looked at\n", ctl_when(g->started_s, started),
               (unsigned long long)g->looked_at_now);
    else if (g->finished_s == 0)
        printf("no sweep yet\n");
    else
        printf("last sweep %s to %s\n", ctl_when(g->started_s, started),
               ctl_when(g->finished_s, finished));
    printf("grace period %llu s, every %llu s\n", (unsigned long long)g->grace_ms / 1000,
           (unsigned long long)g->interval_ms / 1000);
    waiting_print(g, w);
    printf("since the catalog's start: %llu sweeps, %llu entries looked at, %llu kept because "
           "somebody asked for them\n%llu links, %llu blobs and %llu orphans removed, %s\n",
           (unsigned long long)g->sweeps, (unsigned long long)g->looked_at,
           (unsigned long long)g->kept, (unsigned long long)g->links, (unsigned long long)g->blobs,
           (unsigned long long)g->orphans, ctl_bytes(g->bytes, bytes));
}

static int status_get(const struct ctl *ctl, struct stats_gc *stats_r)
{
    struct msg_writer question = {0};
    struct msg_reader reply;
    struct str in = {0};
    int err;

    msg_begin(&question, MSG_GC_STATUS, 1);
    err = ctl_ask(ctl, &question, &in, &reply);
    if (err == 0)
        stats_gc_get(&reply, stats_r);
    else
        ctl_refused(err, &in);
    str_free(&in);
    return err;
}

/* A slice of what waits, from where `all` has come; `in` holds its strings. */
static int waiting_slice(const struct ctl *ctl, struct stats_waiting *all, struct str *in)
{
    struct msg_writer question = {0};
    struct stats_waiting slice = {0};
    struct msg_reader reply;
    struct str next = {0};
    int err;

    msg_begin(&question, MSG_GC_WAITING, 1);
    stats_place_put(&question, &all->place);
    err = ctl_ask(ctl, &question, &next, &reply);
    if (err == 0) {
        stats_waiting_get(&reply, &slice);
        err = msg_end(&reply);
    }
    if (err != 0)
        ctl_refused(err, &next);
    all->count += slice.count;
    all->bytes += slice.bytes;
    all->first_s = all->first_s ? all->first_s : slice.first_s;
    all->last_s = slice.last_s ? slice.last_s : all->last_s;
    all->more = slice.more;
    all->place = slice.place;
    str_free(in);
    *in = next;
    return err;
}

static int gc_status(const struct ctl *ctl)
{
    struct stats_waiting waiting = {.place = {.repo = "", .image = ""}};
    struct stats_gc stats;
    struct str in = {0};
    int err = status_get(ctl, &stats);

    do {
        if (err == 0)
            err = waiting_slice(ctl, &waiting, &in);
    } while (err == 0 && waiting.more);
    str_free(&in);
    if (err != 0)
        return EXIT_FAILURE;
    (ctl->json ? gc_json : gc_text)(&stats, &waiting);
    return EXIT_SUCCESS;
}

static int gc_run(const struct ctl *ctl, bool now)
{
    struct msg_writer question = {0};
    struct msg_reader reply;
    struct str in = {0};
    int err;

    msg_begin(&question, MSG_GC_RUN, 1);
    operator_gc_put(&question, now);
    err = ctl_ask(ctl, &question, &in, &reply);
    if (err == 0)
        err = msg_end(&reply);
    if (err != 0)
        ctl_refused(err, &in);
    else
        (ctl->json ? ctl_started_json : ctl_started_text)(&reply);
    str_free(&in);
    return err == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int orphans_ask(const struct ctl *ctl, bool take)
{
    struct msg_writer question = {0};
    struct msg_reader reply;
    struct str in = {0};
    int err;

    msg_begin(&question, MSG_GC_ORPHANS, 1);
    operator_orphans_put(&question, take);
    err = ctl_ask(ctl, &question, &in, &reply);
    if (err != 0)
        ctl_refused(err, &in);
    str_free(&in);
    return err;
}

static void orphans_print(const struct stats_gc *before, const struct stats_gc *now, bool take)
{
    char bytes[32];

    ctl_bytes(now->orphans_left_bytes, bytes);
    if (take)
        printf("%llu files moved to the trash; %llu files without a record are left, %s\n",
               (unsigned long long)(now->orphans - before->orphans),
               (unsigned long long)now->orphans_left, bytes);
    else
        printf("%llu files without a record older than gc_grace, %s%s\n",
               (unsigned long long)now->orphans_left, bytes,
               now->orphans_left == 0
                   ? ""
                   : ".\nThey may be images whose records are in another database. If you are sure "
                     "that they are\ngarbage: entrepotctl gc --orphans --yes");
}

/* Counts, and takes when told so; waits for the end of it. */
static int gc_orphans(const struct ctl *ctl, bool take)
{
    struct stats_gc before, now;
    int err = status_get(ctl, &before);

    if (err == 0)
        err = orphans_ask(ctl, take);
    do {
        usleep(ORPHANS_WAIT_US);
        if (err == 0)
            err = status_get(ctl, &now);
    } while (err == 0 && now.orphan_counts <= before.orphan_counts);
    if (err != 0)
        return EXIT_FAILURE;
    if (ctl->json)
        printf("{\"taken\":%llu,\"left\":%llu,\"left_bytes\":%llu}\n",
               (unsigned long long)(now.orphans - before.orphans),
               (unsigned long long)now.orphans_left, (unsigned long long)now.orphans_left_bytes);
    else
        orphans_print(&before, &now, take);
    return EXIT_SUCCESS;
}

int ctl_gc(const struct ctl *ctl, int argc, char **argv)
{
    if (argc == 0)
        return gc_run(ctl, false);
    if (argc == 1 && strcmp(argv[0], "--now") == 0)
        return gc_run(ctl, true);
    if (argc == 1 && strcmp(argv[0], "--status") == 0)
        return gc_status(ctl);
    if (argc <= 2 && strcmp(argv[0], "--orphans") == 0 &&
        (argc == 1 || strcmp(argv[1], "--yes") == 0))
        return gc_orphans(ctl, argc == 2);
    fprintf(stderr, "usage: entrepotctl gc [--now | --status | --orphans [--yes]]\n");
    return EXIT_FAILURE;
}
