/*
 * conf_auth.c - logins and roles of a configuration.
 *
 * Runs in the master, in `entrepotd -t` and in entrepotctl, within conf_load().
 * The files it names are not opened here: only AUTH reads password hashes. Owns nothing.
 */
#include "base/mem.h"
#include "conf/conf.h"
#include "conf/conf_tree.h"

#include <string.h>

#define ROLES_MAX   1000
#define PATTERN_MAX 512

bool conf_user_ok(const char *name)
{
    size_t len = strlen(name);

    return len > 0 && len <= CONF_USER_MAX && *name != '-' &&
           strspn(name, CONF_LETTERS_DIGITS "._@+-") == len;
}

/* {} is the empty set, and not the default. */
static unsigned rights_of(struct conf_build *b, const struct conf_section *s, enum conf_key_id key)
{
    const struct conf_setting *setting = &s->settings[key];
    unsigned rights = 0;

    if (setting->line == 0)
        return right_by_word(conf_keys[key].text, strlen(conf_keys[key].text));
    for (size_t i = 0; i < setting->count; i++) {
        unsigned right = right_by_word(setting->values[i], strlen(setting->values[i]));

        if (right == 0 && *setting->values[i])
            conf_mistake(b->m, setting->line, "%s: %s is none of pull, push, delete",
                         conf_keys[key].name, setting->values[i]);
        rights |= right;
    }
    return rights;
}

/* Pushing means looking at what is there: clients ask before they send. */
static void check_push(struct conf_build *b, const struct conf_section *s, enum conf_key_id key,
                       unsigned rights)
{
    if ((rights & RIGHT_PUSH) && !(rights & RIGHT_PULL))
        conf_mistake(b->m, s->settings[key].line,
                     "%s: no client can push without pull; write {pull, push}",
                     conf_keys[key].name);
}

static bool pattern_chars_ok(const char *pattern)
{
    size_t len = strlen(pattern);

    return len > 0 && len <= PATTERN_MAX &&
           strspn(pattern, "abcdefghijklmnopqrstuvwxyz0123456789._-/*") == len;
}

static bool repo_matches_any(const struct conf *conf, const char *pattern)
{
    for (size_t i = 0; i < conf->repo_count; i++)
        if (conf_pattern_matches(pattern, conf->repos[i].name))
            return true;
    return false;
}

static void build_pattern(struct conf_build *b, int line, const char *text,
                          struct conf_pattern *pattern)
{
    const char *colon = strchr(text, ':');

    pattern->repo =
        mem_arena_strndup(b->arena, text, colon ? (size_t)(colon - text) : strlen(text));
    pattern->image = mem_arena_strdup(b->arena, colon ? colon + 1 : "");
    if (!colon || !pattern_chars_ok(pattern->repo) || !pattern_chars_ok(pattern->image))
        conf_mistake(b->m, line,
                     "images: \"%s\" is not a pattern; write REPOSITORY:IMAGE in lower case, with "
                     "* for anything within a component and ** for anything, like "
                     "\"docker-local:team/**\"",
                     text);
    else if (!repo_matches_any(b->conf, pattern->repo))
        conf_mistake(b->m, line, "images: \"%s\": there is no repository %s; add it or correct it",
                     text, pattern->repo);
}

static void build_role(struct conf_build *b, const struct conf_section *s, struct conf_role *role)
{
    const struct conf_setting *users = &s->settings[CONF_KEY_ROLE_users];
    const struct conf_setting *images = &s->settings[CONF_KEY_ROLE_images];

    role->name = mem_arena_strdup(b->arena, s->title);
    if (!conf_user_ok(s->title))
        conf_mistake(b->m, s->line,
                     "role \"%s\": a name has 1 to %d letters, digits, dots, dashes, underscores",
                     s->title, CONF_USER_MAX);
    role->users = mem_arena_alloc(b->arena, (users->count + 1) * sizeof(*role->users));
    for (size_t i = 0; i < users->count; i++) {
        role->users[role->user_count++] = mem_arena_strdup(b->arena, users->values[i]);
        if (strcmp(users->values[i], "*") != 0 && !conf_user_ok(users->values[i]))
            conf_mistake(b->m, users->line,
                         "users: \"%s\" is not a user's name: 1 to %d letters, digits and any of "
                         "._@+-; or \"*\" for everybody who has logged in",
                         users->values[i], CONF_USER_MAX);
    }
    role->images = mem_arena_alloc(b->arena, (images->count + 1) * sizeof(*role->images));
    for (size_t i = 0; i < images->count; i++)
        build_pattern(b, images->line, images->values[i], &role->images[role->image_count++]);
    role->may = rights_of(b, s, CONF_KEY_ROLE_may);
    check_push(b, s, CONF_KEY_ROLE_may, role->may);
    if (users->count == 0 || images->count == 0 || role->may == 0)
        conf_mistake(b->m, s->line, "role %s: needs users, images and may", s->title);
}

static void build_roles(struct conf_build *b, bool auth)
{
    size_t count = conf_sections_count(b->root, CONF_SECTION_ROLE);

    b->conf->roles = mem_arena_alloc(b->arena, (count + 1) * sizeof(*b->conf->roles));
    for (const struct conf_section *s = b->root->children; s; s = s->next) {
        if (s->id != CONF_SECTION_ROLE)
            continue;
        if (!auth)
            conf_mistake(b->m, s->line,
                         "role \"%s\": without logins everybody may do everything; add a section "
                         "like: auth { htpasswd = /etc/entrepot/htpasswd }",
                         s->title);
        if (b->conf->role_count == ROLES_MAX) {
            conf_mistake(b->m, s->line, "role \"%s\": at most %d roles", s->title, ROLES_MAX);
            return;
        }
        build_role(b, s, &b->conf->roles[b->conf->role_count++]);
    }
}

/* A repository's own word, or the default. */
static void build_force(struct conf_build *b, const struct conf_section *s, enum conf_key_id key,
                        bool auth, bool otherwise)
{
    int choice = conf_choice(s, key, b->m); /* auto true false */

    if (choice == 1 && !auth)
        conf_mistake(b->m, s->settings[key].line,
                     "force_basic_auth: there is nobody to log in; add a section like: auth { "
                     "htpasswd = /etc/entrepot/htpasswd }");
    for (size_t i = 0; i < b->conf->repo_count; i++)
        if (strcmp(b->conf->repos[i].name, s->title) == 0)
            b->conf->repos[i].force_basic_auth = auth && (choice == 0 ? otherwise : choice == 1);
}

static void build_section(struct conf_build *b, const struct conf_section *s, bool *force_r)
{
    struct conf_auth *auth = &b->conf->auth;

    auth->on = true;
    auth->htpasswd = conf_path(s, CONF_KEY_AUTH_htpasswd, b->arena, b->m);
    if (!*auth->htpasswd)
        conf_mistake(b->m, s->line,
                     "auth: needs htpasswd, a file with a line USER:BCRYPT-HASH for each user; "
                     "entrepotctl user add makes it");
    *force_r = conf_bool(s, CONF_KEY_AUTH_force_basic_auth, b->m);
    auth->anonymous_may = rights_of(b, s, CONF_KEY_AUTH_anonymous_may);
    check_push(b, s, CONF_KEY_AUTH_anonymous_may, auth->anonymous_may);
    auth->token_ttl_ms = conf_time_ms(s, CONF_KEY_AUTH_token_ttl, b->m);
    if (auth->token_ttl_ms < 60000 || auth->token_ttl_ms > 86400000)
        conf_mistake(b->m, s->settings[CONF_KEY_AUTH_token_ttl].line,
                     "token_ttl: %s is out of range; write 60s to 1d (clients take less than a "
                     "minute for a minute)",
                     conf_text(s, CONF_KEY_AUTH_token_ttl));
}

void conf_build_auth(struct conf_build *b)
{
    struct conf_auth *auth = &b->conf->auth;
    bool force = false;

    auth->htpasswd = mem_arena_strdup(b->arena, "");
    for (const struct conf_section *s = b->root->children; s; s = s->next)
        if (s->id == CONF_SECTION_AUTH)
            build_section(b, s, &force);
    for (const struct conf_section *s = b->root->children; s; s = s->next) {
        if (s->id == CONF_SECTION_HOSTED)
            build_force(b, s, CONF_KEY_HOSTED_force_basic_auth, auth->on, force);
        else if (s->id == CONF_SECTION_PROXY)
            build_force(b, s, CONF_KEY_PROXY_force_basic_auth, auth->on, force);
        else if (s->id == CONF_SECTION_GROUP)
            build_force(b, s, CONF_KEY_GROUP_force_basic_auth, auth->on, force);
    }
    build_roles(b, auth->on);
}
