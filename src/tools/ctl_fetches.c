/*
 * ctl_fetches.c - entrepotctl fetches and proxy status: what the fetcher does.
 *
 * Changes nothing.
 */
#include "base/json.h"
#include "ipc/msg_fetch.h"
#include "tools/ctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BAR_WIDTH 20

static void json_text(const char *text)
{
    struct str s = {0};

    json_append_string(&s, text);
    fputs(s.data, stdout);
    str_free(&s);
}

static void fetches_json(struct msg_reader *r)
{
    uint32_t count = reply_count_get(r);
    char text[DIGEST_TEXT_MAX];

    fputs("[", stdout);
    for (uint32_t i = 0; i < count && !r->bad; i++) {
        struct fetch_running f;

        fetch_running_get(r, &f);
        if (r->bad)
            break;
        printf("%s{\"repository\":", i ? "," : "");
        json_text(f.repo);
        fputs(",\"image\":", stdout);
        json_text(f.image);
        printf(",\"digest\":\"%s\",\"state\":\"%s\",\"have\":%llu,\"age_ms\":%llu,\"waiting\":%u,"
               "\"followers\":%u,\"resumes\":%u",
               digest_text(&f.digest, text), f.state, (unsigned long long)f.have,
               (unsigned long long)f.age_ms, f.waiting, f.followers, f.resumes);
        if (f.total != UINT64_MAX)
            printf(",\"total\":%llu", (unsigned long long)f.total);
        fputs("}", stdout);
    }
    puts("]");
}

static void progress(struct ctl_table *table, const struct fetch_running *f)
{
    char bar[BAR_WIDTH + 1], have[32], total[32];
    size_t filled;

    if (f->total == UINT64_MAX || f->total == 0) {
        ctl_cell(table, ctl_bytes(f->have, have));
        return;
    }
    filled = (size_t)((double)f->have / (double)f->total * BAR_WIDTH);
    memset(bar, '-', BAR_WIDTH);
    memset(bar, '#', filled > BAR_WIDTH ? BAR_WIDTH : filled);
    bar[BAR_WIDTH] = 0;
    if (isatty(STDOUT_FILENO))
        ctl_cellf(table, "[%s] %s of %s", bar, ctl_bytes(f->have, have),
                  ctl_bytes(f->total, total));
    else
        ctl_cellf(table, "%s of %s", ctl_bytes(f->have, have), ctl_bytes(f->total, total));
}

static void fetches_text(struct msg_reader *r)
{
    static const char *const heads[] = {"REPOSITORY", "IMAGE", "DIGEST",  "STATE",
                                        "PROGRESS",   "RATE",  "WAITING", "RESUMES"};
    struct ctl_table table = {.columns = sizeof(heads) / sizeof(heads[0])};
    uint32_t count = reply_count_get(r);
    char text[DIGEST_TEXT_MAX], rate[32];

    for (size_t i = 0; i < table.columns; i++)
        ctl_cell(&table, heads[i]);
    for (uint32_t i = 0; i < count && !r->bad; i++) {
        struct fetch_running f;

        fetch_running_get(r, &f);
        if (r->bad)
            break;
        ctl_cell(&table, f.repo);
        ctl_cell(&table, f.image);
        ctl_cellf(&table, "%.19s", digest_text(&f.digest, text));
        ctl_cell(&table, f.state);
        progress(&table, &f);
        ctl_cellf(&table, "%s/s", ctl_bytes(f.age_ms ? f.have * 1000 / f.age_ms : 0, rate));
        ctl_cellf(&table, "%u", f.waiting + f.followers);
        ctl_cellf(&table, "%u", f.resumes);
    }
    ctl_table_print(&table);
}

int ctl_fetches(const struct ctl *ctl, int argc, char **argv)
{
    (void)argv;
    return ctl_show(ctl, "fetches", argc, MSG_FETCH_STATUS, fetches_json, fetches_text);
}

static void remote_json(struct msg_reader *r)
{
    struct fetch_remote_status remote;

    fetch_remote_status_get(r, &remote);
    fputs("{\"url\":", stdout);
    json_text(remote.url);
    printf(",\"up\":%s,\"failures\":%u,\"down_s\":%u,\"limited_s\":{",
           remote.down_s ? "false" : "true", remote.failures, remote.down_s);
    for (size_t i = 0, n = 0; i < FETCH_LIMIT_COUNT; i++)
        if (remote.limited_s[i])
            printf("%s\"%s\":%u", n++ ? "," : "", fetch_limit_name(i), remote.limited_s[i]);
    fputs("}}", stdout);
}

static void proxy_json(struct msg_reader *r)
{
    uint32_t count = reply_count_get(r);

    fputs("[", stdout);
    for (uint32_t i = 0; i < count && !r->bad; i++) {
        struct fetch_proxy_status p;

        fetch_proxy_status_get(r, &p);
        printf("%s{\"repository\":", i ? "," : "");
        json_text(p.repo);
        if (p.rate_limit != UINT64_MAX)
            printf(",\"rate_limit\":%llu", (unsigned long long)p.rate_limit);
        if (p.rate_left != UINT64_MAX)
            printf(",\"rate_left\":%llu", (unsigned long long)p.rate_left);
        printf(",\"tokens\":%u,\"requests\":%llu,\"errors\":%llu,\"bytes\":%llu,"
               "\"resumes\":%llu,\"remotes\":[",
               p.tokens, (unsigned long long)p.requests, (unsigned long long)p.errors,
               (unsigned long long)p.bytes, (unsigned long long)p.resumes);
        for (uint32_t j = 0; j < p.remotes && !r->bad; j++) {
            fputs(j ? "," : "", stdout);
            remote_json(r);
        }
        fputs("]}", stdout);
    }
    puts("]");
}

static void proxy_text(struct msg_reader *r)
{
    uint32_t count = reply_count_get(r);
    char bytes[32];

    for (uint32_t i = 0; i < count && !r->bad; i++) {
        struct fetch_proxy_status p;

        fetch_proxy_status_get(r, &p);
        printf("%s: %llu requests, %llu failed, %s fetched, %llu downloads resumed, %u tokens\n",
               p.repo, (unsigned long long)p.requests, (unsigned long long)p.errors,
               ctl_bytes(p.bytes, bytes), (unsigned long long)p.resumes, p.tokens);
        if (p.rate_left != UINT64_MAX)
            printf("  %llu pulls left", (unsigned long long)p.rate_left);
        if (p.rate_left != UINT64_MAX && p.rate_limit != UINT64_MAX)
            printf(" of %llu", (unsigned long long)p.rate_limit);
        fputs(p.rate_left != UINT64_MAX ? "\n" : "", stdout);
        for (uint32_t j = 0; j < p.remotes && !r->bad; j++) {
            struct fetch_remote_status remote;

            fetch_remote_status_get(r, &remote);
            if (remote.down_s)
                printf("  %s: DOWN, tried again in %u s\n", remote.url, remote.down_s);
            else
                printf("  %s: up\n", remote.url);
            for (size_t k = 0; k < FETCH_LIMIT_COUNT; k++)
                if (remote.limited_s[k])
                    printf("  %s: too many requests: not asked for %s in the next %u s\n",
                           remote.url, fetch_limit_name(k), remote.limited_s[k]);
        }
    }
}

int ctl_proxy(const struct ctl *ctl, int argc, char **argv)
{
    if (argc != 1 || strcmp(argv[0], "status") != 0) {
        fputs("usage: entrepotctl proxy status\n", stderr);
        return EXIT_FAILURE;
    }
    return ctl_show(ctl, "proxy status", 0, MSG_PROXY_STATUS, proxy_json, proxy_text);
}
