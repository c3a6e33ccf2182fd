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
#include <unistd.h>

#define FILE_BYTES_MAX (1u << 20)
#define STORES_MAX     16
#define WORKERS_MAX    64

struct build {
    struct conf *conf;
    struct mem_arena *arena;
    const struct conf_section *root;
    struct conf_mistakes *m;
};

static size_t sections_count(const struct conf_section *root, enum conf_section_id id)
{
    size_t count = 0;

    for (const struct conf_section *s = root->children; s; s = s->next)
        count += s->id == id;
    return count;
}

/* Repository names stand in paths of requests, where the grammar of image names
 * rules; blob store names only here. */
static void check_name(struct build *b, const struct conf_section *s, bool in_paths)
{
    size_t len = strlen(s->title);

    if (len == 0 || len > CONF_NAME_MAX ||
        strspn(s->title, "abcdefghijklmnopqrstuvwxyz"
                         "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                         "0123456789._-") != len)
        conf_mistake(b->m, s->line,
                     "%s \"%s\": a name has 1 to %d letters, digits, dots, dashes, underscores",
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
    size_t len = strlen(outer);

    return strncmp(inner, outer, len) == 0 && (inner[len] == '/' || inner[len] == 0);
}

static void check_store_paths(struct build *b, const struct conf_section *s, size_t place)
{
    const struct conf_store *store = &b->conf->stores[place];

    for (size_t i = 0; i < place; i++)
        if (path_inside(store->path, b->conf->stores[i].path) ||
            path_inside(b->conf->stores[i].path, store->path))
            conf_mistake(b->m, s->settings[CONF_KEY_STORE_path].line,
                         "path: %s overlaps with blobstore %s; give each a directory of its own",
                         store->path, b->conf->stores[i].name);
}

static void build_stores(struct build *b)
{
    struct conf *conf = b->conf;
    size_t count = sections_count(b->root, CONF_SECTION_STORE);

    conf->stores = mem_arena_alloc(b->arena, (count + 1) * sizeof(*conf->stores));
    for (const struct conf_section *s = b->root->children; s; s = s->next) {
        struct conf_store *store = &conf->stores[conf->store_count];

        if (s->id != CONF_SECTION_STORE)
            continue;
        check_name(b, s, false);
        store->name = mem_arena_strdup(b->arena, s->title);
        store->path = conf_path(s, CONF_KEY_STORE_path, b->arena);
        store->quota = conf_size(s, CONF_KEY_STORE_quota, b->m);
        store->keep_free = conf_size(s, CONF_KEY_STORE_keep_free, b->m);
        if (!*store->path)
            conf_mistake(b->m, s->line, "blobstore %s needs a path", s->title);
        else
            check_store_paths(b, s, conf->store_count);
        if (conf->store_count++ == STORES_MAX)
            conf_mistake(b->m, s->line, "at most %d blob stores", STORES_MAX);
    }
    if (count == 0) {
        conf->stores[0] =
            (struct conf_store){.name = mem_arena_strdup(b->arena, "main"),
                                .path = mem_arena_printf(b->arena, "%s/blobs", conf->data_dir)};
        conf->store_count = 1;
    }
}

static const struct conf_store *store_of(struct build *b, const struct conf_section *s,
                                         enum conf_key_id key)
{
    const char *name = conf_text(s, key);

    if (!*name && b->conf->store_count == 1)
        return &b->conf->stores[0];
    for (size_t i = 0; i < b->conf->store_count; i++)
        if (strcmp(b->conf->stores[i].name, name) == 0)
            return &b->conf->stores[i];
    if (*name)
        conf_mistake(b->m, s->settings[key].line, "blobstore: there is no blobstore %s", name);
    else
        conf_mistake(b->m, s->line, "%s %s needs a blobstore: there are several",
                     conf_sections[s->id].name, s->title);
    return NULL;
}

static void build_repos(struct build *b)
{
    struct conf *conf = b->conf;
    size_t count = sections_count(b->root, CONF_SECTION_HOSTED);

    conf->repos = mem_arena_alloc(b->arena, (count + 1) * sizeof(*conf->repos));
    for (const struct conf_section *s = b->root->children; s; s = s->next) {
        struct conf_repo *repo = &conf->repos[conf->repo_count];

        if (s->id != CONF_SECTION_HOSTED)
            continue;
        check_name(b, s, true);
        repo->name = mem_arena_strdup(b->arena, s->title);
        repo->kind = CONF_HOSTED;
        repo->store = store_of(b, s, CONF_KEY_HOSTED_blobstore);
        repo->online = conf_bool(s, CONF_KEY_HOSTED_online, b->m);
        repo->redeploy = (enum conf_redeploy)conf_choice(s, CONF_KEY_HOSTED_redeploy, b->m);
        repo->delete_allowed = conf_bool(s, CONF_KEY_HOSTED_delete, b->m);
        repo->max_blob = conf_size(s, CONF_KEY_HOSTED_max_blob, b->m);
        repo->index_children_strict = conf_choice(s, CONF_KEY_HOSTED_index_children, b->m) == 0;
        conf->repo_count++;
    }
    if (conf->repo_count == 0)
        conf_mistake(b->m, 0,
                     "there is no repository; add a section like: hosted docker-local { }");
}

static const struct conf_repo *repo_of(struct build *b, const struct conf_section *s,
                                       enum conf_key_id key)
{
    const char *name = conf_text(s, key);
    const struct conf_repo *repo = conf_repo_by_name(b->conf, name, strlen(name));

    if (!repo && *name)
        conf_mistake(b->m, s->settings[key].line, "repository: there is no repository %s", name);
    return repo;
}

static char *lower_copy(struct mem_arena *arena, const char *text)
{
    char *copy = mem_arena_strdup(arena, text);

    for (char *p = copy; *p; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p + 32);
    return copy;
}

static void build_hosts(struct build *b, const struct conf_section *s, struct conf_connector *c)
{
    size_t count = 0;

    for (const struct conf_section *h = s->children; h; h = h->next)
        count++;
    c->hosts = mem_arena_alloc(b->arena, count * sizeof(*c->hosts));
    for (const struct conf_section *h = s->children; h; h = h->next) {
        struct conf_host *host = &c->hosts[c->host_count++];

        host->name = lower_copy(b->arena, h->title);
        host->repo = repo_of(b, h, CONF_KEY_HOST_repository);
        if (!*conf_text(h, CONF_KEY_HOST_repository))
            conf_mistake(b->m, h->line, "host %s needs a repository", h->title);
    }
}

static void build_connectors(struct build *b)
{
    struct conf *conf = b->conf;
    size_t count = sections_count(b->root, CONF_SECTION_CONNECTOR);

    conf->connectors = mem_arena_alloc(b->arena, count * sizeof(*conf->connectors));
    for (const struct conf_section *s = b->root->children; s; s = s->next) {
        struct conf_connector *c = &conf->connectors[conf->connector_count];

        if (s->id != CONF_SECTION_CONNECTOR)
            continue;
        c->address = mem_arena_strdup(b->arena, s->title);
        if (net_addr_parse(s->title, &c->addr) != 0)
            conf_mistake(b->m, s->line,
                         "connector \"%s\": not an address; write \"127.0.0.1:8082\", "
                         "\"[::1]:8082\" or \"*:8082\"",
                         s->title);
        c->repo = repo_of(b, s, CONF_KEY_CONNECTOR_repository);
        build_hosts(b, s, c);
        conf->connector_count++;
    }
    if (conf->connector_count == 0)
        conf_mistake(b->m, 0,
                     "there is no connector; add a section like: connector \"127.0.0.1:8082\" { }");
}

static char *log_path(struct build *b, enum conf_key_id key)
{
    const char *text = conf_text(b->root, key);

    if (strcmp(text, "stderr") == 0 || (key == CONF_KEY_TOP_access_log && strcmp(text, "off") == 0))
        return mem_arena_strdup(b->arena, text);
    if (!*text)
        conf_mistake(b->m, b->root->settings[key].line, "%s: write stderr or a file",
                     conf_keys[key].name);
    return conf_path(b->root, key, b->arena);
}

static void build_top(struct build *b)
{
    const struct conf_section *s = b->root;
    struct conf *conf = b->conf;
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    uint64_t workers = conf_count(s, CONF_KEY_TOP_workers, b->m);

    conf->user = mem_arena_strdup(b->arena, conf_text(s, CONF_KEY_TOP_user));
    if (getuid() == 0 && *conf->user && !getpwnam(conf->user))
        conf_mistake(b->m, s->settings[CONF_KEY_TOP_user].line,
                     "user: there is no account %s; create it or name another", conf->user);
    if (workers > WORKERS_MAX)
        conf_mistake(b->m, s->settings[CONF_KEY_TOP_workers].line, "workers: at most %d",
                     WORKERS_MAX);
    if (workers == 0)
        workers = cpus < 1 ? 1 : cpus > WORKERS_MAX ? WORKERS_MAX : (uint64_t)cpus;
    conf->workers = (unsigned)workers;
    conf->data_dir = conf_path(s, CONF_KEY_TOP_data_dir, b->arena);
    conf->run_dir = conf_path(s, CONF_KEY_TOP_run_dir, b->arena);
    conf->log = log_path(b, CONF_KEY_TOP_log);
    conf->access_log = log_path(b, CONF_KEY_TOP_access_log);
    conf->head_timeout_ms = conf_time_ms(s, CONF_KEY_TOP_head_timeout, b->m);
    conf->keepalive_timeout_ms = conf_time_ms(s, CONF_KEY_TOP_keepalive_timeout, b->m);
    conf->min_rate = conf_size(s, CONF_KEY_TOP_min_rate, b->m);
    conf->rate_window_ms = conf_time_ms(s, CONF_KEY_TOP_rate_window, b->m);
    conf->max_manifest = conf_size(s, CONF_KEY_TOP_max_manifest, b->m);
    conf->max_connections = conf_count(s, CONF_KEY_TOP_max_connections, b->m);
    conf->upload_expiry_ms = conf_time_ms(s, CONF_KEY_TOP_upload_expiry, b->m);
    conf->max_uploads = conf_count(s, CONF_KEY_TOP_max_uploads, b->m);
    conf->drain_timeout_ms = conf_time_ms(s, CONF_KEY_TOP_drain_timeout, b->m);
    /* A manifest and what it says must fit one message between processes. */
    if (conf->max_manifest > (4u << 20) || conf->max_manifest == 0)
        conf_mistake(b->m, s->settings[CONF_KEY_TOP_max_manifest].line,
                     "max_manifest: from 1 to 4M");
    if (conf->max_connections == 0)
        conf_mistake(b->m, s->settings[CONF_KEY_TOP_max_connections].line,
                     "max_connections: at least 1");
}

int conf_load(const char *path, struct conf **conf_r, struct str *mistakes)
{
    struct conf_mistakes m = {.file = path, .out = mistakes};
    struct mem_arena *scratch = mem_arena_new();
    struct build b = {.m = &m};
    struct str text = {0};
    struct conf_section *root = NULL;
    int err = file_read_all(path, FILE_BYTES_MAX, &text);

    *conf_r = NULL;
    if (err != 0)
        conf_mistake(&m, 0, "cannot read the configuration: %s", err_text(err));
    else if (memchr(text.data ? text.data : "", 0, text.len))
        conf_mistake(&m, 0, "not a text file");
    else
        conf_tree_parse(scratch, text.data ? text.data : "", &m, &root);
    if (root) {
        b.root = root;
        b.arena = mem_arena_new();
        b.conf = mem_alloc(sizeof(*b.conf));
        b.conf->arena = b.arena;
        b.conf->file = realpath(path, NULL);
        if (!b.conf->file) /* gone since it was read: a reload will say so */
            b.conf->file = mem_strdup(path);
        build_top(&b);
        build_stores(&b);
        build_repos(&b);
        build_connectors(&b);
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
    differs("data_dir", old_conf->data_dir, new_conf->data_dir, out);
    differs("run_dir", old_conf->run_dir, new_conf->run_dir, out);
    for (size_t i = 0; i < old_conf->store_count; i++)
        for (size_t j = 0; j < new_conf->store_count; j++)
            if (strcmp(old_conf->stores[i].name, new_conf->stores[j].name) == 0)
                differs("a blobstore's path", old_conf->stores[i].path, new_conf->stores[j].path,
                        out);
}
