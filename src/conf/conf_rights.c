/*
 * conf_rights.c - who may do what, by the configuration. Pure; any process.
 *
 * Nothing here remembers: what the configuration says now is what counts,
 * whatever a token was issued for.
 */
#include "conf/conf.h"

#include <string.h>

/* Backtracks to the last star only, which is enough: a later star can take over
 * whatever an earlier one would have. But a `*` must not step over a slash, so a
 * `**` before it is kept as a second way back. */
bool conf_pattern_matches(const char *pattern, const char *text)
{
    const char *one_pattern = NULL, *one_text = NULL;   /* behind the last `*` */
    const char *many_pattern = NULL, *many_text = NULL; /* behind the last `**` */

    while (*text || *pattern) {
        if (pattern[0] == '*' && pattern[1] == '*') {
            many_pattern = pattern += 2;
            many_text = text;
            one_pattern = NULL;
        } else if (*pattern == '*') {
            one_pattern = ++pattern;
            one_text = text;
        } else if (*pattern == *text && *text) {
            pattern++;
            text++;
        } else if (one_pattern && *one_text && *one_text != '/') {
            text = ++one_text;
            pattern = one_pattern;
        } else if (many_pattern && *many_text) {
            text = ++many_text;
            pattern = many_pattern;
            one_pattern = NULL;
        } else {
            return false;
        }
    }
    return true;
}

static bool role_has(const struct conf_role *role, const char *user)
{
    for (size_t i = 0; i < role->user_count; i++)
        if (strcmp(role->users[i], "*") == 0 || strcmp(role->users[i], user) == 0)
            return true;
    return false;
}

static bool role_covers(const struct conf_role *role, const char *repo, const char *image)
{
    for (size_t i = 0; i < role->image_count; i++)
        if (conf_pattern_matches(role->images[i].repo, repo) &&
            conf_pattern_matches(role->images[i].image, image))
            return true;
    return false;
}

unsigned conf_rights(const struct conf *conf, const char *user, const struct conf_repo *repo,
                     const char *image)
{
    unsigned rights = repo->force_basic_auth ? 0 : conf->auth.anonymous_may;

    if (!conf->auth.on || (user && conf->role_count == 0))
        return RIGHT_ALL;
    for (size_t i = 0; user && i < conf->role_count && rights != RIGHT_ALL; i++)
        if (role_has(&conf->roles[i], user) && role_covers(&conf->roles[i], repo->name, image))
            rights |= conf->roles[i].may;
    return rights;
}

/* Calls for each repository that has a place on the connector; without any, all are reached
 * by their names. */
static unsigned connector_fold(const struct conf *conf, const struct conf_connector *connector,
                               unsigned (*of)(const struct conf *conf,
                                              const struct conf_repo *repo))
{
    unsigned all = ~0U;

    if (connector->repo)
        all &= of(conf, connector->repo);
    for (size_t i = 0; i < connector->host_count; i++)
        if (connector->hosts[i].repo)
            all &= of(conf, connector->hosts[i].repo);
    for (size_t i = 0; !connector->repo && i < conf->repo_count; i++)
        all &= of(conf, &conf->repos[i]);
    return all;
}

static unsigned open_of(const struct conf *conf, const struct conf_repo *repo)
{
    return repo->force_basic_auth ? 0 : conf->auth.anonymous_may;
}

static unsigned forced_of(const struct conf *conf, const struct conf_repo *repo)
{
    (void)conf;
    return repo->force_basic_auth;
}

unsigned conf_connector_open(const struct conf *conf, const struct conf_connector *connector)
{
    return conf->auth.on ? connector_fold(conf, connector, open_of) & RIGHT_ALL : RIGHT_ALL;
}

bool conf_connector_forced(const struct conf *conf, const struct conf_connector *connector)
{
    return conf->auth.on && (connector_fold(conf, connector, forced_of) & 1);
}

static void role_text(const struct conf_role *role, struct str *out)
{
    char may[RIGHTS_TEXT_MAX];

    for (size_t i = 0; i < role->user_count; i++)
        str_printf(out, "%s%s", i > 0 ? "," : "users=", role->users[i]);
    for (size_t i = 0; i < role->image_count; i++)
        str_printf(out, "%s%s:%s", i > 0 ? "," : " images=", role->images[i].repo,
                   role->images[i].image);
    str_printf(out, " may=%s", rights_text(role->may, may));
}

static const struct conf_role *role_by_name(const struct conf *conf, const char *name)
{
    for (size_t i = 0; i < conf->role_count; i++)
        if (strcmp(conf->roles[i].name, name) == 0)
            return &conf->roles[i];
    return NULL;
}

void conf_rights_differences(const struct conf *old_conf, const struct conf *new_conf,
                             struct str *out)
{
    char may[RIGHTS_TEXT_MAX];

    if (old_conf->auth.on != new_conf->auth.on)
        str_printf(out, "event=logins state=%s\n", new_conf->auth.on ? "on" : "off");
    if (old_conf->auth.anonymous_may != new_conf->auth.anonymous_may)
        str_printf(out, "event=rights who=anonymous may=%s\n",
                   rights_text(new_conf->auth.anonymous_may, may));
    for (size_t i = 0; i < old_conf->role_count; i++)
        if (!role_by_name(new_conf, old_conf->roles[i].name))
            str_printf(out, "event=role-removed role_name=%s\n", old_conf->roles[i].name);
    for (size_t i = 0; i < new_conf->role_count; i++) {
        const struct conf_role *old_role = role_by_name(old_conf, new_conf->roles[i].name);
        struct str before = {0}, now = {0};

        role_text(&new_conf->roles[i], &now);
        if (old_role)
            role_text(old_role, &before);
        if (!old_role || strcmp(before.data, now.data) != 0)
            str_printf(out, "event=role-%s role_name=%s %s\n", old_role ? "changed" : "added",
                       new_conf->roles[i].name, now.data);
        str_free(&before);
        str_free(&now);
    }
}
