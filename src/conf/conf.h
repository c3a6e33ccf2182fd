/*
 * conf.h - the configuration, parsed and checked.
 *
 * The master parses it before it forks and roles inherit it. Nothing changes a
 * struct conf after conf_load(): a reload makes a new one for new processes.
 */
#ifndef ENTREPOT_CONF_CONF_H
#define ENTREPOT_CONF_CONF_H

#include "base/err.h"
#include "base/log.h"
#include "base/net.h"
#include "base/net_prefix.h"
#include "base/str.h"
#include "oci/rights.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* `[A-Za-z0-9][A-Za-z0-9._-]*`, at most this long: names of repositories and blob stores. */
#define CONF_NAME_MAX 64
/* Blob stores. */
#define CONF_STORES_MAX 16

struct conf_store {
    char *name;
    /* The name in the database's keys: the store's first one (meta/identity.h). Set by whoever
     * opens the database; until then the name. */
    const char *key;
    char *path;         /* absolute */
    uint64_t quota;     /* bytes; 0: none */
    uint64_t keep_free; /* bytes the file system must keep free */
};

enum conf_repo_kind { CONF_HOSTED, CONF_PROXY, CONF_GROUP };
enum conf_redeploy {
    CONF_REDEPLOY_ALLOW,
    CONF_REDEPLOY_LATEST_ONLY,
    CONF_REDEPLOY_DENY,
    CONF_REDEPLOY_READ_ONLY
};

/* http[s]://HOST[:PORT][/PREFIX]; "/v2/..." follows the prefix. */
struct conf_remote {
    char *url; /* as written */
    bool tls;
    char *host; /* a name, or an address ([IPv6] in brackets) */
    uint16_t port;
    char *prefix; /* "" or "/..." without a slash at its end */
};

struct conf_proxy {
    struct conf_remote *remotes; /* in the order in which they are asked */
    size_t remote_count;
    bool docker_hub;   /* names of one part become library/NAME */
    char **namespaces; /* which ?ns= it answers for */
    size_t namespace_count;
    char *username, *password_file; /* "": none */
    char *ca_file;                  /* "": the system's */
    bool tls_verify;
    char *http_proxy;        /* "": none */
    uint64_t tag_ttl_ms;     /* a tag is believed that long */
    uint64_t missing_ttl_ms; /* "not found" is believed that long */
    bool serve_stale;        /* an old tag rather than an error when the remote fails */
    uint64_t quota;          /* bytes; 0: none. The least recently used goes first */
    char *index;             /* where a search goes: "hub", "remote", "none" or a URL */
    bool allow_private;      /* redirects and realms may lead to private addresses */
    uint64_t bandwidth;      /* bytes a second of all its downloads; 0: no limit */
    uint64_t rate_reserve;   /* pulls left (ratelimit-remaining) below which it spares them */
    uint64_t connect_timeout_ms, stall_timeout_ms; /* stall: no byte for that long */
    char **reserve; /* of all groups that lead here: patterns of images it is never asked for */
    size_t reserve_count;
};

struct conf_repo;

struct conf_group {
    const struct conf_repo **members; /* in the order in which they are asked */
    size_t member_count;
    const struct conf_repo *push_to; /* hosted; NULL: pushes are refused */
    bool skip_errors;                /* a failing member counts as one without the content */
    char **reserve;                  /* patterns of images that only hosted members are asked for */
    size_t reserve_count;
};

struct conf_repo {
    char *name;
    enum conf_repo_kind kind;
    const struct conf_store *store; /* NULL for groups */
    bool online;
    enum conf_redeploy redeploy;
    bool delete_allowed;
    bool delete_referenced; /* also what a manifest that stays names */
    uint64_t max_blob;      /* CONF_HOSTED only: bytes; 0: no limit */
    bool index_children_strict;
    struct conf_proxy *proxy; /* CONF_PROXY only, else NULL */
    struct conf_group *group; /* CONF_GROUP only, else NULL */
    bool force_basic_auth;    /* nothing for the anonymous here */
};

/* Users' names: 1 to this many letters, digits and any of "._@+-", not beginning with '-'. */
#define CONF_USER_MAX 64

struct conf_auth {
    bool on; /* there is a section; otherwise everybody may do everything */
    char *htpasswd;
    unsigned anonymous_may; /* where force_basic_auth is off */
    uint64_t token_ttl_ms;
};

/* REPOSITORY:IMAGE; in both `*` stands for anything within a component and `**`
 * for anything at all. */
struct conf_pattern {
    char *repo, *image;
};

struct conf_role {
    char *name;
    char **users; /* "*": everybody who has logged in */
    size_t user_count;
    struct conf_pattern *images;
    size_t image_count;
    unsigned may;
};

/* PEM files; both "" where there is none. */
struct conf_certificate {
    char *file, *key_file; /* absolute */
};

struct conf_host {
    char *name; /* lower case, without port */
    const struct conf_repo *repo;
    struct conf_certificate certificate; /* for clients that name this host (SNI) */
};

/* Are Location and Link absolute URLs? In the order of the key's words. */
enum conf_absolute {
    CONF_ABSOLUTE_AUTO, /* where external_url is what the client uses */
    CONF_ABSOLUTE_ALWAYS,
    CONF_ABSOLUTE_NEVER
};

struct conf_connector {
    char *address; /* as written: "0.0.0.0:8082" */
    struct net_addr addr;
    const struct conf_repo *repo;        /* NULL: the first path component names it */
    struct conf_certificate certificate; /* HTTPS; "": plain HTTP */
    char *client_ca; /* clients may show certificates it signed; absolute; "": none is asked for */
    struct conf_host *hosts;
    size_t host_count;
    char *external_url; /* "https://host[:port]", lower case; "": what the client says */
    enum conf_absolute absolute_location;
    struct net_prefix *trusted_proxies;
    size_t trusted_count;
    bool proxy_protocol; /* connections begin with it; from trusted_proxies alone */
    bool admin; /* health and metrics instead of repositories; nothing above but the address */
};

struct mem_arena;

struct conf {
    struct mem_arena *arena;  /* holds everything below but `file` */
    char *file;               /* absolute path it came from */
    char *user;               /* "" or NULL: stay who we are */
    char *auth_user;          /* of AUTH; "" or NULL: `user` */
    unsigned workers;         /* resolved: at least 1 */
    char *data_dir, *run_dir; /* absolute */
    char *log;                /* "stderr" or an absolute path */
    enum log_level log_level; /* lines above it are not logged; default info */
    char *access_log;         /* "off", "stderr" or an absolute path */

    /* limits towards clients */
    uint64_t head_timeout_ms;      /* a request head must be complete, default 30s */
    uint64_t keepalive_timeout_ms; /* an idle connection is closed, default 75s */
    uint64_t min_rate;             /* bytes a second, both ways, over rate_window; default 1K */
    uint64_t rate_window_ms;       /* default 30s */
    uint64_t max_manifest;         /* bytes, default 4M */
    uint64_t max_connections;      /* a worker, default 4096; the master may lower it */
    uint64_t max_connections_per_address; /* of them; 0: a quarter, which the master fills in */
    uint64_t upload_expiry_ms;            /* idle upload sessions go, default 24h */
    uint64_t max_uploads;                 /* open sessions a blob store, default 100000 */
    uint64_t drain_timeout_ms;            /* old workers after a reload or QUIT, default 1h */

    bool docker_v1_api; /* /v1/_ping, /v1/users/, /v1/search */

    uint64_t gc_grace_ms;    /* garbage stays at least this long; default 2h */
    uint64_t gc_interval_ms; /* between two sweeps, default 10m */
    uint64_t
        scrub_interval_ms; /* every blob is read and hashed once in it; 0: never; default 30d */
    uint64_t scrub_rate;   /* bytes a second, default 20M */

    struct conf_store *stores;
    size_t store_count;
    struct conf_repo *repos;
    size_t repo_count;
    bool has_proxies;
    struct conf_connector *connectors;
    size_t connector_count;
    struct conf_auth auth;
    struct conf_role *roles;
    size_t role_count;
};

/* Parses and checks `path`. Every mistake is appended to `mistakes` as a line
 * "FILE:LINE: message" (what is wrong, what to do); with any, INVALID and
 * *conf_r stays NULL. Relative paths in the file are made absolute against the
 * working directory. Does not touch the system beyond reading the file. */
must_check int conf_load(const char *path, struct conf **conf_r, struct str *mistakes);
void conf_free(struct conf **conf);

/* By name; NULL when there is none. */
const struct conf_repo *conf_repo_by_name(const struct conf *conf, const char *name, size_t len);
/* `name`: of a request, lower case, without port. */
const struct conf_host *conf_host_by_name(const struct conf_connector *connector, const char *name);

/* May a tag of this repository that exists be made to point elsewhere? */
bool conf_tag_may_move(const struct conf_repo *repo, const char *tag);

/* Is the image one that this repository, a proxy, must neither be asked for nor answer for,
 * whatever way the request came? False for other kinds. */
bool conf_reserved(const struct conf_repo *repo, const char *image);

bool conf_user_ok(const char *name);
bool conf_pattern_matches(const char *pattern, const char *text);
/* What a user (NULL: the anonymous) may do with an image now: a set of
 * rights. Without any role, whoever has logged in may do everything. */
unsigned conf_rights(const struct conf *conf, const char *user, const struct conf_repo *repo,
                     const char *image);
/* What clients without a login may do on every repository of the connector. */
unsigned conf_connector_open(const struct conf *conf, const struct conf_connector *connector);
/* Do all repositories of the connector force basic authentication? */
bool conf_connector_forced(const struct conf *conf, const struct conf_connector *connector);
/* Appends a line for each role, and for the anonymous, whose rights differ. */
void conf_rights_differences(const struct conf *old_conf, const struct conf *new_conf,
                             struct str *out);

/* Appends a line for each key that differs between the two and only takes effect with a
 * restart (user, auth_user, data_dir, run_dir, a store's path). */
void conf_restart_differences(const struct conf *old_conf, const struct conf *new_conf,
                              struct str *out);

#endif
