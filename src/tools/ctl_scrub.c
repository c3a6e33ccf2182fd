/*
 * ctl_scrub.c - entrepotctl scrub: read every blob now, and what was found.
 *
 * The catalog does the work, and goes on with it when this tool dies.
 */
#include "ipc/msg_stats.h"
#include "tools/ctl.h"

#include <stdio.h>
#include <string.h>

static void scrub_json(struct msg_reader *r)
{
    struct stats_scrub s;

    stats_scrub_get(r, &s);
    printf("{\"running\":%s,\"passes\":%llu,\"started\":%llu,\"finished\":%llu,\"blobs\":%llu,"
           "\"bytes\":%llu,\"damaged\":%llu,\"missing\":%llu,\"rate\":%llu,\"interval_ms\":%llu}\n",
           s.running ? "true" : "false", (unsigned long long)s.passes,
           (unsigned long long)s.started_s, (unsigned long long)s.finished_s,
           (unsigned long long)s.blobs, (unsigned long long)s.bytes, (unsigned long long)s.damaged,
           (unsigned long long)s.missing, (unsigned long long)s.rate,
           (unsigned long long)s.interval_ms);
}

static void scrub_text(struct msg_reader *r)
{
    char bytes[32], rate[32];
    struct stats_scrub s;

    stats_scrub_get(r, &s);
    printf("%s; at most %s a second, every %llu s\n", s.running ? "running" : "not running",
           ctl_bytes(s.rate, rate), (unsigned long long)s.interval_ms / 1000);
    printf("since the catalog's start: %llu passes, %llu blobs read, %s, %llu damaged, %llu "
           "missing\n",
           (unsigned long long)s.passes, (unsigned long long)s.blobs, ctl_bytes(s.bytes, bytes),
           (unsigned long long)s.damaged, (unsigned long long)s.missing);
}

int ctl_scrub(const struct ctl *ctl, int argc, char **argv)
{
    if (argc == 1 && strcmp(argv[0], "--status") == 0)
        return ctl_show(ctl, "scrub --status", 0, MSG_SCRUB_STATUS, scrub_json, scrub_text);
    return ctl_show(ctl, "scrub [--status]", argc, MSG_SCRUB_RUN, ctl_started_json,
                    ctl_started_text);
}
