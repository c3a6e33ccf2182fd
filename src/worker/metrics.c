/*
 * metrics.c - the text of /metrics.
 *
 * Runs in workers. Processes' counters come from shared memory, whoever wrote
 * them; what lies in repositories and stores, from the catalog. A process that
 * was born again counts from zero, as Prometheus expects. Changes nothing.
 */
#include "worker/metrics.h"

#include "config.h"
#include "ipc/msg_stats.h"

#include <stdio.h>

static void describe(struct str *out, const char *name, const char *type, const char *help)
{
    str_printf(out, "# HELP entrepot_%s %s\n# TYPE entrepot_%s %s\n", name, help, name, type);
}

static void number(struct str *out, const char *name, const char *labels, uint64_t value)
{
    str_printf(out, "entrepot_%s%s %llu\n", name, labels, (unsigned long long)value);
}

/* One counter of every process that has done anything. */
static void per_slot(const struct admin *admin, struct str *out, const char *name, const char *type,
                     const char *help, size_t offset)
{
    char labels[64];

    describe(out, name, type, help);
    for (size_t i = 0; i < TALLY_SLOTS_MAX; i++) {
        struct tally_page *page = tally_at(admin->tally, i);

        if (atomic_load(&page->http.accepted) == 0)
            continue;
        snprintf(labels, sizeof(labels), "{slot=\"%zu\"}", i);
        number(out, name, labels, atomic_load((_Atomic uint64_t *)((char *)&page->http + offset)));
    }
}

static void answers(const struct admin *admin, struct str *out)
{
    char labels[64];

    describe(out, "http_requests_total", "counter", "Answered requests by class of status.");
    for (size_t i = 0; i < TALLY_SLOTS_MAX; i++) {
        struct tally_page *page = tally_at(admin->tally, i);

        for (int class = 2; class < 6 && atomic_load(&page->http.accepted) > 0; class ++) {
            snprintf(labels, sizeof(labels), "{slot=\"%zu\",class=\"%dxx\"}", i, class);
            number(out, "http_requests_total", labels, atomic_load(&page->http.answers[class]));
        }
    }
}

static void durations(const struct admin *admin, struct str *out)
{
    uint64_t count = 0, sum_us = 0;

    describe(out, "http_request_duration_seconds", "histogram",
             "From a complete head to the last byte of the answer.");
    for (size_t bound = 0; bound < HTTP_TOOK_BOUNDS; bound++) {
        for (size_t i = 0; i < TALLY_SLOTS_MAX; i++)
            count += atomic_load(&tally_at(admin->tally, i)->http.took[bound]);
        if (http_took_bounds_us[bound] != UINT64_MAX)
            str_printf(out, "entrepot_http_request_duration_seconds_bucket{le=\"%g\"} %llu\n",
                       (double)http_took_bounds_us[bound] / 1e6, (unsigned long long)count);
    }
    for (size_t i = 0; i < TALLY_SLOTS_MAX; i++)
        sum_us += atomic_load(&tally_at(admin->tally, i)->http.took_us);
    str_printf(out,
               "entrepot_http_request_duration_seconds_bucket{le=\"+Inf\"} %llu\n"
               "entrepot_http_request_duration_seconds_sum %.6f\n"
               "entrepot_http_request_duration_seconds_count %llu\n",
               (unsigned long long)count, (double)sum_us / 1e6, (unsigned long long)count);
}

static void disks(const struct admin *admin, struct str *out)
{
    const struct conf *conf = admin->api->conf;
    char labels[128];

    describe(out, "blobstore_disk_free_bytes", "gauge", "Room that the file system offers.");
    for (size_t i = 0; i < conf->store_count; i++) {
        uint64_t bytes;

        if (store_free_bytes(admin->api->stores[i], &bytes) != 0)
            continue;
        snprintf(labels, sizeof(labels), "{blobstore=\"%s\"}", conf->stores[i].name);
        number(out, "blobstore_disk_free_bytes", labels, bytes);
    }
}

/* Rows of a table in the message become one family a column. */
static const struct {
    const char *name, *help;
    size_t offset;
} repo_columns[] =
    {
        {"repository_images", "Images in a repository.", offsetof(struct stats_repo, images)},
        {"repository_tags", "Tags in a repository.", offsetof(struct stats_repo, tags)},
        {"repository_manifests", "Manifests in a repository.",
         offsetof(struct stats_repo, manifests)},
        {"repository_blobs", "Blobs that images of a repository hold.",
         offsetof(struct stats_repo, blobs)},
        {"repository_bytes", "Their bytes, each image counted.",
         offsetof(struct stats_repo, bytes)},
},
  store_columns[] = {
      {"blobstore_bytes", "Bytes of blobs in a blob store.", offsetof(struct stats_store, bytes)},
      {"blobstore_quota_bytes", "Its quota, 0: none.", offsetof(struct stats_store, quota)},
      {"blobstore_uploads", "Open upload sessions.", offsetof(struct stats_store, uploads)},
      {"blobstore_upload_bytes", "Their bytes so far.", offsetof(struct stats_store, upload_bytes)},
      {"blobstore_damaged_blobs", "Blobs known to be damaged or missing.",
       offsetof(struct stats_store, damaged)},
      {"blobstore_journal_kept", "1: its journal, for entrepotctl rebuild, is kept.",
       offsetof(struct stats_store, journal)},
      {"blobstore_database_lost", "1: the database lacks changes that the journal has.",
       offsetof(struct stats_store, lost)},
      {"blobstore_open", "0: it is away or not ours, and what needs it is answered 503.",
       offsetof(struct stats_store, open)},
};

static void repositories(struct msg_reader *r, struct str *out)
{
    const struct msg_reader from = *r;
    char labels[192];

    for (size_t column = 0; column < sizeof(repo_columns) / sizeof(repo_columns[0]); column++) {
        uint32_t count;

        *r = from;
        count = reply_count_get(r);
        describe(out, repo_columns[column].name, "gauge", repo_columns[column].help);
        for (uint32_t i = 0; i < count && !r->bad; i++) {
            struct stats_repo row;

            stats_repo_get(r, &row);
            snprintf(labels, sizeof(labels), "{repository=\"%s\",type=\"%s\"}", row.name,
                     stats_kind_name(row.kind));
            number(out, repo_columns[column].name, labels,
                   *(uint64_t *)((char *)&row + repo_columns[column].offset));
        }
    }
}

static void stores(struct msg_reader *r, struct str *out)
{
    const struct msg_reader from = *r;
    char labels[128];

    for (size_t column = 0; column < sizeof(store_columns) / sizeof(store_columns[0]); column++) {
        uint32_t count;

        *r = from;
        count = reply_count_get(r);
        describe(out, store_columns[column].name, "gauge", store_columns[column].help);
        for (uint32_t i = 0; i < count && !r->bad; i++) {
            struct stats_store row;

            stats_store_get(r, &row);
            snprintf(labels, sizeof(labels), "{blobstore=\"%s\"}", row.name);
            number(out, store_columns[column].name, labels,
                   *(uint64_t *)((char *)&row + store_columns[column].offset));
        }
    }
}

static void single(struct str *out, const char *name, const char *type, const char *help,
                   uint64_t value)
{
    describe(out, name, type, help);
    number(out, name, "", value);
}

static void upkeep(struct msg_reader *r, struct str *out)
{
    struct stats_scrub scrub;
    struct stats_lists lists;
    struct stats_gc gc;

    stats_gc_get(r, &gc);
    stats_scrub_get(r, &scrub);
    stats_lists_get(r, &lists);
    single(out, "gc_running", "gauge", "1 while garbage is collected.", gc.running);
    single(out, "gc_sweeps_total", "counter", "Finished garbage collections.", gc.sweeps);
    single(out, "gc_last_sweep_timestamp_seconds", "gauge", "When the last one ended.",
           gc.finished_s);
    single(out, "gc_removed_blobs_total", "counter", "Blobs that went.", gc.blobs + gc.orphans);
    single(out, "gc_removed_bytes_total", "counter", "Their bytes.", gc.bytes);
    single(out, "scrub_running", "gauge", "1 while all blobs are being read.", scrub.running);
    single(out, "scrub_blobs_total", "counter", "Blobs that were read and good.", scrub.blobs);
    single(out, "scrub_bytes_total", "counter", "Their bytes.", scrub.bytes);
    single(out, "scrub_damaged_total", "counter", "Blobs found damaged or missing.",
           scrub.damaged + scrub.missing);
    single(out, "list_slices_total", "counter", "Slices in which lists were answered.",
           lists.slices);
    single(out, "list_slice_keys_max", "gauge", "Records the largest of them looked at.",
           lists.keys_max);
    single(out, "list_slice_bytes_max", "gauge", "Bytes the largest of them looked at.",
           lists.bytes_max);
}

void metrics_text(const struct admin *admin, struct msg_reader *catalog, struct str *out)
{
    const struct index_header *index = admin->api->index.header;

    str_printf(out,
               "# HELP entrepot_build_info Version.\n# TYPE entrepot_build_info gauge\n"
               "entrepot_build_info{version=\"%s\"} 1\n",
               PACKAGE_VERSION);
    per_slot(admin, out, "connections", "gauge", "Open connections of clients.",
             offsetof(struct http_counters, connections));
    per_slot(admin, out, "connections_accepted_total", "counter", "Connections of clients.",
             offsetof(struct http_counters, accepted));
    per_slot(admin, out, "received_bytes_total", "counter", "Bytes from clients.",
             offsetof(struct http_counters, bytes_in));
    per_slot(admin, out, "sent_bytes_total", "counter", "Bytes to clients.",
             offsetof(struct http_counters, bytes_out));
    per_slot(admin, out, "cold_reads_total", "counter",
             "Pieces of files that came from the disk by a thread.",
             offsetof(struct http_counters, cold_reads));
    answers(admin, out);
    durations(admin, out);
    disks(admin, out);
    if (index) {
        single(out, "index_generation", "gauge", "Of the shared index.", index->generation);
        single(out, "index_slots_used", "gauge", "Entries, dead ones too.",
               atomic_load(&index->slots_used));
    }
    single(out, "catalog_up", "gauge", "1 when the catalog answers.", catalog != NULL);
    if (!catalog)
        return;
    repositories(catalog, out);
    stores(catalog, out);
    upkeep(catalog, out);
}
