/*
 * conf_schema.h - every section and key of entrepot.conf: one table.
 *
 * Names of keys are part of the product. `live`: a reload (HUP) changes it;
 * otherwise it needs a restart and a reload that changes it is refused.
 */
#ifndef ENTREPOT_CONF_CONF_SCHEMA_H
#define ENTREPOT_CONF_CONF_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>

/* X(ID, name in the file, has a title) */
#define CONF_SECTIONS(X)                                                                           \
    X(TOP, "", false)                                                                              \
    X(STORE, "blobstore", true)                                                                    \
    X(HOSTED, "hosted", true)                                                                      \
    X(PROXY, "proxy", true)                                                                        \
    X(GROUP, "group", true)                                                                        \
    X(CONNECTOR, "connector", true)                                                                \
    X(HOST, "host", true)                                                                          \
    X(AUTH, "auth", false)                                                                         \
    X(ROLE, "role", true)                                                                          \
    X(ADMIN, "admin", true)

enum conf_section_id {
#define X(id, name, titled) CONF_SECTION_##id,
    CONF_SECTIONS(X)
#undef X
        CONF_SECTION_COUNT
};

enum conf_kind {
    CONF_TEXT,
    CONF_PATH,  /* made absolute */
    CONF_NAME,  /* of a repository or blob store */
    CONF_SIZE,  /* bytes: 10, 10K, 10M, 10G, 10T (binary) */
    CONF_TIME,  /* milliseconds: 10ms, 10s, 10m, 10h, 10d; a bare number is seconds */
    CONF_COUNT, /* 0 to 1000000 */
    CONF_BOOL,
    CONF_CHOICE, /* one of the words in `choices` */
    CONF_LIST    /* {a, b} of texts */
};

/* X(section, key, kind, default, live, choices) */
#define CONF_KEYS(X)                                                                               \
    X(TOP, user, TEXT, "", false, NULL)                                                            \
    X(TOP, auth_user, TEXT, "", false, NULL)                                                       \
    X(TOP, workers, COUNT, "0", true, NULL)                                                        \
    X(TOP, data_dir, PATH, "/var/lib/entrepot", false, NULL)                                       \
    X(TOP, run_dir, PATH, "/run/entrepot", false, NULL)                                            \
    X(TOP, log, TEXT, "stderr", true, NULL)                                                        \
    X(TOP, log_level, CHOICE, "info", true, "error warn notice info debug")                        \
    X(TOP, access_log, TEXT, "off", true, NULL)                                                    \
    X(TOP, docker_v1_api, BOOL, "false", true, NULL)                                               \
    X(TOP, head_timeout, TIME, "30s", true, NULL)                                                  \
    X(TOP, keepalive_timeout, TIME, "75s", true, NULL)                                             \
    X(TOP, min_rate, SIZE, "1K", true, NULL)                                                       \
    X(TOP, rate_window, TIME, "30s", true, NULL)                                                   \
    X(TOP, max_manifest, SIZE, "4M", true, NULL)                                                   \
    X(TOP, max_connections, COUNT, "4096", true, NULL)                                             \
    X(TOP, max_connections_per_address, COUNT, "0", true, NULL)                                    \
    X(TOP, upload_expiry, TIME, "24h", true, NULL)                                                 \
    X(TOP, max_uploads, COUNT, "100000", true, NULL)                                               \
    X(TOP, drain_timeout, TIME, "1h", true, NULL)                                                  \
    X(TOP, gc_grace, TIME, "2h", true, NULL)                                                       \
    X(TOP, gc_interval, TIME, "10m", true, NULL)                                                   \
    X(TOP, scrub_interval, TIME, "30d", true, NULL)                                                \
    X(TOP, scrub_rate, SIZE, "20M", true, NULL)                                                    \
    X(STORE, path, PATH, "", false, NULL)                                                          \
    X(STORE, quota, SIZE, "0", true, NULL)                                                         \
    X(STORE, keep_free, SIZE, "0", true, NULL)                                                     \
    X(HOSTED, blobstore, NAME, "", true, NULL)                                                     \
    X(HOSTED, online, BOOL, "true", true, NULL)                                                    \
    X(HOSTED, redeploy, CHOICE, "allow", true, "allow latest-only deny read-only")                 \
    X(HOSTED, delete, BOOL, "true", true, NULL)                                                    \
    X(HOSTED, delete_referenced, BOOL, "false", true, NULL)                                        \
    X(HOSTED, max_blob, SIZE, "0", true, NULL)                                                     \
    X(HOSTED, untagged_after, TIME, "0", true, NULL)                                               \
    X(HOSTED, index_children, CHOICE, "strict", true, "strict lax")                                \
    X(HOSTED, force_basic_auth, CHOICE, "auto", true, "auto true false")                           \
    X(PROXY, blobstore, NAME, "", true, NULL)                                                      \
    X(PROXY, online, BOOL, "true", true, NULL)                                                     \
    X(PROXY, remotes, LIST, "", true, NULL)                                                        \
    X(PROXY, docker_hub, CHOICE, "auto", true, "auto true false")                                  \
    X(PROXY, namespaces, LIST, "", true, NULL)                                                     \
    X(PROXY, username, TEXT, "", true, NULL)                                                       \
    X(PROXY, password_file, PATH, "", true, NULL)                                                  \
    X(PROXY, ca_file, PATH, "", true, NULL)                                                        \
    X(PROXY, tls_verify, BOOL, "true", true, NULL)                                                 \
    X(PROXY, http_proxy, TEXT, "", true, NULL)                                                     \
    X(PROXY, tag_ttl, TIME, "10m", true, NULL)                                                     \
    X(PROXY, missing_ttl, TIME, "2m", true, NULL)                                                  \
    X(PROXY, serve_stale, BOOL, "true", true, NULL)                                                \
    X(PROXY, quota, SIZE, "0", true, NULL)                                                         \
    X(PROXY, index, TEXT, "hub", true, NULL)                                                       \
    X(PROXY, allow_private, BOOL, "false", true, NULL)                                             \
    X(PROXY, bandwidth, SIZE, "0", true, NULL)                                                     \
    X(PROXY, rate_reserve, COUNT, "10", true, NULL)                                                \
    X(PROXY, connect_timeout, TIME, "10s", true, NULL)                                             \
    X(PROXY, stall_timeout, TIME, "30s", true, NULL)                                               \
    X(PROXY, force_basic_auth, CHOICE, "auto", true, "auto true false")                            \
    X(GROUP, members, LIST, "", true, NULL)                                                        \
    X(GROUP, push_to, NAME, "", true, NULL)                                                        \
    X(GROUP, on_member_error, CHOICE, "fail", true, "fail skip")                                   \
    X(GROUP, reserve, LIST, "", true, NULL)                                                        \
    X(GROUP, force_basic_auth, CHOICE, "auto", true, "auto true false")                            \
    X(CONNECTOR, repository, NAME, "", true, NULL)                                                 \
    X(CONNECTOR, tls_certificate, PATH, "", true, NULL)                                            \
    X(CONNECTOR, tls_key, PATH, "", true, NULL)                                                    \
    X(CONNECTOR, tls_client_ca, PATH, "", true, NULL)                                              \
    X(CONNECTOR, external_url, TEXT, "", true, NULL)                                               \
    X(CONNECTOR, absolute_location, CHOICE, "auto", true, "auto true false")                       \
    X(CONNECTOR, trusted_proxies, LIST, "", true, NULL)                                            \
    X(CONNECTOR, proxy_protocol, BOOL, "false", true, NULL)                                        \
    X(HOST, repository, NAME, "", true, NULL)                                                      \
    X(HOST, tls_certificate, PATH, "", true, NULL)                                                 \
    X(HOST, tls_key, PATH, "", true, NULL)                                                         \
    X(AUTH, htpasswd, PATH, "", true, NULL)                                                        \
    X(AUTH, force_basic_auth, BOOL, "true", true, NULL)                                            \
    X(AUTH, anonymous_may, LIST, "pull", true, NULL)                                               \
    X(AUTH, token_ttl, TIME, "5m", true, NULL)                                                     \
    X(ROLE, users, LIST, "", true, NULL)                                                           \
    X(ROLE, images, LIST, "", true, NULL)                                                          \
    X(ROLE, may, LIST, "", true, NULL)

enum conf_key_id {
#define X(section, key, kind, text, live, choices) CONF_KEY_##section##_##key,
    CONF_KEYS(X)
#undef X
        CONF_KEY_COUNT
};

struct conf_section_entry {
    const char *name;
    bool titled;
};

struct conf_key_entry {
    enum conf_section_id section;
    const char *name;
    enum conf_kind kind;
    const char *text; /* default */
    bool live;
    const char *choices;
};

extern const struct conf_section_entry conf_sections[CONF_SECTION_COUNT];
extern const struct conf_key_entry conf_keys[CONF_KEY_COUNT];

/* May a section stand inside another? Only host in connector. */
bool conf_section_inside(enum conf_section_id section, enum conf_section_id parent);

#endif
