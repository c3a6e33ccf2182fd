/*
 * identity.c - reading and writing the files IDENTITY.
 *
 * Runs in the master, the catalog and entrepotctl. A crash leaves the old file or the new one.
 */
#include "store/identity.h"

#include "base/file.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FILE_MODE 0640
#define FILE_MAX  65536
#define HEX       "0123456789abcdef"

void identity_new_id(char id[IDENTITY_ID_LEN + 1])
{
    file_random_hex(IDENTITY_ID_LEN / 2, id);
}

bool identity_adopts(const struct identity *store, const char *database)
{
    return strcmp(store->database, database) == 0 || strcmp(store->database, IDENTITY_ANYBODY) == 0;
}

int identity_called(const struct identity_stores *stores, const char *called)
{
    for (size_t i = 0; i < stores->count; i++)
        if (strcmp(stores->at[i].called, called) == 0)
            return (int)i;
    return -1;
}

int identity_keyed(const struct identity_stores *stores, const char *name)
{
    for (size_t i = 0; i < stores->count; i++)
        if (strcmp(stores->at[i].name, name) == 0)
            return (int)i;
    return -1;
}

static bool id_take(const char *value, char id[IDENTITY_ID_LEN + 1])
{
    if (strlen(value) != IDENTITY_ID_LEN || strspn(value, HEX) != IDENTITY_ID_LEN)
        return false;
    memcpy(id, value, IDENTITY_ID_LEN + 1);
    return true;
}

static bool name_take(const char *value, char name[IDENTITY_NAME_MAX + 1])
{
    size_t len = strlen(value);

    if (len == 0 || len > IDENTITY_NAME_MAX || strcspn(value, " \t/") != len)
        return false;
    memcpy(name, value, len + 1);
    return true;
}

/* "ID NAME-IN-KEYS CALLED" */
static bool store_take(char *value, struct identity_stores *stores)
{
    char *id = strsep(&value, " "), *name = strsep(&value, " ");
    size_t at = stores->count;

    if (!name || !value || at == IDENTITY_STORES_MAX || !id_take(id, stores->at[at].id) ||
        !name_take(name, stores->at[at].name) || !name_take(value, stores->at[at].called))
        return false;
    stores->count++;
    return true;
}

static int line_take(const char *key, char *value, struct identity *i,
                     struct identity_stores *stores)
{
    uint64_t version;
    bool good;

    if (strcmp(key, "version") == 0) {
        if (str_parse_u64(value, strlen(value), &version) != 0)
            return ERR_DAMAGED;
        return version == IDENTITY_VERSION ? 0 : ERR_UNSUPPORTED;
    }
    if (strcmp(key, "id") == 0)
        good = id_take(value, i->id);
    else if (strcmp(key, "database") == 0)
        good = !stores && id_take(value, i->database);
    else if (strcmp(key, "name") == 0)
        good = !stores && name_take(value, i->name);
    else if (strcmp(key, "created") == 0)
        good = str_parse_u64(value, strlen(value), &i->created_s) == 0;
    else
        good = stores && strcmp(key, "store") == 0 && store_take(value, stores);
    return good ? 0 : ERR_DAMAGED;
}

/* Cuts "key = value" apart; false for a line without meaning. */
static bool line_cut(char *line, char **value_r)
{
    char *equals;

    if (*line == 0 || *line == '#')
        return false;
    equals = strstr(line, " = ");
    *value_r = equals ? equals + 3 : line + strlen(line);
    if (equals)
        *equals = 0;
    return true;
}

static int text_take(char *text, struct identity *i, struct identity_stores *stores)
{
    bool versioned = false;
    int err = 0;

    for (char *line; err == 0 && (line = strsep(&text, "\n")) != NULL;) {
        char *value;

        if (!line_cut(line, &value))
            continue;
        /* The first line with a meaning: whoever comes later may mean all else otherwise. */
        if (!versioned && strcmp(line, "version") != 0)
            return ERR_DAMAGED;
        versioned = true;
        err = line_take(line, value, i, stores);
    }
    if (err == 0 && (!*i->id || (!stores && (!*i->database || !*i->name))))
        err = ERR_DAMAGED;
    return err;
}

int identity_read(int dir_fd, struct identity *i, struct identity_stores *stores)
{
    char text[FILE_MAX];
    size_t len = 0;
    ssize_t got;
    int fd = openat(dir_fd, IDENTITY_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    *i = (struct identity){0};
    if (stores)
        stores->count = 0;
    if (fd < 0)
        return errno == ELOOP ? ERR_DAMAGED : err_from_errno(errno);
    while ((got = read(fd, text + len, sizeof(text) - len)) > 0)
        len += (size_t)got;
    got = got < 0 ? -errno : 0;
    close(fd);
    if (got < 0)
        return err_from_errno((int)-got);
    if (len == sizeof(text) || memchr(text, 0, len))
        return ERR_DAMAGED;
    text[len] = 0;
    return text_take(text, i, stores);
}

int identity_write(int dir_fd, const struct identity *i, const struct identity_stores *stores)
{
    struct str text = {0};
    int err;

    str_printf(&text,
               "# What this %s is, made by entrepotd and read at every start: not to be edited.\n"
               "# See entrepotctl(1), `store`.\nversion = %d\nid = %s\n",
               stores ? "database" : "blob store", IDENTITY_VERSION, i->id);
    if (!stores)
        str_printf(&text, "database = %s\nname = %s\n", i->database, i->name);
    str_printf(&text, "created = %llu\n", (unsigned long long)i->created_s);
    for (size_t n = 0; stores && n < stores->count; n++)
        str_printf(&text, "store = %s %s %s\n", stores->at[n].id, stores->at[n].name,
                   stores->at[n].called);
    err = file_replace_at(dir_fd, IDENTITY_FILE, text.data, text.len, FILE_MODE);
    str_free(&text);
    return err;
}
