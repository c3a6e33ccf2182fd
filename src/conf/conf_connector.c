/*
 * conf_connector.c - the listening side of a configuration: connectors, their
 * hosts and certificates, the admin listener.
 *
 * Runs in the master, in `entrepotd -t` and in entrepotctl, within conf_load(). Owns nothing.
 */
#include "base/mem.h"
#include "conf/conf.h"
#include "conf/conf_tree.h"

#include <string.h>

static const struct conf_repo *repo_of(struct conf_build *b, const struct conf_section *s,
                                       enum conf_key_id key)
{
    const char *name = conf_text(s, key);
    const struct conf_repo *repo = conf_repo_by_name(b->conf, name, strlen(name));

    if (!repo && *name)
        conf_mistake(b->m, s->settings[key].line,
                     "repository: there is no repository %s; add it or name another", name);
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

/* What a Host header can hold, its port cut off: a name or [an IPv6 address]. */
static bool host_ok(const char *name)
{
    size_t len = strlen(name);

    if (name[0] == '[')
        return len > 2 && strspn(name + 1, "0123456789abcdef:.") == len - 2 && name[len - 1] == ']';
    return len > 0 && len <= 255 && strspn(name, CONF_LETTERS_DIGITS "._-") == len;
}

/* Both files or none. */
static void build_certificate(struct conf_build *b, const struct conf_section *s,
                              enum conf_key_id certificate, enum conf_key_id key,
                              struct conf_certificate *c)
{
    c->file = conf_path(s, certificate, b->arena, b->m);
    c->key_file = conf_path(s, key, b->arena, b->m);
    if (*c->file && !*c->key_file)
        conf_mistake(b->m, s->settings[certificate].line,
                     "tls_certificate: needs its tls_key too; name the file with the private key");
    if (!*c->file && *c->key_file)
        conf_mistake(b->m, s->settings[key].line,
                     "tls_key: needs its tls_certificate too; name the file with the certificate");
}

static void check_host(struct conf_build *b, const struct conf_section *h,
                       const struct conf_connector *c)
{
    const struct conf_host *host = &c->hosts[c->host_count];

    if (!host_ok(host->name))
        conf_mistake(b->m, h->line,
                     "host \"%s\": not a host name; write letters, digits, dots and dashes, "
                     "without a port",
                     h->title);
    for (size_t i = 0; i < c->host_count; i++)
        if (strcmp(c->hosts[i].name, host->name) == 0)
            conf_mistake(b->m, h->line,
                         "host \"%s\": this name stands there before (case does not count); "
                         "remove one",
                         h->title);
    if (!*conf_text(h, CONF_KEY_HOST_repository))
        conf_mistake(b->m, h->line, "host %s needs a repository; write repository = NAME",
                     h->title);
}

static void build_hosts(struct conf_build *b, const struct conf_section *s,
                        struct conf_connector *c)
{
    size_t count = 0;

    for (const struct conf_section *h = s->children; h; h = h->next)
        count++;
    c->hosts = mem_arena_alloc(b->arena, count * sizeof(*c->hosts));
    for (const struct conf_section *h = s->children; h; h = h->next) {
        struct conf_host *host = &c->hosts[c->host_count];

        host->name = lower_copy(b->arena, h->title);
        host->repo = repo_of(b, h, CONF_KEY_HOST_repository);
        build_certificate(b, h, CONF_KEY_HOST_tls_certificate, CONF_KEY_HOST_tls_key,
                          &host->certificate);
        if (*host->certificate.file && !*c->certificate.file)
            conf_mistake(b->m, h->settings[CONF_KEY_HOST_tls_certificate].line,
                         "tls_certificate: connector \"%s\" speaks plain HTTP; give it a "
                         "certificate too, for clients that name no host",
                         s->title);
        check_host(b, h, c);
        c->host_count++;
    }
}

/* What clients are told to come back to: nothing of a path, since every
 * absolute URL of ours begins at the root. */
static char *build_external_url(struct conf_build *b, const struct conf_section *s)
{
    char *url = lower_copy(b->arena, conf_text(s, CONF_KEY_CONNECTOR_external_url));
    size_t len = strlen(url);
    char *host, *port;
    uint64_t number;
    bool good;

    if (len == 0)
        return url;
    if (url[len - 1] == '/')
        url[len - 1] = 0;
    host = strstr(url, "://");
    good = strncmp(url, "https://", 8) == 0 || strncmp(url, "http://", 7) == 0;
    if (good) {
        host = mem_arena_strdup(b->arena, host + 3);
        port = strrchr(host, ':');
        if (port && strchr(port, ']'))
            port = NULL;
        if (port) {
            *port++ = 0;
            good =
                str_parse_u64(port, strlen(port), &number) == 0 && number >= 1 && number <= 65535;
        }
        good = good && host_ok(host);
    }
    if (!good)
        conf_mistake(b->m, s->settings[CONF_KEY_CONNECTOR_external_url].line,
                     "external_url: %s is not https://HOST or https://HOST:PORT; write what "
                     "clients use, without a path",
                     conf_text(s, CONF_KEY_CONNECTOR_external_url));
    return url;
}

static void build_trusted(struct conf_build *b, const struct conf_section *s,
                          struct conf_connector *c)
{
    const struct conf_setting *list = &s->settings[CONF_KEY_CONNECTOR_trusted_proxies];

    c->trusted_proxies = mem_arena_alloc(b->arena, (list->count + 1) * sizeof(struct net_prefix));
    for (size_t i = 0; i < list->count; i++) {
        if (list->count == 1 && !*list->values[0]) /* an empty list */
            break;
        if (net_prefix_parse(list->values[i], &c->trusted_proxies[c->trusted_count++]) != 0)
            conf_mistake(b->m, list->line,
                         "trusted_proxies: %s is neither an address nor a network; write "
                         "\"10.1.2.3\", \"10.0.0.0/8\" or \"fd00::/8\", with no bits set "
                         "behind the prefix",
                         list->values[i]);
    }
}

static in_port_t port_of(const struct net_addr *addr)
{
    return addr->ss.ss_family == AF_INET ? ((const struct sockaddr_in *)&addr->ss)->sin_port
                                         : ((const struct sockaddr_in6 *)&addr->ss)->sin6_port;
}

/* Would the kernel refuse the second? It does where an address of one covers the other's. */
static bool connectors_clash(const struct conf_connector *a, const struct conf_connector *b)
{
    const struct sockaddr_in *a4 = (const struct sockaddr_in *)&a->addr.ss;
    const struct sockaddr_in *b4 = (const struct sockaddr_in *)&b->addr.ss;
    const struct in6_addr *a6 = &((const struct sockaddr_in6 *)&a->addr.ss)->sin6_addr;
    const struct in6_addr *b6 = &((const struct sockaddr_in6 *)&b->addr.ss)->sin6_addr;

    if (port_of(&a->addr) != port_of(&b->addr))
        return false;
    if (a->address[0] == '*' || b->address[0] == '*')
        return true;
    if (a->addr.ss.ss_family != b->addr.ss.ss_family)
        return false;
    if (a->addr.ss.ss_family == AF_INET)
        return a4->sin_addr.s_addr == b4->sin_addr.s_addr || a4->sin_addr.s_addr == INADDR_ANY ||
               b4->sin_addr.s_addr == INADDR_ANY;
    return memcmp(a6, b6, sizeof(*a6)) == 0 || IN6_IS_ADDR_UNSPECIFIED(a6) ||
           IN6_IS_ADDR_UNSPECIFIED(b6);
}

static void check_address(struct conf_build *b, const struct conf_section *s,
                          struct conf_connector *c)
{
    if (net_addr_parse(s->title, &c->addr) != 0) {
        memset(&c->addr, 0, sizeof(c->addr));
        conf_mistake(b->m, s->line, "%s \"%s\": not an address: %s", conf_sections[s->id].name,
                     s->title, conf_hint_address(b->arena, s->title));
        return;
    }
    for (const struct conf_connector *other = b->conf->connectors; other < c; other++)
        if (other->addr.len > 0 && connectors_clash(other, c))
            conf_mistake(b->m, s->line,
                         "connector \"%s\": connector \"%s\" has this address already; remove "
                         "one or take another port",
                         s->title, other->address);
}

void conf_build_connectors(struct conf_build *b)
{
    struct conf *conf = b->conf;
    size_t count = conf_sections_count(b->root, CONF_SECTION_CONNECTOR) +
                   conf_sections_count(b->root, CONF_SECTION_ADMIN);
    size_t clients = 0;

    conf->connectors = mem_arena_alloc(b->arena, count * sizeof(*conf->connectors));
    for (const struct conf_section *s = b->root->children; s; s = s->next) {
        struct conf_connector *c = &conf->connectors[conf->connector_count];

        if (s->id != CONF_SECTION_CONNECTOR && s->id != CONF_SECTION_ADMIN)
            continue;
        c->address = mem_arena_strdup(b->arena, s->title);
        c->admin = s->id == CONF_SECTION_ADMIN;
        check_address(b, s, c);
        if (c->admin) {
            conf->connector_count++;
            continue;
        }
        c->repo = repo_of(b, s, CONF_KEY_CONNECTOR_repository);
        build_certificate(b, s, CONF_KEY_CONNECTOR_tls_certificate, CONF_KEY_CONNECTOR_tls_key,
                          &c->certificate);
        c->client_ca = conf_path(s, CONF_KEY_CONNECTOR_tls_client_ca, b->arena, b->m);
        if (*c->client_ca && !*c->certificate.file)
            conf_mistake(b->m, s->settings[CONF_KEY_CONNECTOR_tls_client_ca].line,
                         "tls_client_ca: connector \"%s\" speaks plain HTTP; give it a "
                         "tls_certificate",
                         s->title);
        build_hosts(b, s, c);
        c->external_url = build_external_url(b, s);
        c->absolute_location =
            (enum conf_absolute)conf_choice(s, CONF_KEY_CONNECTOR_absolute_location, b->m);
        build_trusted(b, s, c);
        c->proxy_protocol = conf_bool(s, CONF_KEY_CONNECTOR_proxy_protocol, b->m);
        if (c->proxy_protocol && c->trusted_count == 0)
            conf_mistake(b->m, s->settings[CONF_KEY_CONNECTOR_proxy_protocol].line,
                         "proxy_protocol: nobody could connect; name the proxies in "
                         "trusted_proxies");
        conf->connector_count++;
        clients++;
    }
    if (clients == 0)
        conf_mistake(b->m, 0,
                     "there is no connector; add a section like: connector \"127.0.0.1:8082\" { }");
}
