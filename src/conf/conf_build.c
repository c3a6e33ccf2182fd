/*
 * conf_build.c - a tree of settings becomes a struct conf, with every reference
 * resolved and every rule checked.
 *
 * Runs in the master, in `entrepotd -t` and in entrepotctl. Owns nothing beyond
 * the configuration it returns, which lives in one arena.
 */
#include "base/file.h"
#include "base/mem.h"
#include "conf/conf.h"
#include "conf/conf_tree.h"
#include "oci/name.h"

#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_BYTES_MAX (1u << 20)
#define WORKERS_MAX    64
#define DAY_MS         ((uint64_t)24 * 3600 * 1000)

size_t conf_sections_count(const struct conf_section *root, enum conf_section_id id)
{
    size_t count = 0;

    for (const struct conf_section *s = root->children; s; s = s->next)
        count += s->id == id;
    return count;
}

/* Repository names stand in paths of requests, where the grammar of image names
 * rules; blob store names only here. */
void conf_check_name(struct conf_build *b, const struct conf_section *s, bool in_paths)
{
    size_t len = strlen(s->title);

    if (len == 0 || len > CONF_NAME_MAX || strspn(s->title, CONF_LETTERS_DIGITS "._-") != len ||
        strchr("._-", s->title[0]))
        conf_mistake(b->m, s->line,
                     "%s \"%s\": a name has 1 to %d letters, digits, dots, dashes, underscores and "
                     "begins with a letter or digit",
                     conf_sections[s->id].name, s->title, CONF_NAME_MAX);
    else if (in_paths && !name_image_ok(s->title, len))
        conf_mistake(b->m, s->line,
                     "%s \"%s\": the name stands in image names: lower-case letters and digits, "
                     "with single separators between them",
                     conf_sections[s->id].name, s->title);
    else if (in_paths && (strcmp(s->title, "v2") == 0 || strcmp(s->title, "repository") == 0))
        conf_mistake(b->m, s->line, "%s \"%s\": this name has a meaning in paths; take another",
                     conf_sections[s->id].name, s->title);
}

static bool path_inside(const char *inner, const char *outer)
{
    size_t len = strcmp(outer, "/") == 0 ? 0 : strlen(outer);

    return strncmp(inner, outer, len) == 0 && (inner[len] == '/' || inner[len] == 0);
}

static bool path_climbs(const char *path)
{
    for (const char *p = strstr(path, "/.."); p; p = strstr(p + 1, "/.."))
        if (p[3] == '/' || p[3] == 0)
            return true;
    return false;
}

static void check_store_path(struct conf_build *b, const struct conf_section *s, size_t place)
{
    const struct conf_store *store = &b->conf->stores[place];
    int line = s->settings[CONF_KEY_STORE_path].line;

    if (!*store->path)
        conf_mistake(b->m, s->line, "blobstore %s needs a path; write path = \"/DIRECTORY\"",
                     s->title);
    else if (path_climbs(store->path))
        conf_mistake(b->m, line, "path: %s climbs with ..; write the directory it means",
                     store->path);
    for (size_t i = 0; *store->path && i < place; i++)
        if (*b->conf->stores[i].path && (path_inside(store->path, b->conf->stores[i].path) ||
                                         path_inside(b->conf->stores[i].path, store->path)))
            conf_mistake(b->m, line,
                         "path: %s overlaps with blobstore %s; give each a directory of its own",
                         store->path, b->conf->stores[i].name);
}

static void build_stores(struct conf_build *b)
{
    struct conf *conf = b->conf;
    size_t count = conf_sections_count(b->root, CONF_SECTION_STORE);

    conf->stores = mem_arena_alloc(b->arena, (count + 1) * sizeof(*conf->stores));
    for (const struct conf_section *s = b->root->children; s; s = s->next) {
        struct conf_store *store = &conf->stores[conf->store_count];

        if (s->id != CONF_SECTION_STORE)
            continue;
        if (conf->store_count == CONF_STORES_MAX) {
            conf_mistake(b->m, s->line, "blobstore %s: at most %d blob stores; remove some",
                         s->title, CONF_STORES_MAX);
            break;
        }
        conf_check_name(b, s, false);
        store->name = mem_arena_strdup(b->arena, s->title);
        store->key = store->name;
        store->path = conf_path(s, CONF_KEY_STORE_path, b->arena, b->m);
        store->quota = conf_size(s, CONF_KEY_STORE_quota, b->m);
        store->keep_free = conf_size(s, CONF_KEY_STORE_keep_free, b->m);
        check_store_path(b, s, conf->store_count++);
    }
    if (count == 0) {
        conf->stores[0] =
            (struct conf_store){.name = mem_arena_strdup(b->arena, "main"),
                                .key = "main",
                                .path = mem_arena_printf(b->arena, "%s/blobs", conf->data_dir)};
        conf->store_count = 1;
    }
}

static char *log_path(struct conf_build *b, enum conf_key_id key)
{
    const char *text = conf_text(b->root, key);

    if (strcmp(text, "stderr") == 0 || (key == CONF_KEY_TOP_access_log && strcmp(text, "off") == 0))
        return mem_arena_strdup(b->arena, text);
    if (!*text)
        conf_mistake(b->m, b->root->settings[key].line, "%s: is empty; write %sstderr or a file",
                     conf_keys[key].name, key == CONF_KEY_TOP_access_log ? "off, " : "");
    return conf_path(b->root, key, b->arena, b->m);
}

static char *directory(struct conf_build *b, enum conf_key_id key)
{
    char *path = conf_path(b->root, key, b->arena, b->m);

    if (!*path)
        conf_mistake(b->m, b->root->settings[key].line, "%s: is empty; name a directory",
                     conf_keys[key].name);
    return path;
}

static char *account(struct conf_build *b, enum conf_key_id key)
{
    char *name = mem_arena_strdup(b->arena, conf_text(b->root, key));

    if (geteuid() == 0 && *name && !getpwnam(name))
        conf_mistake(b->m, b->root->settings[key].line,
                     "%s: there is no account %s; create it or name another", conf_keys[key].name,
                     name);
    return name;
}

static void build_processes(struct conf_build *b)
{
    const struct conf_section *s = b->root;
    struct conf *conf = b->conf;
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    uint64_t workers = conf_count(s, CONF_KEY_TOP_workers, b->m);

    conf->user = account(b, CONF_KEY_TOP_user);
    conf->auth_user = account(b, CONF_KEY_TOP_auth_user);
    if (*conf->auth_user && strcmp(conf->auth_user, conf->user) == 0)
        conf_mistake(
            b->m, s->settings[CONF_KEY_TOP_auth_user].line,
            "auth_user: is the account of user as well; name one of its own, or remove it");
    else if (*conf->auth_user && !*conf->user)
        conf_mistake(b->m, s->settings[CONF_KEY_TOP_auth_user].line,
                     "auth_user: without user all others stay who they are; name user too");
    if (workers > WORKERS_MAX)
        conf_mistake(b->m, s->settings[CONF_KEY_TOP_workers].line,
                     "workers: at most %d; 0 starts one a CPU", WORKERS_MAX);
    if (workers == 0)
        workers = cpus < 1 ? 1 : cpus > WORKERS_MAX ? WORKERS_MAX : (uint64_t)cpus;
    conf->workers = (unsigned)workers;
    conf->data_dir = directory(b, CONF_KEY_TOP_data_dir);
    conf->run_dir = directory(b, CONF_KEY_TOP_run_dir);
    conf->docker_v1_api = conf_bool(s, CONF_KEY_TOP_docker_v1_api, b->m);
    conf->log = log_path(b, CONF_KEY_TOP_log);
    conf->log_level = (enum log_level)conf_choice(s, CONF_KEY_TOP_log_level, b->m);
    conf->access_log = log_path(b, CONF_KEY_TOP_access_log);
}

/* Where a zero would starve every client or spin a timer, and where products
 * of two limits would overflow. */
static uint64_t within(struct conf_build *b, enum conf_key_id key, uint64_t value, uint64_t min,
                       uint64_t max, const char *range)
{
    if (value < min || value > max)
        conf_mistake(b->m, b->root->settings[key].line, "%s: %s is out of range; write %s",
                     conf_keys[key].name, conf_text(b->root, key), range);
    return value;
}

static void build_limits(struct conf_build *b)
{
    const struct conf_section *s = b->root;
    struct conf *conf = b->conf;
    enum conf_key_id key = CONF_KEY_TOP_head_timeout;

    conf->head_timeout_ms = within(b, key, conf_time_ms(s, key, b->m), 1, DAY_MS, "1ms to 1d");
    key = CONF_KEY_TOP_keepalive_timeout;
    conf->keepalive_timeout_ms = within(b, key, conf_time_ms(s, key, b->m), 1, DAY_MS, "1ms to 1d");
    key = CONF_KEY_TOP_min_rate;
    conf->min_rate = within(b, key, conf_size(s, key, b->m), 0, 1ULL << 30, "0 to 1G");
    key = CONF_KEY_TOP_rate_window;
    conf->rate_window_ms = within(b, key, conf_time_ms(s, key, b->m), 1, DAY_MS, "1ms to 1d");
    /* A manifest and what it says must fit one message between processes. */
    key = CONF_KEY_TOP_max_manifest;
    conf->max_manifest = within(b, key, conf_size(s, key, b->m), 1, 4u << 20, "1 to 4M");
    key = CONF_KEY_TOP_max_connections;
    conf->max_connections = within(b, key, conf_count(s, key, b->m), 1, UINT64_MAX, "1 or more");
    conf->max_connections_per_address =
        conf_count(s, CONF_KEY_TOP_max_connections_per_address, b->m);
    key = CONF_KEY_TOP_upload_expiry;
    conf->upload_expiry_ms =
        within(b, key, conf_time_ms(s, key, b->m), 1000, 3650 * DAY_MS, "1s to 3650d");
    key = CONF_KEY_TOP_max_uploads;
    conf->max_uploads = within(b, key, conf_count(s, key, b->m), 1, UINT64_MAX, "1 or more");
    key = CONF_KEY_TOP_gc_grace;
    conf->gc_grace_ms = within(b, key, conf_time_ms(s, key, b->m), 0, 365 * DAY_MS, "0 to 365d");
    key = CONF_KEY_TOP_gc_interval;
    conf->gc_interval_ms =
        within(b, key, conf_time_ms(s, key, b->m), 100, 365 * DAY_MS, "100ms to 365d");
    key = CONF_KEY_TOP_scrub_interval;
    conf->scrub_interval_ms =
        within(b, key, conf_time_ms(s, key, b->m), 0, 3650 * DAY_MS, "0 to 3650d");
    key = CONF_KEY_TOP_scrub_rate;
    conf->scrub_rate = within(b, key, conf_size(s, key, b->m), 1, 1ULL << 40, "1 to 1T");
    key = CONF_KEY_TOP_drain_timeout;
    conf->drain_timeout_ms =
        within(b, key, conf_time_ms(s, key, b->m), 0, 365 * DAY_MS, "0 to 365d");
}

static void tell_unreadable(struct conf_mistakes *m, const char *path, int err)
{
    struct stat st;

    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        conf_mistake(m, 0, "is a directory; name the file in it, as in -c %s/entrepot.conf", path);
    else
        conf_mistake(m, 0,
                     err == ERR_NOT_FOUND
                         ? "cannot read the configuration: %s; name another with -c"
                     : err == ERR_NO_ACCESS
                         ? "cannot read the configuration: %s; run this as root or as its owner"
                         : "cannot read the configuration: %s; a file of at most 1 MiB is wanted",
                     err_text(err));
}

static bool text_ok(struct conf_mistakes *m, const char *text, size_t len)
{
    size_t before = m->count;

    if (len >= 2 && (memcmp(text, "\xff\xfe", 2) == 0 || memcmp(text, "\xfe\xff", 2) == 0))
        conf_mistake(m, 1, "the file is UTF-16; save it as UTF-8");
    else if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        conf_mistake(m, 1, "the file begins with a byte order mark; save it as UTF-8 without one");
    else if (memchr(text, 0, len))
        conf_mistake(m, 0, "not a text file: it holds a byte 0; write it anew");
    else if (strspn(text, " \t\r\n") == len)
        conf_mistake(m, 0,
                     "the file is empty; the one that was shipped is an example to begin with");
    return m->count == before;
}

int conf_load(const char *path, struct conf **conf_r, struct str *mistakes)
{
    struct conf_mistakes m = {.file = path, .out = mistakes};
    struct mem_arena *scratch = mem_arena_new();
    struct conf_build b = {.m = &m};
    struct str text = {0};
    struct conf_section *root = NULL;
    int err = file_read_all(path, FILE_BYTES_MAX, &text);

    *conf_r = NULL;
    if (err != 0)
        tell_unreadable(&m, path, err);
    else if (text_ok(&m, text.data ? text.data : "", text.len))
        conf_tree_parse(scratch, text.data ? text.data : "", &m, &root);
    if (root) {
        b.root = root;
        b.arena = mem_arena_new();
        b.conf = mem_alloc(sizeof(*b.conf));
        b.conf->arena = b.arena;
        b.conf->file = realpath(path, NULL);
        if (!b.conf->file) /* gone since it was read: a reload will say so */
            b.conf->file = mem_strdup(path);
        build_processes(&b);
        build_limits(&b);
        build_stores(&b);
        conf_build_repos(&b);
        conf_build_auth(&b);
        conf_build_connectors(&b);
        conf_refuse_later(root, &m);
    }
    str_free(&text);
    mem_arena_free(&scratch);
    if (m.count > 0) {
        conf_free(&b.conf);
        return ERR_INVALID;
    }
    *conf_r = b.conf;
    return 0;
}

void conf_free(struct conf **conf_p)
{
    struct conf *conf = *conf_p;

    if (!conf)
        return;
    *conf_p = NULL;
    free(conf->file);
    mem_arena_free(&conf->arena);
    free(conf);
}

const struct conf_repo *conf_repo_by_name(const struct conf *conf, const char *name, size_t len)
{
    for (size_t i = 0; i < conf->repo_count; i++)
        if (strlen(conf->repos[i].name) == len && memcmp(conf->repos[i].name, name, len) == 0)
            return &conf->repos[i];
    return NULL;
}

const struct conf_host *conf_host_by_name(const struct conf_connector *connector, const char *name)
{
    for (size_t i = 0; i < connector->host_count; i++)
        if (strcmp(connector->hosts[i].name, name) == 0)
            return &connector->hosts[i];
    return NULL;
}

bool conf_tag_may_move(const struct conf_repo *repo, const char *tag)
{
    return repo->redeploy == CONF_REDEPLOY_ALLOW ||
           (repo->redeploy == CONF_REDEPLOY_LATEST_ONLY && strcmp(tag, "latest") == 0);
}

static void differs(const char *key, const char *old_value, const char *new_value, struct str *out)
{
    if (strcmp(old_value, new_value) != 0)
        str_printf(out, "%s was %s and is %s now: restart to change it\n", key, old_value,
                   new_value);
}

void conf_restart_differences(const struct conf *old_conf, const struct conf *new_conf,
                              struct str *out)
{
    differs("user", old_conf->user, new_conf->user, out);
    differs("auth_user", old_conf->auth_user, new_conf->auth_user, out);
    differs("data_dir", old_conf->data_dir, new_conf->data_dir, out);
    differs("run_dir", old_conf->run_dir, new_conf->run_dir, out);
    for (size_t i = 0; i < old_conf->store_count; i++)
        for (size_t j = 0; j < new_conf->store_count; j++)
            if (strcmp(old_conf->stores[i].name, new_conf->stores[j].name) == 0) {
                struct str key = {0};

                str_printf(&key, "blobstore %s: path", old_conf->stores[i].name);
                differs(key.data, old_conf->stores[i].path, new_conf->stores[j].path, out);
                str_free(&key);
            }
}
