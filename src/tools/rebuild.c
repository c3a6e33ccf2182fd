/*
 * rebuild.c - entrepotctl rebuild: arguments, the order of steps, the report.
 *
 * Runs as the account that owns the data, under the locks of a daemon. Everything is made in
 * DATA_DIR/rebuild; then the damaged database is renamed to DATA_DIR/catalog.damaged-TIME and the
 * new one takes its place. A crash before that leaves what was there; one between the two leaves no
 * database, and DATA_DIR/rebuild/source, by which the next rebuild finds the damaged one.
 */
#include "tools/rebuild.h"

#include "base/fail.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "meta/checkpoint.h"
#include "meta/witness.h"
#include "tools/ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* A batch: calls of rebuild_write(), and bytes. One manifest has thousands of records. */
#define WRITE_AT       1000
#define WRITE_AT_BYTES (4u << 20)

void rebuild_path(const struct rebuild *r, const char *name, struct str *path)
{
    str_reset(path);
    str_printf(path, "%s/rebuild%s%s", r->conf->data_dir, *name ? "/" : "", name);
}

int rebuild_write(struct rebuild *r, struct db *db, bool now)
{
    if (db_batch_empty(db) ||
        (!now && ++r->collected < WRITE_AT && db_batch_bytes(db) < WRITE_AT_BYTES))
        return 0;
    r->collected = 0;
    return db_batch_commit(db);
}

void rebuild_tell(struct rebuild *r, const char *kind, const char *format, ...)
{
    struct str text = {0}, json = {0};
    va_list ap;

    if (!r->list && (strcmp(kind, "guess") == 0 || strcmp(kind, "unnamed") == 0))
        return;
    va_start(ap, format);
    str_vprintf(&text, format, ap);
    va_end(ap);
    if (r->json) {
        str_printf(&json, "%s{\"kind\":\"%s\",\"text\":", r->told ? "," : "", kind);
        json_append_string(&json, text.data);
        printf("%s}", json.data);
    } else {
        printf("%s: %s\n", kind, text.data);
    }
    r->told = true;
    str_free(&text);
    str_free(&json);
}

/* The damaged database: in its place, or where an interrupted rebuild put it. "": there is none. */
static void find_source(const struct rebuild *r, struct str *source)
{
    char target[PATH_MAX];
    struct str link = {0};
    ssize_t len;

    str_reset(source);
    str_printf(source, "%s/catalog", r->conf->data_dir);
    if (access(source->data, F_OK) != 0) {
        rebuild_path(r, "source", &link);
        len = readlink(link.data, target, sizeof(target) - 1);
        str_reset(source);
        str_append(source, target, len > 0 ? (size_t)len : 0);
        str_free(&link);
    }
}

static void remove_made(const struct rebuild *r)
{
    static const char *const names[] = {"remains/lost", "remains", "wanted", "catalog"};
    struct str path = {0};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        rebuild_path(r, names[i], &path);
        checkpoint_remove(path.data);
    }
    str_free(&path);
}

static void remove_all(const struct rebuild *r)
{
    struct str path = {0};

    remove_made(r);
    rebuild_path(r, "source", &path);
    unlink(path.data);
    rebuild_path(r, "", &path);
    rmdir(path.data);
    str_free(&path);
}

static int sync_dir(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int err = fd >= 0 && fsync(fd) == 0 ? 0 : ERR_IO;

    if (fd >= 0)
        close(fd);
    return err;
}

/* What the master judges a configuration by goes on (conf/holdings.h). */
static void keep_holdings(const char *from, const char *to)
{
    struct str path = {0}, text = {0};

    str_printf(&path, "%s/REPOSITORIES", from);
    if (file_read_all(path.data, 16u << 20, &text) == 0) {
        str_reset(&path);
        str_printf(&path, "%s/REPOSITORIES", to);
        if (file_replace(path.data, text.data, text.len, 0640, (uid_t)-1, (gid_t)-1) != 0)
            fprintf(stderr, "entrepotctl: cannot write %s\n", path.data);
    }
    str_free(&path);
    str_free(&text);
}

/* The new database, complete, in DATA_DIR/rebuild/catalog. */
static int make(struct rebuild *r, const char *source)
{
    struct str path = {0};
    int err;

    rebuild_path(r, "catalog", &path);
    err = meta_make(path.data, &r->database, &r->made, &r->meta);
    for (size_t i = 0; i < r->conf->store_count && err == 0; i++) {
        const struct rebuild_store *a = &r->about[i];
        const char *name = r->conf->stores[i].name;

        witness_number_put(r->made, name,
                           a->journal.last > a->number ? a->journal.last : a->number);
        if (*a->identity.id)
            err = meta_store_add(r->made, path.data, &r->meta, a->identity.id, name, name);
    }
    if (err == 0)
        err = rebuild_make(r);
    if (err == 0)
        err = rebuild_unnamed(r);
    if (err == 0 && db_read_failed(r->made))
        err = ERR_IO;
    db_close(&r->made);
    if (err == 0 && *source)
        keep_holdings(source, path.data);
    if (err == 0)
        err = sync_dir(path.data);
    str_free(&path);
    return err;
}

static void aside_name(const struct rebuild *r, struct str *aside)
{
    time_t now = time(NULL);
    struct tm tm;
    char text[32];

    gmtime_r(&now, &tm);
    strftime(text, sizeof(text), "%Y%m%dT%H%M%SZ", &tm);
    str_printf(aside, "%s/catalog.damaged-%s", r->conf->data_dir, text);
    for (unsigned n = 2; access(aside->data, F_OK) == 0; n++) {
        str_reset(aside);
        str_printf(aside, "%s/catalog.damaged-%s-%u", r->conf->data_dir, text, n);
    }
}

static int put_aside(const struct rebuild *r, const char *from, struct str *aside)
{
    struct str link = {0}, dir = {0};
    int err = 0;

    aside_name(r, aside);
    rebuild_path(r, "source", &link);
    rebuild_path(r, "", &dir);
    unlink(link.data);
    if (symlink(aside->data, link.data) != 0 || sync_dir(dir.data) != 0 ||
        rename(from, aside->data) != 0)
        err = err_from_errno(errno);
    str_free(&link);
    str_free(&dir);
    return err;
}

/* The new database takes the place of the damaged one, whose path comes in *aside. */
static int place(const struct rebuild *r, struct str *aside)
{
    struct str from = {0}, to = {0};
    int err = 0;

    FAIL_POINT(rebuild_made);
    str_printf(&to, "%s/catalog", r->conf->data_dir);
    rebuild_path(r, "catalog", &from);
    if (access(to.data, F_OK) == 0)
        err = put_aside(r, to.data, aside);
    FAIL_POINT(rebuild_aside);
    if (err == 0 && rename(from.data, to.data) != 0)
        err = err_from_errno(errno);
    if (err == 0)
        err = sync_dir(r->conf->data_dir);
    FAIL_POINT(rebuild_placed);
    if (err != 0)
        fprintf(stderr, "entrepotctl: cannot put the new database in its place %s: %s\n", to.data,
                err_text(err));
    str_free(&from);
    str_free(&to);
    return err;
}

/* The daemon writes them anew; what they knew stays for whoever wants to look. */
static void journals_aside(const struct rebuild *r)
{
    for (size_t i = 0; i < r->conf->store_count; i++) {
        int err = journal_aside(r->stores[i]);

        if (err != 0 && err != ERR_NOT_FOUND)
            fprintf(stderr, "entrepotctl: cannot put the journal in %s aside: %s\n",
                    r->conf->stores[i].path, err_text(err));
    }
}

static const char *trust_text(enum rebuild_trust trust)
{
    static const char *const texts[] = {
        [REBUILD_NOBODY] = "no journal, and nothing is left of the database: it is new, or is its "
                           "disk not mounted?",
        [REBUILD_JOURNAL] = "the journal is whole and has the last word",
        [REBUILD_DATABASE] = "there is no journal: what is left of the database counts, where what "
                             "was deleted may be back",
        [REBUILD_EITHER] =
            "the journal is damaged: what it or the rest of the database names counts",
        [REBUILD_NEWER] = "the journal is behind: what it or the rest of the database names counts",
    };

    return texts[trust];
}

static void report(const struct rebuild *r, const char *aside, bool complete)
{
    const struct rebuild_counts *c = &r->counts;

    if (r->json) {
        struct str path = {0};

        json_append_string(&path, aside);
        printf("],\"complete\":%s,\"images\":%llu,\"manifests\":%llu,\"tags\":%llu,\"blobs\":%llu,"
               "\"guessed\":%llu,\"lost\":%llu,\"missing\":%llu,\"unnamed\":%llu,\"gone\":%llu,"
               "\"damaged\":%s}\n",
               complete ? "true" : "false", (unsigned long long)c->images,
               (unsigned long long)c->manifests, (unsigned long long)c->tags,
               (unsigned long long)c->blobs, (unsigned long long)c->guessed,
               (unsigned long long)c->lost, (unsigned long long)c->missing,
               (unsigned long long)c->unnamed, (unsigned long long)c->gone, path.data);
        str_free(&path);
        return;
    }
    for (size_t i = 0; i < r->conf->store_count; i++)
        printf("blobstore %s: %s\n", r->conf->stores[i].name, trust_text(r->about[i].trust));
    printf("%llu images, %llu manifests, %llu tags, %llu links to blobs; of manifests and tags "
           "%llu are guesses, %llu are lost; %llu blobs are missing\n",
           (unsigned long long)c->images, (unsigned long long)c->manifests,
           (unsigned long long)c->tags, (unsigned long long)c->blobs,
           (unsigned long long)c->guessed, (unsigned long long)c->lost,
           (unsigned long long)c->missing);
    if (c->unnamed > 0)
        printf("%llu manifests are named by nobody: they are in no repository, and stay until "
               "entrepotctl gc --orphans%s\n",
               (unsigned long long)c->unnamed, r->list ? "" : "; rebuild --list tells which");
    if (c->gone > 0)
        printf("%llu records of the damaged database were left out: the journals say they were "
               "deleted\n",
               (unsigned long long)c->gone);
    if (*aside)
        printf("the damaged database is kept as %s\n", aside);
    if (complete && !r->list)
        printf("now entrepotctl fsck, then start entrepotd\n");
}

static int steps(struct rebuild *r, struct str *aside)
{
    struct str source = {0}, dir = {0};
    struct identity remains;
    int err = rebuild_ground(r);

    find_source(r, &source);
    rebuild_path(r, "", &dir);
    remove_made(r);
    if (err == 0 && mkdir(dir.data, 0700) != 0 && errno != EEXIST) {
        fprintf(stderr, "entrepotctl: cannot make %s: %s\n", dir.data, strerror(errno));
        err = ERR_IO;
    }
    if (err == 0)
        err = rebuild_remains(r, *source.data ? source.data : NULL, &remains);
    if (err == 0)
        err = rebuild_identity(r, &remains);
    if (err == 0)
        err = rebuild_collect(r);
    if (err == 0 && !r->list)
        err = rebuild_bind(r);
    if (err == 0)
        err = make(r, source.data);
    if (err == 0 && !r->list)
        err = place(r, aside);
    if (err == 0 && !r->list)
        journals_aside(r);
    db_close(&r->remains);
    db_close(&r->wanted);
    if (err == 0)
        remove_all(r);
    else
        remove_made(r);
    str_free(&source);
    str_free(&dir);
    return err;
}

static bool agreed(const struct ctl *ctl, const struct conf *conf, bool yes)
{
    if (yes && ctl->json)
        return true;
    fprintf(
        ctl_talk(ctl),
        "The database of %s is made anew: from what is left of it, the blob stores' journals and "
        "their manifests.\nThe present one is kept beside it, as catalog.damaged-TIME; nothing "
        "of the blob stores is deleted.\n`entrepotctl rebuild --list` tells what would come of "
        "it.\n",
        conf->data_dir);
    return yes || ctl_agreed(ctl, "Go on?");
}

/* A store without any witness may be new, or the mount point of one that is not mounted. */
static bool sure(const struct rebuild *r)
{
    const struct rebuild_counts *c = &r->counts;
    bool all = c->guessed == 0 && c->lost == 0 && c->missing == 0 && c->doubtful == 0;

    for (size_t i = 0; i < r->conf->store_count; i++)
        all = all && r->about[i].trust != REBUILD_NOBODY;
    return all;
}

static int run(struct rebuild *r)
{
    struct str aside = {0};
    int err, status;

    r->belong = mem_alloc(sizeof(*r->belong));
    r->stores = mem_alloc_array(r->conf->store_count + 1, sizeof(*r->stores));
    r->about = mem_alloc_array(r->conf->store_count + 1, sizeof(*r->about));
    for (size_t i = 0; i < r->conf->store_count; i++)
        r->stores[i] = store_new(&r->conf->stores[i]);
    str_puts(&aside, "");
    if (r->json)
        printf("{\"found\":[");
    err = steps(r, &aside);
    report(r, aside.data, err == 0);
    status = err != 0 ? REBUILD_FAILED : sure(r) ? REBUILD_SURE : REBUILD_GUESSED;
    for (size_t i = 0; i < r->conf->store_count; i++)
        store_free(&r->stores[i]);
    str_free(&aside);
    free(r->belong);
    free(r->stores);
    free(r->about);
    return status;
}

int ctl_rebuild(const struct ctl *ctl, int argc, char **argv)
{
    struct rebuild *r = mem_alloc(sizeof(*r));
    bool yes = argc == 1 && strcmp(argv[0], "--yes") == 0;
    struct conf *conf = NULL;
    int status = REBUILD_FAILED;

    r->json = ctl->json;
    r->list = argc == 1 && strcmp(argv[0], "--list") == 0;
    if (argc > 1 || (argc == 1 && !yes && !r->list)) {
        fputs("usage: entrepotctl [--json] [-c FILE] rebuild [--list | --yes]\n", stderr);
        status = REBUILD_USAGE;
    } else if (ctl_conf(ctl, &conf)) {
        r->conf = conf;
        if (ctl_become_owner(conf->data_dir) == 0 && rebuild_lock(r) == 0 && ctl_fits(conf) == 0)
            status = r->list || agreed(ctl, conf, yes) ? run(r) : CTL_EXIT_NO;
    }
    conf_free(&conf);
    free(r);
    return status;
}
