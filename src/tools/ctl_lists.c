/*
 * ctl_lists.c - entrepotctl repos, images, tags: what the catalog holds.
 *
 * Changes nothing.
 */
#include "base/json.h"
#include "base/mem.h"
#include "ipc/msg_list.h"
#include "ipc/msg_stats.h"
#include "oci/name.h"
#include "tools/ctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 1000

static void repos_json(struct msg_reader *r)
{
    struct str out = {0};
    uint32_t count = reply_count_get(r);

    str_puts(&out, "{\"repositories\":[");
    for (uint32_t i = 0; i < count && !r->bad; i++) {
        struct stats_repo line;

        stats_repo_get(r, &line);
        str_puts(&out, i > 0 ? ",{\"name\":" : "{\"name\":");
        json_append_string(&out, line.name);
        str_printf(&out, ",\"type\":\"%s\",\"online\":%s,\"configured\":%s,\"blobstore\":",
                   stats_kind_name(line.kind), line.online ? "true" : "false",
                   line.owned ? "true" : "false");
        json_append_string(&out, line.store);
        str_printf(&out,
                   ",\"images\":%llu,\"tags\":%llu,\"manifests\":%llu,\"blobs\":%llu,"
                   "\"bytes\":%llu}",
                   (unsigned long long)line.images, (unsigned long long)line.tags,
                   (unsigned long long)line.manifests, (unsigned long long)line.blobs,
                   (unsigned long long)line.bytes);
    }
    str_puts(&out, "],\"blobstores\":[");
    count = reply_count_get(r);
    for (uint32_t i = 0; i < count && !r->bad; i++) {
        struct stats_store store;

        stats_store_get(r, &store);
        str_puts(&out, i > 0 ? ",{\"name\":" : "{\"name\":");
        json_append_string(&out, store.name);
        str_printf(&out,
                   ",\"bytes\":%llu,\"quota\":%llu,\"uploads\":%llu,\"upload_bytes\":%llu,"
                   "\"damaged\":%llu,\"journal\":%s,\"lost\":%s,\"open\":%s,\"elsewhere\":%s}",
                   (unsigned long long)store.bytes, (unsigned long long)store.quota,
                   (unsigned long long)store.uploads, (unsigned long long)store.upload_bytes,
                   (unsigned long long)store.damaged, store.journal ? "true" : "false",
                   store.lost ? "true" : "false", store.open ? "true" : "false",
                   store.elsewhere ? "true" : "false");
    }
    str_puts(&out, "]}\n");
    fputs(out.data, stdout);
    str_free(&out);
}

static void repos_text(struct msg_reader *r)
{
    static const char *const heads[] = {"REPOSITORY", "TYPE",      "STATE", "BLOBSTORE", "IMAGES",
                                        "TAGS",       "MANIFESTS", "BLOBS", "BYTES"};
    struct ctl_table table = {.columns = 9};
    uint32_t count = reply_count_get(r), unowned = 0;
    char bytes[32], quota[32];

    for (size_t i = 0; i < table.columns; i++)
        ctl_cell(&table, heads[i]);
    for (uint32_t i = 0; i < count && !r->bad; i++) {
        struct stats_repo line;

        stats_repo_get(r, &line);
        ctl_cell(&table, line.name);
        ctl_cell(&table, stats_kind_name(line.kind));
        ctl_cell(&table, !line.owned ? "NO SECTION" : line.online ? "online" : "offline");
        unowned += !line.owned;
        ctl_cell(&table, line.store);
        ctl_cellf(&table, "%llu", (unsigned long long)line.images);
        ctl_cellf(&table, "%llu", (unsigned long long)line.tags);
        ctl_cellf(&table, "%llu", (unsigned long long)line.manifests);
        ctl_cellf(&table, "%llu", (unsigned long long)line.blobs);
        ctl_cell(&table, ctl_bytes(line.bytes, bytes));
    }
    ctl_table_print(&table);
    if (unowned > 0)
        printf("repositories without a section are kept and not served: give them their section "
               "back, or entrepotctl repo drop NAME deletes them\n");
    count = reply_count_get(r);
    for (uint32_t i = 0; i < count && !r->bad; i++) {
        struct stats_store store;

        stats_store_get(r, &store);
        printf("blob store %s: %s used, quota %s\n", store.name, ctl_bytes(store.bytes, bytes),
               store.quota ? ctl_bytes(store.quota, quota) : "none");
        if (store.damaged > 0)
            printf("blob store %s: %llu blobs are DAMAGED; entrepotctl fsck names them, pushing "
                   "them again heals\n",
                   store.name, (unsigned long long)store.damaged);
        if (store.lost)
            printf("blob store %s: the database LACKS changes that the store's journal has: stop "
                   "the daemon, then entrepotctl rebuild\n",
                   store.name);
        else if (store.elsewhere)
            printf("blob store %s: its path LEADS ELSEWHERE: pulls go on, pushes are answered 503; "
                   "bring its disk or directory back to its path, then reload\n",
                   store.name);
        else if (!store.open)
            printf("blob store %s: it CANNOT BE OPENED, and what needs it is answered 503; "
                   "entrepotctl store list and the log tell why\n",
                   store.name);
        else if (!store.journal)
            printf("blob store %s: its journal is not kept at present; the log tells why\n",
                   store.name);
    }
}

int ctl_repos(const struct ctl *ctl, int argc, char **argv)
{
    (void)argv;
    return ctl_show(ctl, "repos", argc, MSG_REPO_STATS, repos_json, repos_text);
}

/* Is there a repository of that name, or something kept of one? An error is told. */
static int repo_check(const struct ctl *ctl, const char *repo)
{
    struct msg_writer question = {0};
    struct msg_reader reply;
    struct str in = {0};
    bool found = false;
    int err;

    msg_begin(&question, MSG_REPO_STATS, 1);
    err = ctl_ask(ctl, &question, &in, &reply);
    for (uint32_t left = err == 0 ? reply_count_get(&reply) : 0; left > 0 && !reply.bad; left--) {
        struct stats_repo line;

        stats_repo_get(&reply, &line);
        found = found || (!reply.bad && strcmp(line.name, repo) == 0);
    }
    if (err != 0) {
        ctl_refused(err, &in);
    } else if (!found) {
        fprintf(stderr, "entrepotctl: there is no repository %s; entrepotctl repos lists them\n",
                repo);
        err = ERR_NOT_FOUND;
    }
    str_free(&in);
    return err;
}

/* Walks all pages of a list; every name is printed or goes into the JSON array. */
static int list_all(const struct ctl *ctl, enum msg_type type, const char *repo, const char *image,
                    struct str *json)
{
    struct str last = {0};
    bool more = true, first = true;
    int err = 0;

    str_puts(&last, "");
    while (more && err == 0) {
        struct list_names list = {.repo = repo, .image = image, .last = last.data, .limit = PAGE};
        struct msg_writer question = {0};
        struct list_page head = {0};
        struct msg_reader reply;
        struct str in = {0};

        msg_begin(&question, type, 1);
        list_names_put(&question, &list);
        err = ctl_ask(ctl, &question, &in, &reply);
        if (err == 0)
            list_page_get(&reply, &head);
        for (uint32_t i = 0; err == 0 && i < head.count && !reply.bad; i++) {
            const char *name = list_name_get(&reply);

            if (ctl->json) {
                str_puts(json, first ? "" : ",");
                json_append_string(json, name);
            } else {
                printf("%s\n", name);
            }
            first = false;
        }
        if (err == 0)
            err = msg_end(&reply);
        else if (err != ERR_NOT_FOUND)
            ctl_refused(err, &in);
        more = head.more;
        str_reset(&last);
        str_puts(&last, err == 0 ? head.place : "");
        str_free(&in);
    }
    str_free(&last);
    return err;
}

static int list_print(const struct ctl *ctl, enum msg_type type, const char *repo,
                      const char *image, const char *key)
{
    struct str json = {0};
    int err = *repo ? repo_check(ctl, repo) : 0;

    if (err != 0)
        return EXIT_FAILURE;
    str_printf(&json, "{\"%s\":[", key);
    err = list_all(ctl, type, repo, image, &json);
    str_puts(&json, "]}\n");
    if (err == 0 && ctl->json)
        fputs(json.data, stdout);
    if (err == ERR_NOT_FOUND && *image)
        fprintf(stderr, "entrepotctl: repository %s has no image %s\n", repo, image);
    str_free(&json);
    return err == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int ctl_images(const struct ctl *ctl, int argc, char **argv)
{
    if (argc > 1) {
        fprintf(stderr, "usage: entrepotctl images [REPOSITORY]\n");
        return EXIT_FAILURE;
    }
    return list_print(ctl, MSG_IMAGE_LIST, argc == 1 ? argv[0] : "", "", "images");
}

int ctl_tags(const struct ctl *ctl, int argc, char **argv)
{
    char *image = argc == 1 ? strchr(argv[0], ':') : NULL;

    if (!image || image == argv[0] || !name_image_ok(image + 1, strlen(image + 1))) {
        fprintf(stderr,
                "usage: entrepotctl tags REPOSITORY:IMAGE\n"
                "IMAGE is its name without a tag, as entrepotctl images REPOSITORY has it\n");
        return EXIT_FAILURE;
    }
    *image++ = 0;
    return list_print(ctl, MSG_TAG_LIST, argv[0], image, "tags");
}
