/*
 * opening.c - database and blob stores of the catalog, opened when they can be.
 *
 * Runs in the catalog. A disk that is full, read-only or missing, files of another
 * account, a damaged database: none of them ends this process, for then every port would
 * wait for it. It answers what it can, tells why, and tries again each second, so that
 * whatever an operator does helps without a restart. What can be read and not written is
 * read from a view in the run directory. A crash leaves a view, which the next one removes.
 */
#include "catalog/opening.h"

#include "base/container.h"
#include "base/log.h"
#include "base/mem.h"
#include "catalog/bind.h"
#include "catalog/evict.h"
#include "catalog/files.h"
#include "catalog/gc.h"
#include "catalog/held.h"
#include "catalog/journal.h"
#include "catalog/lacks.h"
#include "catalog/orphans.h"
#include "catalog/scrub.h"
#include "catalog/trouble.h"
#include "catalog/turn.h"
#include "ipc/role.h"
#include "meta/checkpoint.h"
#include "meta/db_tables.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define REOPEN_MS   1000
#define PROBE_BYTES 4096
#define VIEW        "catalog-view"

/* What keeps us from reading and writing a directory's files; *path_r: which. 0: nothing. */
static int forbidden(const char *path, struct str *path_r)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    int failed = dir ? 0 : errno;

    str_reset(path_r);
    str_puts(path_r, path);
    if (dir && faccessat(AT_FDCWD, path, R_OK | W_OK | X_OK, AT_EACCESS) != 0)
        failed = errno;
    while (dir && failed == 0 && (entry = readdir(dir)) != NULL) {
        if (faccessat(dirfd(dir), entry->d_name, R_OK | W_OK, AT_EACCESS) == 0 ||
            strcmp(entry->d_name, "..") == 0 || errno == ENOENT)
            continue;
        failed = errno;
        str_printf(path_r, "/%s", entry->d_name);
    }
    if (dir)
        closedir(dir);
    return failed;
}

/* What the disk says to a file that nobody sees. 0: it takes it, or cannot be asked so. */
static int unwritable(const char *path)
{
    static const char probe[PROBE_BYTES] = {1};
    int fd = open(path, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
    int failed = fd < 0 ? errno : 0;

    if (fd >= 0 && (write(fd, probe, sizeof(probe)) != (ssize_t)sizeof(probe) || fsync(fd) != 0))
        failed = errno;
    if (fd >= 0)
        close(fd);
    return failed == EOPNOTSUPP || failed == EISDIR || failed == ENOENT ? 0 : failed;
}

/* What the database would not say of itself, as an error and, when it is another than
 * before, as a line of the log. IO: neither rights nor room; it is the database itself. */
static int find_cause(struct catalog *c)
{
    struct str path = {0};
    struct stat st = {0};
    int failed = forbidden(c->db_path, &path);
    bool missing = failed == ENOENT;

    if (missing) { /* not even made */
        str_reset(&path);
        str_puts(&path, c->conf->data_dir);
        failed = faccessat(AT_FDCWD, path.data, W_OK | X_OK, AT_EACCESS) != 0 ? errno : 0;
    }
    if (failed == 0)
        failed = unwritable(path.data);
    if (failed != 0 && failed != c->opening_told && stat(path.data, &st) == 0)
        log_error(failed == EACCES || failed == EPERM
                      ? "the database belongs to another account: give data_dir with all in it "
                        "to the one of `user` (chown -R); until then nothing is changed"
                      : "the database's disk cannot be written; until it can, nothing is changed",
                  "path=%s errno=%s owner=%u account=%u", log_quote(path.data),
                  log_quote(strerror(failed)), (unsigned)st.st_uid, (unsigned)geteuid());
    c->opening_told = failed;
    str_free(&path);
    return failed == 0 ? ERR_IO : err_from_errno(failed);
}

/* A database that was open and whose directory is gone (its disk, or somebody's mistake) is waited
 * for. Making a new one, as a first start does, would forget everything that the stores keep. */
static int open_database(struct catalog *c)
{
    bool again = c->opened_id[0] != 0;
    int err = 0;

    if (c->start->died && !again)
        err = db_tables_check(c->db_path);
    if (err == 0 && again && !meta_there(c->db_path))
        err = ERR_NOT_FOUND;
    if (err == 0)
        err = meta_open(c->db_path, &c->db, &c->meta);

    if (err == 0 && again && strcmp(c->opened_id, c->meta.identity.id) != 0) {
        db_close(&c->db);
        err = ERR_CONFLICT;
    }
    if (again && (err == ERR_NOT_FOUND || err == ERR_CONFLICT)) {
        if (!c->opening_other)
            log_error("the database that was open here is gone, or another has its place: bring "
                      "it back; until then nothing is changed",
                      "path=%s err=%s", log_quote(c->db_path), log_quote(err_text(err)));
        c->opening_other = true;
    }
    if (err == 0) {
        strcpy(c->opened_id, c->meta.identity.id);
        c->opening_other = false;
    }
    return err;
}

/* Of a damaged database its file may still tell who it is. */
static int view_identity(struct catalog *c, enum index_map_state state)
{
    int err = meta_identity_get(c->db, &c->meta), dir;

    if (err == 0 || err == ERR_UNSUPPORTED || state != INDEX_PARTIAL)
        return err;
    dir = open(c->db_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    err = dir < 0 ? ERR_IO : identity_read(dir, &c->meta.identity, &c->meta.stores);
    if (dir >= 0)
        close(dir);
    return err;
}

/* `path`: the database, or a view of it, which nothing is written to. */
static int open_and_publish(struct catalog *c, const char *path, enum index_map_state state)
{
    bool view = path != c->db_path;
    int err = !view ? open_database(c)
                    : db_open(path, state == INDEX_PARTIAL ? KV_VIEW : KV_EXISTING, &c->db);

    if (err == 0 && view)
        err = view_identity(c, state);
    if (err == ERR_UNSUPPORTED) /* nothing but another build helps */
        _exit(ROLE_EXIT_CONFIG);
    if (err == 0 && view)
        bind_names(c);
    else if (err == 0)
        err = bind_stores(c);
    if (err == 0 && !view)
        err = lacks_look(c);
    if (err == 0)
        err = publish_rebuild(c, state);
    if (err != 0)
        db_close(&c->db);
    return err;
}

/* The index from a database that cannot be written, or is damaged: its view is opened, walked over
 * and removed. Only pulls come of it; lists, and what the view does not have, wait for the database
 * itself. */
static void publish_view(struct catalog *c, bool damaged)
{
    struct str view = {0};
    int err;

    str_printf(&view, "%s/" VIEW, c->conf->run_dir);
    checkpoint_remove(view.data);
    err = checkpoint_view(c->db_path, view.data, c->start->died);
    if (err == 0)
        err = open_and_publish(c, view.data, damaged ? INDEX_PARTIAL : INDEX_COMPLETE);
    if (err == 0) {
        db_close(&c->db);
        log_warn(damaged ? "the database is damaged: pulls of what can be read of it are served, "
                           "all else is not; stop entrepotd, then entrepotctl rebuild makes it "
                           "anew"
                         : "the database can be read and not written: pulls are served, changes "
                           "are not",
                 "path=%s", log_quote(c->db_path));
    } else {
        log_error("nothing can be served: the database cannot be read either; if it is damaged or "
                  "gone, stop entrepotd, then entrepotctl rebuild makes it anew",
                  "path=%s err=%s", log_quote(c->db_path), log_quote(err_text(err)));
    }
    checkpoint_remove(view.data);
    str_free(&view);
}

/* True: there is another one that may be bound. */
static bool stores_open(struct catalog *c)
{
    bool more = false;

    for (size_t i = 0; i < c->conf->store_count; i++) {
        bool was = store_is_open(c->stores[i]);

        more = (store_try(c->stores[i], false) && !was) || more;
    }
    return more;
}

static bool stores_all(const struct catalog *c)
{
    for (size_t i = 0; i < c->conf->store_count; i++)
        if (!store_is_open(c->stores[i]))
            return false;
    return true;
}

/* What works on its own waits for the first time the database opens. */
static void begin_work(struct catalog *c)
{
    if (c->working)
        return;
    c->working = true;
    gc_start(c->gc);
    evict_start(c->evict);
    orphans_start(c->orphans);
    scrub_start(c->scrub);
}

static void database_try(struct catalog *c)
{
    bool first = c->opening_first, lacking, damaged;
    int err;

    if (c->refusal == ERR_INCOMPLETE && !c->index_outdated && lacks_still(c))
        return; /* to open it each time would change its files */
    err = open_and_publish(c, c->db_path, INDEX_COMPLETE);
    c->opening_first = false;
    if (err == 0) {
        if (!first)
            log_notice("database opened again", NULL);
        c->opening_told = 0;
        held_settle(c->held);
        journals_begin(c->journals);
        begin_work(c);
        return;
    }
    lacking = err == ERR_INCOMPLETE;
    c->refusal = lacking ? ERR_IO : find_cause(c);
    damaged = lacking || (c->refusal == ERR_IO && (err == ERR_DAMAGED || err == ERR_IO));
    if (lacking && c->index.header) /* of a catalog that had more, but for what came since */
        index_writer_state(&c->index, INDEX_PARTIAL);
    if (c->index_outdated || (first && !c->index.header &&
                              (damaged || c->refusal == ERR_NO_SPACE ||
                               c->refusal == ERR_READ_ONLY || c->refusal == ERR_NO_ACCESS)))
        publish_view(c, damaged);
    else if (first && damaged && !lacking)
        log_warn("the database is damaged: pulls of what an earlier process read of it are "
                 "served, all else is not; stop entrepotd, then entrepotctl rebuild makes it anew",
                 "path=%s", log_quote(c->db_path));
    c->index_outdated = false;
    /* Whoever pushes hears "no room" of a full disk; all else is an operator's to mend. */
    if (c->refusal != ERR_NO_SPACE)
        c->refusal = damaged ? ERR_INCOMPLETE : ERR_UNAVAILABLE;
}

/* Beside the open database. One that turns out to lack something by the journal of a store that was
 * away is closed. */
static void more_stores(struct catalog *c)
{
    int err = bind_stores(c);

    if (err == 0)
        err = lacks_look(c);
    if (err == ERR_INCOMPLETE) {
        c->index_outdated = true;
        turn_close_database(c->turn);
        return;
    }
    if (err != 0)
        log_warn("cannot bind a blob store: tried again", NULL);
    journals_begin(c->journals);
}

static void opening_try(struct catalog *c)
{
    bool was[INDEX_STORES_MAX] = {false}, closed = !c->db, more;

    for (size_t i = 0; i < c->conf->store_count; i++)
        was[i] = store_is_open(c->stores[i]);
    more = stores_open(c);
    if (!c->db)
        database_try(c);
    else if (more)
        more_stores(c);
    for (size_t i = 0; i < c->conf->store_count; i++)
        if (closed || !was[i] || !store_is_open(c->stores[i]))
            files_doubt(c->files, i);
    if (c->working && more)
        scrub_marks(c->scrub);
    if (!c->db || !stores_all(c))
        loop_timer_set(c->loop, &c->reopen, REOPEN_MS);
    trouble_tell(c);
}

static void opening_due(struct loop_timer *timer)
{
    opening_try(CONTAINER_OF(timer, struct catalog, reopen));
}

void opening_begin(struct catalog *c)
{
    c->reopen.fire = opening_due;
    c->opening_first = true;
    for (size_t i = 0; i < c->conf->store_count; i++)
        c->stores[i] = store_new(&c->conf->stores[i]);
    c->index = (struct index_writer){.fd = -1, .read_fd = -1};
    if (c->start->index_write_fd >= 0 &&
        index_writer_adopt(c->start->index_write_fd, &c->index) == 0)
        c->index_generation = c->index.header->generation;
    opening_try(c);
}

void opening_again(struct catalog *c, int refusal)
{
    c->refusal = refusal;
    loop_timer_set(c->loop, &c->reopen, 0);
}

void opening_end(struct catalog *c)
{
    loop_timer_cancel(c->loop, &c->reopen);
}
