/*
 * conf_repo.c - hosted, proxy and group repositories of a configuration.
 *
 * Runs in the master, in `entrepotd -t` and in entrepotctl, within conf_load(). Owns nothing.
 */
#include "base/mem.h"
#include "conf/conf.h"
#include "conf/conf_tree.h"
#include "oci/name.h"

#include <string.h>

#define REMOTES_MAX 16

static const struct conf_store *store_of(struct conf_build *b, const struct conf_section *s,
                                         enum conf_key_id key)
{
    const char *name = conf_text(s, key);

    if (!*name && b->conf->store_count == 1)
        return &b->conf->stores[0];
    for (size_t i = 0; i < b->conf->store_count; i++)
        if (strcmp(b->conf->stores[i].name, name) == 0)
            return &b->conf->stores[i];
    if (*name)
        conf_mistake(b->m, s->settings[key].line,
                     "blobstore: there is no blobstore %s; add it or name another", name);
    else
        conf_mistake(b->m, s->line, "%s %s needs a blobstore: there are several; name one",
                     conf_sections[s->id].name, s->title);
    return NULL;
}

static void build_hosted(struct conf_build *b, const struct conf_section *s, struct conf_repo *repo)
{
    repo->kind = CONF_HOSTED;
    repo->store = store_of(b, s, CONF_KEY_HOSTED_blobstore);
    repo->online = conf_bool(s, CONF_KEY_HOSTED_online, b->m);
    repo->redeploy = (enum conf_redeploy)conf_choice(s, CONF_KEY_HOSTED_redeploy, b->m);
    repo->delete_allowed = conf_bool(s, CONF_KEY_HOSTED_delete, b->m);
    repo->delete_referenced = conf_bool(s, CONF_KEY_HOSTED_delete_referenced, b->m);
    repo->max_blob = conf_size(s, CONF_KEY_HOSTED_max_blob, b->m);
    repo->index_children_strict = conf_choice(s, CONF_KEY_HOSTED_index_children, b->m) == 0;
}

static char **texts_of(struct conf_build *b, const struct conf_setting *setting, size_t *count_r)
{
    char **texts = mem_arena_alloc(b->arena, (setting->count + 1) * sizeof(*texts));

    for (size_t i = 0; i < setting->count; i++)
        texts[i] = mem_arena_strdup(b->arena, setting->values[i]);
    *count_r = setting->count;
    return texts;
}

/* "host", "host:port" or "[IPv6]:port" up to `end`; false when it is none of them. */
static bool take_authority(struct conf_build *b, const char *text, const char *end,
                           struct conf_remote *remote)
{
    const char *host_end = memchr(text, ':', (size_t)(end - text));
    uint64_t port = remote->tls ? 443 : 80;

    if (*text == '[') {
        const char *bracket = memchr(text, ']', (size_t)(end - text));

        if (!bracket || (bracket + 1 < end && bracket[1] != ':'))
            return false;
        host_end = bracket + 1;
    }
    if (!host_end)
        host_end = end;
    if (host_end < end && (str_parse_u64(host_end + 1, (size_t)(end - host_end - 1), &port) != 0 ||
                           port == 0 || port > 65535))
        return false;
    remote->host = mem_arena_strndup(b->arena, text, (size_t)(host_end - text));
    remote->port = (uint16_t)port;
    return host_end > text &&
           strspn(remote->host, CONF_LETTERS_DIGITS "._-[]:") == (size_t)(host_end - text);
}

/* http[s]://HOST[:PORT][/PREFIX] */
static bool take_remote(struct conf_build *b, const char *text, struct conf_remote *remote)
{
    const char *authority = strstr(text, "://"), *end;
    size_t len;

    remote->url = mem_arena_strdup(b->arena, text);
    if (!authority)
        return false;
    remote->tls = strncmp(text, "https://", 8) == 0;
    if (!remote->tls && strncmp(text, "http://", 7) != 0)
        return false;
    authority += 3;
    end = authority + strcspn(authority, "/");
    len = strlen(end);
    while (len > 0 && end[len - 1] == '/')
        len--;
    remote->prefix = mem_arena_strndup(b->arena, end, len);
    return strspn(remote->prefix, CONF_LETTERS_DIGITS "/._~-") == len &&
           take_authority(b, authority, end, remote);
}

static void build_remotes(struct conf_build *b, const struct conf_section *s,
                          struct conf_proxy *proxy)
{
    const struct conf_setting *setting = &s->settings[CONF_KEY_PROXY_remotes];

    proxy->remotes = mem_arena_alloc(b->arena, (setting->count + 1) * sizeof(*proxy->remotes));
    if (setting->count == 0)
        conf_mistake(b->m, s->line,
                     "proxy %s needs remotes; write remotes = {\"https://REGISTRY\"}", s->title);
    if (setting->count > REMOTES_MAX)
        conf_mistake(b->m, setting->line, "remotes: at most %d", REMOTES_MAX);
    for (size_t i = 0; i < setting->count && i < REMOTES_MAX; i++)
        if (!take_remote(b, setting->values[i], &proxy->remotes[proxy->remote_count++]))
            conf_mistake(b->m, setting->line,
                         "remotes: \"%s\" is not an address; write https://HOST[:PORT][/PREFIX], "
                         "without user, query and /v2",
                         setting->values[i]);
}

/* Without a list: the remote's own name. */
static void default_namespace(struct conf_build *b, struct conf_proxy *proxy)
{
    const struct conf_remote *remote = &proxy->remotes[0];

    if (proxy->namespace_count > 0 || proxy->remote_count == 0 || !remote->host)
        return;
    proxy->namespaces = mem_arena_alloc(b->arena, sizeof(*proxy->namespaces));
    proxy->namespace_count = 1;
    if (proxy->docker_hub)
        proxy->namespaces[0] = mem_arena_strdup(b->arena, "docker.io");
    else if (remote->port == (remote->tls ? 443 : 80))
        proxy->namespaces[0] = mem_arena_strdup(b->arena, remote->host);
    else
        proxy->namespaces[0] = mem_arena_printf(b->arena, "%s:%u", remote->host, remote->port);
}

static bool is_docker_hub(const struct conf_proxy *proxy)
{
    const char *host =
        proxy->remote_count > 0 && proxy->remotes[0].host ? proxy->remotes[0].host : "";

    return strcmp(host, "registry-1.docker.io") == 0 || strcmp(host, "docker.io") == 0 ||
           strcmp(host, "index.docker.io") == 0;
}

static void check_proxy(struct conf_build *b, const struct conf_section *s,
                        const struct conf_proxy *proxy)
{
    const char *index = proxy->index;

    if (*proxy->username && !*proxy->password_file)
        conf_mistake(b->m, s->settings[CONF_KEY_PROXY_username].line,
                     "username: needs password_file too; name a file with the password");
    if (!*proxy->username && *proxy->password_file)
        conf_mistake(b->m, s->settings[CONF_KEY_PROXY_password_file].line,
                     "password_file: needs username too");
    if (strcmp(index, "hub") != 0 && strcmp(index, "remote") != 0 && strcmp(index, "none") != 0 &&
        strncmp(index, "https://", 8) != 0 && strncmp(index, "http://", 7) != 0)
        conf_mistake(b->m, s->settings[CONF_KEY_PROXY_index].line,
                     "index: write hub, remote, none or the URL of an index");
    if (*proxy->http_proxy && !strstr(proxy->http_proxy, "://"))
        conf_mistake(b->m, s->settings[CONF_KEY_PROXY_http_proxy].line,
                     "http_proxy: write http://HOST:PORT");
}

static void build_proxy(struct conf_build *b, const struct conf_section *s, struct conf_repo *repo)
{
    struct conf_proxy *proxy = mem_arena_alloc(b->arena, sizeof(*proxy));
    int hub = conf_choice(s, CONF_KEY_PROXY_docker_hub, b->m);

    repo->kind = CONF_PROXY;
    repo->proxy = proxy;
    repo->store = store_of(b, s, CONF_KEY_PROXY_blobstore);
    repo->online = conf_bool(s, CONF_KEY_PROXY_online, b->m);
    repo->redeploy = CONF_REDEPLOY_ALLOW;
    build_remotes(b, s, proxy);
    proxy->docker_hub = hub == 1 || (hub == 0 && is_docker_hub(proxy));
    proxy->namespaces =
        texts_of(b, &s->settings[CONF_KEY_PROXY_namespaces], &proxy->namespace_count);
    for (size_t i = 0; i < proxy->namespace_count; i++)
        if (strspn(proxy->namespaces[i], CONF_LETTERS_DIGITS "._-:[]") !=
            strlen(proxy->namespaces[i]))
            conf_mistake(b->m, s->settings[CONF_KEY_PROXY_namespaces].line,
                         "namespaces: \"%s\" is not HOST or HOST:PORT", proxy->namespaces[i]);
    default_namespace(b, proxy);
    proxy->username = mem_arena_strdup(b->arena, conf_text(s, CONF_KEY_PROXY_username));
    proxy->password_file = conf_path(s, CONF_KEY_PROXY_password_file, b->arena, b->m);
    proxy->ca_file = conf_path(s, CONF_KEY_PROXY_ca_file, b->arena, b->m);
    proxy->tls_verify = conf_bool(s, CONF_KEY_PROXY_tls_verify, b->m);
    proxy->http_proxy = mem_arena_strdup(b->arena, conf_text(s, CONF_KEY_PROXY_http_proxy));
    proxy->tag_ttl_ms = conf_time_ms(s, CONF_KEY_PROXY_tag_ttl, b->m);
    proxy->missing_ttl_ms = conf_time_ms(s, CONF_KEY_PROXY_missing_ttl, b->m);
    proxy->serve_stale = conf_bool(s, CONF_KEY_PROXY_serve_stale, b->m);
    proxy->quota = conf_size(s, CONF_KEY_PROXY_quota, b->m);
    proxy->index = mem_arena_strdup(b->arena, conf_text(s, CONF_KEY_PROXY_index));
    proxy->allow_private = conf_bool(s, CONF_KEY_PROXY_allow_private, b->m);
    proxy->bandwidth = conf_size(s, CONF_KEY_PROXY_bandwidth, b->m);
    proxy->rate_reserve = conf_count(s, CONF_KEY_PROXY_rate_reserve, b->m);
    proxy->connect_timeout_ms = conf_time_ms(s, CONF_KEY_PROXY_connect_timeout, b->m);
    proxy->stall_timeout_ms = conf_time_ms(s, CONF_KEY_PROXY_stall_timeout, b->m);
    check_proxy(b, s, proxy);
    b->conf->has_proxies = true;
}

static void build_group(struct conf_build *b, const struct conf_section *s, struct conf_repo *repo)
{
    struct conf_group *group = mem_arena_alloc(b->arena, sizeof(*group));

    repo->kind = CONF_GROUP;
    repo->group = group;
    repo->online = true;
    repo->redeploy = CONF_REDEPLOY_ALLOW;
    group->skip_errors = conf_choice(s, CONF_KEY_GROUP_on_member_error, b->m) == 1;
    group->reserve = texts_of(b, &s->settings[CONF_KEY_GROUP_reserve], &group->reserve_count);
}

/* The second pass over groups: all names are known. */
static void resolve_group(struct conf_build *b, const struct conf_section *s,
                          struct conf_group *group)
{
    const struct conf_setting *members = &s->settings[CONF_KEY_GROUP_members];
    const char *push_to = conf_text(s, CONF_KEY_GROUP_push_to);

    group->members = mem_arena_alloc(b->arena, (members->count + 1) * sizeof(*group->members));
    if (members->count == 0)
        conf_mistake(b->m, s->line, "group %s needs members; write members = {A, B}", s->title);
    for (size_t i = 0; i < members->count; i++) {
        const struct conf_repo *member =
            conf_repo_by_name(b->conf, members->values[i], strlen(members->values[i]));

        for (size_t j = 0; j < group->member_count; j++)
            if (group->members[j] == member && member)
                conf_mistake(b->m, members->line, "members: %s stands there twice; remove one",
                             members->values[i]);
        if (member)
            group->members[group->member_count++] = member;
        else
            conf_mistake(b->m, members->line,
                         "members: there is no repository %s; add it or name another",
                         members->values[i]);
    }
    if (!*push_to)
        return;
    group->push_to = conf_repo_by_name(b->conf, push_to, strlen(push_to));
    if (!group->push_to || group->push_to->kind != CONF_HOSTED)
        conf_mistake(b->m, s->settings[CONF_KEY_GROUP_push_to].line,
                     "push_to: %s is not a hosted repository; name one that is", push_to);
}

/* Directly or through groups that are members. */
static bool holds(const struct conf *conf, const struct conf_repo *group,
                  const struct conf_repo *wanted, uint8_t *seen)
{
    if (group->kind != CONF_GROUP || seen[group - conf->repos])
        return false;
    seen[group - conf->repos] = 1;
    for (size_t i = 0; i < group->group->member_count; i++)
        if (group->group->members[i] == wanted ||
            holds(conf, group->group->members[i], wanted, seen))
            return true;
    return false;
}

/* Else what is pushed there could not be pulled from there. */
static void check_push_to(struct conf_build *b, const struct conf_section *s,
                          const struct conf_repo *repo)
{
    const struct conf_repo *push_to = repo->group->push_to;
    uint8_t *seen = mem_arena_alloc(b->arena, b->conf->repo_count + 1);

    if (push_to && push_to->kind == CONF_HOSTED && !holds(b->conf, repo, push_to, seen))
        conf_mistake(b->m, s->settings[CONF_KEY_GROUP_push_to].line,
                     "push_to: %s is not among the members of group %s, so what is pushed could "
                     "not be pulled; add it to members",
                     push_to->name, s->title);
}

enum { UNSEEN, ON_THE_WAY, SEEN };

/* Depth first over members; true when the walk comes back to a group it is in the middle of. */
static bool comes_back(const struct conf *conf, const struct conf_repo *repo, uint8_t *seen)
{
    uint8_t *mark = &seen[repo - conf->repos];
    bool back = false;

    if (repo->kind != CONF_GROUP || *mark == SEEN)
        return false;
    if (*mark == ON_THE_WAY)
        return true;
    *mark = ON_THE_WAY;
    for (size_t i = 0; i < repo->group->member_count && !back; i++)
        back = comes_back(conf, repo->group->members[i], seen);
    *mark = SEEN;
    return back;
}

static struct conf_repo *repo_of_section(struct conf_build *b, const struct conf_section *s)
{
    for (size_t i = 0; i < b->conf->repo_count; i++)
        if (strcmp(b->conf->repos[i].name, s->title) == 0)
            return &b->conf->repos[i];
    return NULL;
}

static void resolve_groups(struct conf_build *b)
{
    uint8_t *seen = mem_arena_alloc(b->arena, b->conf->repo_count + 1);

    for (const struct conf_section *s = b->root->children; s; s = s->next)
        if (s->id == CONF_SECTION_GROUP && repo_of_section(b, s)->group)
            resolve_group(b, s, repo_of_section(b, s)->group);
    for (const struct conf_section *s = b->root->children; s; s = s->next) {
        const struct conf_repo *repo = s->id == CONF_SECTION_GROUP ? repo_of_section(b, s) : NULL;

        if (repo && comes_back(b->conf, repo, seen))
            conf_mistake(b->m, s->settings[CONF_KEY_GROUP_members].line,
                         "members: group %s leads back to itself or to another group that does; "
                         "remove the member that closes the circle",
                         s->title);
        if (repo && repo->group) /* another repository may have taken the name */
            check_push_to(b, s, repo);
    }
}

void conf_build_repos(struct conf_build *b)
{
    struct conf *conf = b->conf;
    size_t count = conf_sections_count(b->root, CONF_SECTION_HOSTED) +
                   conf_sections_count(b->root, CONF_SECTION_PROXY) +
                   conf_sections_count(b->root, CONF_SECTION_GROUP);

    conf->repos = mem_arena_alloc(b->arena, (count + 1) * sizeof(*conf->repos));
    for (const struct conf_section *s = b->root->children; s; s = s->next) {
        struct conf_repo *repo = &conf->repos[conf->repo_count];

        if (s->id != CONF_SECTION_HOSTED && s->id != CONF_SECTION_PROXY &&
            s->id != CONF_SECTION_GROUP)
            continue;
        conf_check_name(b, s, true);
        if (repo_of_section(b, s)) {
            conf_mistake(b->m, s->line, "%s %s: another repository has this name; take another",
                         conf_sections[s->id].name, s->title);
            continue;
        }
        repo->name = mem_arena_strdup(b->arena, s->title);
        conf->repo_count++;
        if (s->id == CONF_SECTION_HOSTED)
            build_hosted(b, s, repo);
        else if (s->id == CONF_SECTION_PROXY)
            build_proxy(b, s, repo);
        else
            build_group(b, s, repo);
    }
    if (conf->repo_count == 0)
        conf_mistake(b->m, 0,
                     "there is no repository; add a section like: hosted docker-local { }");
    resolve_groups(b);
    conf_build_reserve(b);
}
