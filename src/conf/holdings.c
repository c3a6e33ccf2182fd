/*
 * holdings.c - which repositories hold something, in a file beside the database.
 *
 * The catalog writes it, the master and entrepotctl read it. It is replaced as a whole: a
 * crash leaves the old or the new one.
 */
#include "conf/holdings.h"

#include "base/file.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_NAME      "REPOSITORIES"
#define FILE_MODE      0640
#define FILE_BYTES_MAX (16u << 20)
#define HEAD           "entrepot repositories 1"
#define UNKNOWN        "-"

static const char *kind_name(const struct conf_repo *repo)
{
    return !repo ? "unknown" : repo->kind == CONF_PROXY ? "proxy" : "hosted";
}

static bool kind_known(const char *kind)
{
    return strcmp(kind, "hosted") == 0 || strcmp(kind, "proxy") == 0 ||
           strcmp(kind, "unknown") == 0;
}

static void add(struct holdings *h, const char *name, const char *kind, const char *store,
                const char *path)
{
    h->list = mem_room(h->list, h->count, sizeof(*h->list));
    h->list[h->count++] = (struct holding){.name = mem_strdup(name),
                                           .kind = mem_strdup(kind),
                                           .store = mem_strdup(store),
                                           .path = mem_strdup(path)};
}

/* One line; false: it is none of ours. */
static bool read_line(char *line, struct holdings *h)
{
    char *name = strsep(&line, " "), *kind = strsep(&line, " "), *store = strsep(&line, " ");

    if (!kind || !store || !line || !*line || strlen(name) > CONF_NAME_MAX ||
        strlen(store) > CONF_NAME_MAX || !*name || !*store || !kind_known(kind) ||
        holdings_find(h, name))
        return false;
    add(h, name, kind, store, line);
    return true;
}

int holdings_read(const char *data_dir, struct holdings *h_r)
{
    struct str path = {0}, text = {0};
    char *rest, *line;
    int err;

    *h_r = (struct holdings){0};
    str_printf(&path, "%s/catalog/" FILE_NAME, data_dir);
    err = file_read_all(path.data, FILE_BYTES_MAX, &text);
    if (err == 0 &&
        (text.len == 0 || strlen(text.data) != text.len || text.data[text.len - 1] != '\n'))
        err = ERR_DAMAGED;
    rest = text.data;
    if (err == 0 && strcmp(strsep(&rest, "\n"), HEAD) != 0)
        err = ERR_DAMAGED;
    while (err == 0 && rest && *rest && (line = strsep(&rest, "\n")) != NULL)
        if (!read_line(line, h_r))
            err = ERR_DAMAGED;
    if (err != 0)
        holdings_free(h_r);
    str_free(&text);
    str_free(&path);
    return err == ERR_TOO_BIG ? ERR_DAMAGED : err;
}

int holdings_write(const char *data_dir, const struct str *text)
{
    struct str path = {0};
    int fd, err;

    str_printf(&path, "%s/catalog", data_dir);
    fd = open(path.data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    err = fd < 0 ? err_from_errno(errno) : 0;
    if (err == 0)
        err = file_replace_at(fd, FILE_NAME, text->data, text->len, FILE_MODE);
    if (fd >= 0)
        close(fd);
    str_free(&path);
    return err;
}

void holdings_text(const struct holdings *h, struct str *out)
{
    str_puts(out, HEAD "\n");
    for (size_t i = 0; i < h->count; i++)
        str_printf(out, "%s %s %s %s\n", h->list[i].name, h->list[i].kind, h->list[i].store,
                   h->list[i].path);
}

static void holding_free(struct holding *x)
{
    free(x->name);
    free(x->kind);
    free(x->store);
    free(x->path);
}

void holdings_free(struct holdings *h)
{
    for (size_t i = 0; i < h->count; i++)
        holding_free(&h->list[i]);
    free(h->list);
    *h = (struct holdings){0};
}

struct holding *holdings_find(const struct holdings *h, const char *name)
{
    for (size_t i = 0; i < h->count; i++)
        if (strcmp(h->list[i].name, name) == 0)
            return &h->list[i];
    return NULL;
}

/* A path that a line cannot hold is compared by the store's name alone. */
static const char *path_of(const struct conf_store *store)
{
    return strchr(store->path, '\n') ? UNKNOWN : store->path;
}

void holdings_add(struct holdings *h, const char *name, const struct conf_repo *repo)
{
    const struct conf_store *store = repo ? repo->store : NULL;

    add(h, name, kind_name(repo), store ? store->name : UNKNOWN, store ? path_of(store) : UNKNOWN);
}

void holdings_remove(struct holdings *h, const char *name)
{
    struct holding *x = holdings_find(h, name);

    if (!x)
        return;
    holding_free(x);
    *x = h->list[--h->count];
}

static bool same_store(const struct holding *x, const struct conf_store *store)
{
    return strcmp(x->store, UNKNOWN) == 0 || strcmp(x->store, store->name) == 0 ||
           (strcmp(x->path, UNKNOWN) != 0 && strcmp(x->path, store->path) == 0);
}

static void set_store(struct holding *x, const struct conf_store *store)
{
    free(x->store);
    free(x->path);
    x->store = mem_strdup(store->name);
    x->path = mem_strdup(path_of(store));
}

bool holdings_rename(struct holdings *h, const char *old_name, const struct conf_store *store)
{
    bool changed = false;

    for (size_t i = 0; i < h->count; i++)
        if (strcmp(h->list[i].store, old_name) == 0) {
            set_store(&h->list[i], store);
            changed = true;
        }
    return changed;
}

void holdings_follow(struct holdings *h, const struct conf *conf)
{
    for (size_t i = 0; i < h->count; i++) {
        struct holding *x = &h->list[i];
        const struct conf_repo *repo = conf_repo_by_name(conf, x->name, strlen(x->name));

        if (repo && repo->store && strcmp(x->store, UNKNOWN) != 0 && same_store(x, repo->store))
            set_store(x, repo->store);
    }
}

void holdings_compare(const struct holdings *h, const struct conf *conf, struct str *changed,
                      struct str *unowned)
{
    for (size_t i = 0; i < h->count; i++) {
        const struct holding *x = &h->list[i];
        const struct conf_repo *repo = conf_repo_by_name(conf, x->name, strlen(x->name));

        if (!repo)
            str_printf(unowned,
                       "repository %s holds images and has no section: they are kept and not "
                       "served; give it its section back (%s, blobstore %s), or entrepotctl repo "
                       "drop %s deletes them\n",
                       x->name, x->kind, x->store, x->name);
        else if (repo->kind == CONF_GROUP ||
                 (strcmp(x->kind, "unknown") != 0 && strcmp(x->kind, kind_name(repo)) != 0))
            str_printf(changed,
                       "repository %s holds images as %s and cannot become %s: give the new one "
                       "another name, or first delete them: entrepotctl repo drop %s\n",
                       x->name, x->kind, repo->kind == CONF_GROUP ? "group" : kind_name(repo),
                       x->name);
        else if (!same_store(x, repo->store))
            str_printf(
                changed,
                "repository %s holds images in the blob store %s and would look for them "
                "in %s: keep blobstore = %s, or stop entrepotd and bring them there: entrepotctl "
                "repo move %s --store %s\n",
                x->name, x->store, repo->store->name, x->store, x->name, repo->store->name);
    }
}
