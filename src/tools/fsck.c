/*
 * fsck.c - entrepotctl fsck: arguments, the lock, the report.
 *
 * Runs as the account that owns the data: root becomes it for good, so that
 * nothing is left behind which the daemon cannot open. Owns the data directory's
 * lock, which keeps a daemon from starting meanwhile; when a daemon has it, it looks
 * at copies and changes nothing (fsck_online.c). What a crash leaves: fsck.h.
 */
#include "tools/fsck.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/must.h"
#include "meta/db_tables.h"
#include "meta/identity.h"
#include "store/belong.h"
#include "tools/ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

void fsck_tell(struct fsck *f, const char *kind, bool mended, const char *format, ...)
{
    bool repaired = mended && f->repair;
    char text[2048];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    if (strcmp(kind, "orphan") != 0 && strcmp(kind, "note") != 0) {
        f->problems++;
        f->repaired += repaired;
    }
    if (f->json) {
        struct str quoted = {0};

        json_append_string(&quoted, text);
        printf("%s{\"kind\":\"%s\",\"repaired\":%s,\"text\":%s}", f->told ? "," : "", kind,
               repaired ? "true" : "false", quoted.data);
        str_free(&quoted);
    } else {
        printf("%s: %s%s\n", kind, text, repaired ? " (repaired)" : "");
    }
    f->told = true;
}

int fsck_each(struct fsck *f, enum meta_kind kind,
              int (*check)(struct fsck *f, const struct meta_key *key, const char *value,
                           size_t value_len))
{
    struct meta_walk *walk = meta_walk_new(f->db, (struct meta_key){.kind = kind}, NULL);
    struct meta_key key;

    while (meta_walk_step(walk, &key)) {
        size_t len;
        const char *value = meta_walk_value(walk, &len);

        f->records++;
        if (key.kind == META_NONE || check(f, &key, value, len) != 0)
            fsck_tell(f, "record", false, "a record of kind %c is damaged", kind);
        mem_arena_reset(f->arena);
    }
    return meta_walk_end(&walk);
}

int fsck_store_place(const struct fsck *f, const char *name)
{
    for (size_t i = 0; i < f->conf->store_count; i++)
        if (strcmp(f->conf->stores[i].key, name) == 0)
            return (int)i;
    return -1;
}

/* What LevelDB writes while it opens must belong to the daemon's account. */
int ctl_become_owner(const char *data_dir)
{
    struct stat st;

    if (stat(data_dir, &st) != 0) {
        fprintf(stderr, "entrepotctl: cannot look at %s: %s\n", data_dir, strerror(errno));
        return ERR_IO;
    }
    if (geteuid() != 0 || st.st_uid == 0)
        return 0;
    if (setgroups(0, NULL) != 0 || setgid(st.st_gid) != 0 || setuid(st.st_uid) != 0) {
        fprintf(stderr, "entrepotctl: cannot become the owner of %s: %s\n", data_dir,
                strerror(errno));
        return ERR_DENIED;
    }
    return 0;
}

/* Opened as whoever runs us, before we become the owner: an older daemon's lock is root's
 * alone. Locking needs no right to write, so it works on a read-only disk. */
static int open_lock(const struct fsck *f, int *fd_r)
{
    struct str path = {0};
    int err = 0;

    str_printf(&path, "%s/lock", f->conf->data_dir);
    *fd_r = open(path.data, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (*fd_r < 0) {
        fprintf(stderr, "entrepotctl: cannot open %s: %s; %s\n", path.data, strerror(errno),
                errno == EACCES ? "run this as root or as the daemon's account"
                                : "is data_dir right?");
        err = ERR_IO;
    }
    str_free(&path);
    return err;
}

/* The data directory, or a part in what a daemon has. */
static int take_lock(struct fsck *f, int fd)
{
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    if (!f->repair)
        return fsck_online_begin(f);
    if (f->command)
        fprintf(stderr, "entrepotctl: a daemon uses %s: stop it before %s\n", f->conf->data_dir,
                f->command);
    else
        fprintf(stderr,
                "entrepotctl: a daemon uses %s: stop it before --repair; without --repair, fsck "
                "looks while it runs\n",
                f->conf->data_dir);
    return ERR_BUSY;
}

static int open_stores(struct fsck *f)
{
    f->stores = mem_alloc_array(f->conf->store_count, sizeof(*f->stores));
    for (size_t i = 0; i < f->conf->store_count; i++)
        f->stores[i] = store_new(&f->conf->stores[i]);
    for (size_t i = 0; i < f->conf->store_count; i++)
        /* Made anew by nobody: an empty mount point must not look like a loss of all blobs. */
        if (store_open(f->stores[i], STORE_READ) != 0) {
            fprintf(stderr, "entrepotctl: cannot open the blob store %s: %s; is it mounted?\n",
                    f->conf->stores[i].path, strerror(errno));
            return ERR_IO;
        }
    return 0;
}

/* After an error that the database may be the cause of. */
static void tell_cure(const struct fsck *f)
{
    fprintf(stderr,
            "entrepotctl: if it is the database %s/catalog and its disk is well, it is damaged: "
            "%sentrepotctl rebuild makes it anew\n",
            f->conf->data_dir, f->online ? "stop the daemon, then " : "");
}

static int open_database(struct fsck *f)
{
    struct str path = {0};
    int err;

    if (f->online) {
        err = fsck_online_copy(f);
        if (err == ERR_DAMAGED || err == ERR_IO)
            tell_cure(f);
        return err;
    }
    str_printf(&path, "%s/catalog/CURRENT", f->conf->data_dir);
    if (access(path.data, R_OK) != 0) {
        fprintf(
            stderr,
            "entrepotctl: cannot open the database %s: %s; if it is lost: entrepotctl rebuild\n",
            path.data, strerror(errno));
        err = ERR_IO;
    } else {
        str_reset(&path);
        str_printf(&path, "%s/catalog", f->conf->data_dir);
        err = db_tables_check(path.data);
        if (err == 0)
            err = db_open(path.data, KV_EXISTING, &f->db);
        if (err == 0)
            err = fsck_identity(f);
        if (err == ERR_DAMAGED || err == ERR_IO)
            tell_cure(f);
    }
    str_free(&path);
    return err;
}

/* Is it the one that the file beside it names? One that lost all it had looks like one of before
 * identities. */
static bool is_named(const struct fsck *f, const struct identity *identity)
{
    struct str path = {0};
    bool named;

    str_printf(&path, "%s/catalog", f->conf->data_dir);
    named = meta_named(path.data, identity->id);
    if (!named)
        fprintf(stderr,
                "entrepotctl: the database in %s is not the one that its file IDENTITY "
                "names, or has lost all it had\n",
                path.data);
    str_free(&path);
    return named;
}

/* The names that stores have in keys. A database of before identities has no others. */
int fsck_identity(struct fsck *f)
{
    struct meta_identity m;
    int err = meta_identity_get(f->db, &m);

    if ((err == 0 || err == ERR_NOT_FOUND) && !is_named(f, &m.identity))
        return ERR_DAMAGED;
    if (err == ERR_UNSUPPORTED)
        fprintf(stderr,
                "entrepotctl: %s/catalog was written by another version of entrepotd; use its "
                "entrepotctl\n",
                f->conf->data_dir);
    f->database = m.identity;
    for (size_t i = 0; i < f->conf->store_count && err == 0; i++) {
        struct identity identity;
        const char *key = NULL;

        if (store_identity_read(f->stores[i], &identity) == 0)
            key = meta_store_key(&m, identity.id);
        if (key)
            f->conf->stores[i].key = mem_arena_strdup(f->names, key);
        f->store_created_s[i] = identity.created_s;
    }
    return err == ERR_NOT_FOUND ? 0 : err;
}

/* Nothing is called an orphan, or lost, of a store that is another database's. */
static int check_ground(const struct fsck *f)
{
    struct belong *b = mem_alloc(sizeof(*b));
    struct str why = {0};
    int err;

    belong_look(f->conf, b);
    err = belong_judge(f->conf, b, true, &why);
    if (err != 0)
        fprintf(stderr, "entrepotctl: database and blob stores do not belong together:\n%s",
                why.data);
    str_free(&why);
    free(b);
    return err;
}

static int repairs_write(struct fsck *f)
{
    return db_batch_empty(f->db) ? 0 : db_batch_commit(f->db);
}

static int check_all(struct fsck *f)
{
    int err = fsck_files(f);

    if (err == 0)
        err = fsck_records(f);
    if (err == 0)
        err = fsck_images(f);
    if (err == 0)
        err = fsck_garbage(f);
    if (err == 0)
        err = fsck_journals(f);
    if (err == 0)
        err = fsck_orphans(f);
    if (err == 0 && db_read_failed(f->db))
        err = ERR_IO;
    if (err == 0)
        err = repairs_write(f);
    if (err == 0)
        err = fsck_files_move(f);
    if (err != 0)
        fprintf(stderr, "entrepotctl: the check did not come to its end: %s\n", err_text(err));
    if (err == ERR_IO || err == ERR_DAMAGED)
        tell_cure(f);
    return err;
}

static int check(struct fsck *f)
{
    int err = check_ground(f);

    if (err == 0)
        err = ctl_fits(f->conf);
    if (err == 0)
        err = open_stores(f);
    if (err == 0)
        err = open_database(f);
    return err != 0 ? err : check_all(f);
}

static void summary(const struct fsck *f, bool complete)
{
    char bytes[32];

    if (f->json)
        printf("],\"complete\":%s,\"online\":%s,\"blobs\":%zu,\"bytes\":%llu,\"records\":%llu,"
               "\"skipped\":%llu,"
               "\"problems\":%llu,\"repaired\":%llu,\"orphans\":%zu}\n",
               complete ? "true" : "false", f->online ? "true" : "false", f->blob_count,
               (unsigned long long)f->blob_bytes, (unsigned long long)f->records,
               (unsigned long long)f->skipped, (unsigned long long)f->problems,
               (unsigned long long)f->repaired, f->orphan_count);
    else
        printf("%zu blobs, %s; %llu records, %llu of what is not configured; %llu problems, %llu "
               "repaired; %zu orphans%s%s\n",
               f->blob_count, ctl_bytes(f->blob_bytes, bytes), (unsigned long long)f->records,
               (unsigned long long)f->skipped, (unsigned long long)f->problems,
               (unsigned long long)f->repaired, f->orphan_count,
               f->online ? "; a daemon was at work" : "",
               complete ? "" : "; the check did not come to its end");
}

static void fsck_close(struct fsck *f)
{
    db_close(&f->db);
    for (size_t i = 0; f->stores && i < f->conf->store_count; i++)
        store_free(&f->stores[i]);
    free(f->stores);
    free(f->blobs);
    free(f->orphans);
    fsck_online_end(f);
    mem_arena_free(&f->arena);
}

static int lock(struct fsck *f, int *lock_fd_r)
{
    int err = open_lock(f, lock_fd_r);

    if (err == 0)
        err = ctl_become_owner(f->conf->data_dir);
    return err != 0 ? err : take_lock(f, *lock_fd_r);
}

int fsck_hold(struct fsck *f, int *lock_fd_r)
{
    int err = lock(f, lock_fd_r);

    if (err == 0)
        err = check_ground(f);
    if (err == 0)
        err = open_stores(f);
    return err != 0 ? err : open_database(f);
}

void fsck_let_go(struct fsck *f, int lock_fd)
{
    fsck_close(f);
    if (lock_fd >= 0)
        close(lock_fd);
}

static int run(struct fsck *f)
{
    int lock_fd = -1, status = FSCK_FAILED;

    if (lock(f, &lock_fd) == 0) {
        int err;

        if (f->json)
            printf("{\"found\":[");
        err = check(f);
        summary(f, err == 0);
        if (err == 0)
            status = f->problems == 0             ? FSCK_GOOD
                     : f->problems == f->repaired ? FSCK_REPAIRED
                                                  : FSCK_DAMAGED;
        fsck_close(f);
    }
    if (lock_fd >= 0)
        close(lock_fd);
    return status;
}

int ctl_fsck(const struct ctl *ctl, int argc, char **argv)
{
    struct fsck f = {.json = ctl->json, .progress = !ctl->json && isatty(STDERR_FILENO)};
    struct conf *conf = NULL;
    int status = FSCK_FAILED;

    if (argc > 1 || (argc == 1 && strcmp(argv[0], "--repair") != 0)) {
        fputs("usage: entrepotctl [--json] [-c FILE] fsck [--repair]\n", stderr);
        return FSCK_USAGE;
    }
    f.repair = argc == 1;
    if (ctl_conf(ctl, &conf)) {
        f.conf = conf;
        f.arena = mem_arena_new();
        f.names = mem_arena_new();
        status = run(&f);
        mem_arena_free(&f.arena);
        mem_arena_free(&f.names);
    }
    conf_free(&conf);
    return status;
}
