/*
 * metrics_proxies.c - the part of /metrics that is about proxies.
 *
 * Runs in workers. Hits and misses were counted by workers in shared memory, the rest
 * by the fetcher, which may be dead just now. Changes nothing.
 */
#include "worker/metrics.h"

#include "base/mem.h"
#include "ipc/msg_fetch.h"

#include <stdio.h>
#include <stdlib.h>

static void family(struct str *out, const char *name, const char *type, const char *help)
{
    str_printf(out, "# HELP entrepot_%s %s\n# TYPE entrepot_%s %s\n", name, help, name, type);
}

static void hits(const struct admin *admin, struct str *out)
{
    uint64_t hit = 0, miss = 0;

    for (size_t i = 0; i < TALLY_SLOTS_MAX; i++) {
        hit += atomic_load(&tally_at(admin->tally, i)->proxy_hits);
        miss += atomic_load(&tally_at(admin->tally, i)->proxy_misses);
    }
    family(out, "proxy_lookups_total", "counter",
           "Pulls from proxies by whether it was here and fresh.");
    str_printf(out,
               "entrepot_proxy_lookups_total{result=\"hit\"} %llu\n"
               "entrepot_proxy_lookups_total{result=\"miss\"} %llu\n",
               (unsigned long long)hit, (unsigned long long)miss);
}

struct row {
    struct fetch_proxy_status s;
    uint32_t up; /* remotes that are not left alone */
};

static size_t rows_read(struct msg_reader *r, struct row *rows, size_t max)
{
    uint32_t count = reply_count_get(r);
    size_t n = 0;

    for (; n < count && n < max && !r->bad; n++) {
        fetch_proxy_status_get(r, &rows[n].s);
        for (uint32_t i = 0; i < rows[n].s.remotes && !r->bad; i++) {
            struct fetch_remote_status remote;

            fetch_remote_status_get(r, &remote);
            rows[n].up += remote.down_s == 0;
        }
    }
    return r->bad ? 0 : n;
}

static const struct {
    const char *name, *type, *help;
    size_t offset; /* of a u64 in struct fetch_proxy_status */
} columns[] = {
    {"proxy_upstream_requests_total", "counter", "Requests to remotes.",
     offsetof(struct fetch_proxy_status, requests)},
    {"proxy_upstream_errors_total", "counter", "Those that failed.",
     offsetof(struct fetch_proxy_status, errors)},
    {"proxy_upstream_bytes_total", "counter", "Bytes from remotes.",
     offsetof(struct fetch_proxy_status, bytes)},
    {"proxy_upstream_resumes_total", "counter", "Downloads that went on after a cut.",
     offsetof(struct fetch_proxy_status, resumes)},
    {"proxy_ratelimit_limit", "gauge", "Pulls that a remote grants, where it tells.",
     offsetof(struct fetch_proxy_status, rate_limit)},
    {"proxy_ratelimit_remaining", "gauge", "Pulls that are left of them.",
     offsetof(struct fetch_proxy_status, rate_left)},
};

void metrics_proxies(const struct admin *admin, struct msg_reader *fetcher, struct str *out)
{
    size_t max = admin->api->conf->repo_count, count;
    struct row *rows;

    hits(admin, out);
    family(out, "fetcher_up", "gauge", "1 when the fetcher answers.");
    str_printf(out, "entrepot_fetcher_up %d\n", fetcher != NULL);
    if (!fetcher)
        return;
    rows = mem_alloc_array(max + 1, sizeof(*rows));
    count = rows_read(fetcher, rows, max);
    for (size_t c = 0; c < sizeof(columns) / sizeof(columns[0]); c++) {
        family(out, columns[c].name, columns[c].type, columns[c].help);
        for (size_t i = 0; i < count; i++) {
            uint64_t value = *(const uint64_t *)((const char *)&rows[i].s + columns[c].offset);

            if (value != UINT64_MAX) /* not metered */
                str_printf(out, "entrepot_%s{repository=\"%s\"} %llu\n", columns[c].name,
                           rows[i].s.repo, (unsigned long long)value);
        }
    }
    family(out, "proxy_remotes_up", "gauge", "Remotes that are not left alone for now.");
    for (size_t i = 0; i < count; i++)
        str_printf(out, "entrepot_proxy_remotes_up{repository=\"%s\"} %u\n", rows[i].s.repo,
                   rows[i].up);
    free(rows);
}
