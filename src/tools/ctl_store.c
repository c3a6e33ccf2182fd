/*
 * ctl_store.c - entrepotctl store: what blob stores are, and telling one that it belongs here.
 *
 * Works on files, as the account that owns them, under the store's lock: a store that a daemon uses
 * is not changed. Writes STORE_PATH/IDENTITY (store/identity.h), and at a renaming the file
 * DATA_DIR/catalog/REPOSITORIES (conf/holdings.h). A crash leaves old or new ones; after a renaming
 * that is half done the command is given again.
 */
#include "base/json.h"
#include "base/mem.h"
#include "conf/conf.h"
#include "conf/holdings.h"
#include "store/belong.h"
#include "store/store.h"
#include "tools/ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

static const char usage[] = "usage: entrepotctl [--json] [-c FILE] store list\n"
                            "       entrepotctl [--json] [-c FILE] store adopt NAME [--yes]\n"
                            "       entrepotctl [--json] [-c FILE] store rename OLD NEW\n";

/* As the account that owns it. NULL: told why not. */
static struct store *take_store(const struct conf_store *conf, bool lock)
{
    struct store *store = store_new(conf);
    uid_t uid;
    gid_t gid;

    if (store_open(store, STORE_ANYHOW) != 0 || store_owner(store, &uid, &gid) != 0)
        fprintf(stderr, "entrepotctl: cannot open blobstore %s: %s: %s\n", conf->name, conf->path,
                strerror(errno));
    else if (geteuid() == 0 && uid != 0 &&
             (setgroups(0, NULL) != 0 || setegid(gid) != 0 || seteuid(uid) != 0))
        fprintf(stderr, "entrepotctl: cannot become the owner of %s: %s\n", conf->path,
                strerror(errno));
    else if (lock && store_lock(store) != 0)
        fprintf(stderr, "entrepotctl: %s: %s\n", conf->path,
                errno == EWOULDBLOCK ? "a daemon uses this blob store; stop it first"
                                     : strerror(errno));
    else
        return store;
    store_free(&store);
    return NULL;
}

static const struct conf_store *store_by_name(const struct conf *conf, const char *name)
{
    for (size_t i = 0; i < conf->store_count; i++)
        if (strcmp(conf->stores[i].name, name) == 0)
            return &conf->stores[i];
    fprintf(stderr, "entrepotctl: the configuration has no blobstore %s\n", name);
    return NULL;
}

static int write_identity(struct store *taken, const struct conf_store *store,
                          const struct identity *identity)
{
    int err = store_identity_write(taken, identity);

    if (err != 0) {
        fprintf(stderr, "entrepotctl: cannot write %s/" IDENTITY_FILE ": %s\n", store->path,
                err_text(err));
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}

/* The repositories in it are in a store of the new name (conf/holdings.h), before the store itself
 * says so: who dies in between is told to repeat it. A daemon that runs does it at its reload. */
static int rename_holdings(const struct conf *conf, const char *old_name,
                           const struct conf_store *store)
{
    struct holdings holdings = {0};
    struct str text = {0}, path = {0};
    int fd, err = 0;

    str_printf(&path, "%s/lock", conf->data_dir);
    fd = open(path.data, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 &&
        holdings_read(conf->data_dir, &holdings) == 0 &&
        holdings_rename(&holdings, old_name, store)) {
        holdings_text(&holdings, &text);
        err = holdings_write(conf->data_dir, &text);
        if (err != 0)
            fprintf(stderr, "entrepotctl: cannot write which repositories %s holds below %s: %s\n",
                    store->name, conf->data_dir, err_text(err));
    }
    if (fd >= 0)
        close(fd);
    holdings_free(&holdings);
    str_free(&text);
    str_free(&path);
    return err;
}

/* `done`: what was done, as a word for programs and for people. */
static void told(const struct ctl *ctl, const struct conf_store *store, const char *done,
                 const char *text)
{
    struct str out = {0};

    if (ctl->json) {
        str_printf(&out, "{\"%s\":true,\"blobstore\":\"%s\",\"path\":", done, store->name);
        json_append_string(&out, store->path);
        str_puts(&out, "}\n");
    } else {
        str_printf(&out, "%s is blobstore %s %s; reload or start entrepotd\n", store->path,
                   store->name, text);
    }
    fputs(out.data, stdout);
    str_free(&out);
}

static int store_rename(const struct ctl *ctl, const struct conf *conf, const char *old_name,
                        const char *new_name)
{
    const struct conf_store *store = store_by_name(conf, new_name);
    struct identity identity;
    struct store *taken = store ? take_store(store, false) : NULL;
    int err, status = EXIT_FAILURE;

    if (!taken)
        return EXIT_FAILURE;
    err = store_identity_read(taken, &identity);
    if (err != 0) {
        fprintf(stderr, "entrepotctl: cannot read %s/" IDENTITY_FILE ": %s\n", store->path,
                err_text(err));
    } else if (strcmp(identity.name, old_name) != 0) {
        fprintf(stderr, "entrepotctl: %s is blobstore %s, not %s%s\n", store->path, identity.name,
                old_name, strcmp(identity.name, new_name) == 0 ? ": nothing is to be done" : "");
    } else if (rename_holdings(conf, old_name, store) == 0) {
        strcpy(identity.name, new_name);
        status = write_identity(taken, store, &identity);
        if (status == EXIT_SUCCESS)
            told(ctl, store, "renamed", "now");
    }
    store_free(&taken);
    return status;
}

/* It names a database that is not there: neither another's nor served by a new one. */
static bool bereft(const struct belong *b, size_t place)
{
    return b->database == BELONG_NO_DATABASE && b->stores[place] == BELONG_OURS &&
           !identity_adopts(&b->store_identity[place], "");
}

static bool agreed(const struct ctl *ctl, const struct conf_store *store, bool lost, bool yes)
{
    FILE *talk = ctl_talk(ctl);

    if (yes && ctl->json)
        return true;
    fprintf(
        talk,
        "blobstore %s at %s will belong to the database of this configuration.\n"
        "Nothing in it is deleted or served by that alone: blobs without a record here wait for "
        "pushes of\nthe same content; `entrepotctl gc --orphans` tells how many they "
        "are.\nAnother database that has records of it will not have its blobs "
        "any more.\n",
        store->name, store->path);
    if (lost)
        fprintf(
            talk,
            "The database that knew its images is missing: entrepotctl rebuild brings them back, "
            "this does not.\n");
    return yes || ctl_agreed(ctl, "Go on?");
}

/* The one that the database has known by that name, unless it is there under another: so its
 * records count again when the same bytes are back without their IDENTITY. What is this database's
 * already keeps its own, under which its records are, also when it was renamed just now. Else a new
 * one. */
static void choose_id(const struct conf *conf, const struct belong *b, size_t place,
                      char id[IDENTITY_ID_LEN + 1])
{
    int known = belong_known(conf, b, place);

    if (known >= 0)
        strcpy(id, b->known.at[known].id);
    else if (b->stores[place] == BELONG_OURS && b->database == BELONG_DATABASE)
        strcpy(id, b->store_identity[place].id);
    else
        identity_new_id(id);
}

static int store_adopt(const struct ctl *ctl, const struct conf *conf, const char *name, bool yes)
{
    const struct conf_store *store = store_by_name(conf, name);
    struct identity identity = {0}; /* made nobody knows when: nothing in it is garbage unasked */
    struct belong *b;
    struct store *taken;
    int status = EXIT_FAILURE;

    if (!store)
        return EXIT_FAILURE;
    b = mem_alloc(sizeof(*b));
    belong_look(conf, b);
    if (!agreed(ctl, store, bereft(b, (size_t)(store - conf->stores)), yes)) {
        free(b);
        return CTL_EXIT_NO;
    }
    taken = take_store(store, true);
    if (taken) {
        choose_id(conf, b, (size_t)(store - conf->stores), identity.id);
        strcpy(identity.database,
               b->database == BELONG_DATABASE ? b->identity.id : IDENTITY_ANYBODY);
        strcpy(identity.name, name);
        status = write_identity(taken, store, &identity);
        if (status == EXIT_SUCCESS)
            told(ctl, store, "adopted", "of this database now");
        store_free(&taken);
    }
    free(b);
    return status;
}

static const char *what_is(const struct belong *b, size_t place)
{
    static const char *const words[] = {[BELONG_NEW] = "new",
                                        [BELONG_AWAY] = "away",
                                        [BELONG_OLD] = "old",
                                        [BELONG_OURS] = "ours",
                                        [BELONG_FOREIGN] = "foreign",
                                        [BELONG_NAMED] = "renamed",
                                        [BELONG_UNREADABLE] = "unreadable"};

    return bereft(b, place) ? "no database" : words[b->stores[place]];
}

/* `why`: lines, what a start or reload would say. */
static void list_json(const struct conf *conf, const struct belong *b, struct str *why)
{
    struct str out = {0};
    char *rest = why->data, *line;
    bool first = true;

    str_puts(&out, "{\"blobstores\":[");
    for (size_t i = 0; i < conf->store_count; i++) {
        str_printf(&out,
                   "%s{\"name\":\"%s\",\"state\":\"%s\",\"id\":\"%s\",\"path\":", i > 0 ? "," : "",
                   conf->stores[i].name, what_is(b, i), b->store_identity[i].id);
        json_append_string(&out, conf->stores[i].path);
        str_putc(&out, '}');
    }
    str_puts(&out, "],\"refused\":[");
    while (rest && (line = strsep(&rest, "\n")) != NULL) {
        if (!*line)
            continue;
        str_puts(&out, first ? "" : ",");
        json_append_string(&out, line);
        first = false;
    }
    str_puts(&out, "]}\n");
    fputs(out.data, stdout);
    str_free(&out);
}

static void list_text(const struct conf *conf, const struct belong *b, const struct str *why)
{
    struct ctl_table table = {.columns = 4};

    for (size_t i = 0; i < table.columns; i++)
        ctl_cell(&table, (const char *const[]){"BLOBSTORE", "STATE", "ID", "PATH"}[i]);
    for (size_t i = 0; i < conf->store_count; i++) {
        ctl_cell(&table, conf->stores[i].name);
        ctl_cell(&table, what_is(b, i));
        ctl_cell(&table, *b->store_identity[i].id ? b->store_identity[i].id : "-");
        ctl_cell(&table, conf->stores[i].path);
    }
    ctl_table_print(&table);
    fputs(why->data ? why->data : "", stdout);
}

static int store_list(const struct ctl *ctl, const struct conf *conf)
{
    struct belong *b = mem_alloc(sizeof(*b));
    struct str why = {0};

    belong_look(conf, b);
    if (belong_judge(conf, b, true, &why) == 0)
        str_reset(&why);
    if (ctl->json)
        list_json(conf, b, &why);
    else
        list_text(conf, b, &why);
    str_free(&why);
    free(b);
    return EXIT_SUCCESS;
}

int ctl_store(const struct ctl *ctl, int argc, char **argv)
{
    int yes_at = argc != 3 ? 0 : strcmp(argv[1], "--yes") == 0 ? 1 : 2;
    bool yes = argc == 3 && strcmp(argv[yes_at], "--yes") == 0;
    struct conf *conf = NULL;
    int status = -1;

    if (argc >= 1 && ctl_conf(ctl, &conf)) {
        if (argc == 1 && strcmp(argv[0], "list") == 0)
            status = store_list(ctl, conf);
        else if (argc == 3 && strcmp(argv[0], "rename") == 0)
            status = store_rename(ctl, conf, argv[1], argv[2]);
        else if ((argc == 2 || yes) && strcmp(argv[0], "adopt") == 0)
            status = store_adopt(ctl, conf, argv[yes_at == 1 ? 2 : 1], yes);
    } else if (argc >= 1) {
        return EXIT_FAILURE;
    }
    conf_free(&conf);
    if (status < 0)
        fputs(usage, stderr);
    return status < 0 ? EXIT_FAILURE : status;
}
