/*
 * ctl_gc.c - entrepotctl gc: collect garbage now, and what was collected.
 */
#include "base/json.h"
#include "ipc/msg_stats.h"
#include "ipc/role.h"
#include "tools/ctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void gc_json(struct msg_reader *r)
{
    struct stats_gc g;

    stats_gc_get(r, &g);
    printf("{\"running\":%s,\"sweeps\":%llu,\"started\":%llu,\"finished\":%llu,\"looked_at\":%llu,"
           "\"links\":%llu,\"blobs\":%llu,\"bytes\":%llu,\"kept\":%llu,\"orphans\":%llu,"
           "\"looked_at_now\":%llu,\"grace_ms\":%llu,\"interval_ms\":%llu}\n",
           g.running ? "true" : "false", (unsigned long long)g.sweeps,
           (unsigned long long)g.started_s, (unsigned long long)g.finished_s,
           (unsigned long long)g.looked_at, (unsigned long long)g.links,
           (unsigned long long)g.blobs, (unsigned long long)g.bytes, (unsigned long long)g.kept,
           (unsigned long long)g.orphans, (unsigned long long)g.looked_at_now,
           (unsigned long long)g.grace_ms, (unsigned long long)g.interval_ms);
}

static void gc_text(struct msg_reader *r)
{
    struct stats_gc g;
    char started[32], finished[32], bytes[32];

    stats_gc_get(r, &g);
    if (g.running)
        printf("running since %s, %llu entries looked at\n", ctl_when(g.started_s, started),
               (unsigned long long)g.looked_at_now);
    else
        printf("last sweep %s to %s\n", ctl_when(g.started_s, started),
               ctl_when(g.finished_s, finished));
    printf("grace period %llu s, every %llu s\n", (unsigned long long)g.grace_ms / 1000,
           (unsigned long long)g.interval_ms / 1000);
    printf("since the catalog's start: %llu sweeps, %llu entries looked at, %llu kept because "
           "somebody asked for them\n%llu links, %llu blobs and %llu orphans removed, %s\n",
           (unsigned long long)g.sweeps, (unsigned long long)g.looked_at,
           (unsigned long long)g.kept, (unsigned long long)g.links, (unsigned long long)g.blobs,
           (unsigned long long)g.orphans, ctl_bytes(g.bytes, bytes));
}

int ctl_gc(const struct ctl *ctl, int argc, char **argv)
{
    if (argc == 1 && strcmp(argv[0], "--status") == 0)
        return ctl_show(ctl, "gc --status", 0, ROLE_SOCKET_CATALOG, MSG_GC_STATUS, gc_json,
                        gc_text);
    return ctl_show(ctl, "gc [--status]", argc, ROLE_SOCKET_CATALOG, MSG_GC_RUN, ctl_started_json,
                    ctl_started_text);
}
