/*
 * conf_reserve.c - names that no remote may hear of. Pure; any process.
 *
 * A group's `reserve` holds for the proxies among its members, and theirs in turn,
 * whatever way a request comes to them: so the patterns are collected at each proxy
 * when the configuration is built.
 */
#include "base/mem.h"
#include "conf/conf.h"
#include "conf/conf_tree.h"

#include <stdio.h>
#include <string.h>

static void reserve_add(struct conf_build *b, struct conf_proxy *proxy,
                        const struct conf_group *group)
{
    char **all =
        mem_arena_alloc(b->arena, (proxy->reserve_count + group->reserve_count + 1) * sizeof(*all));

    if (proxy->reserve_count > 0)
        memcpy(all, proxy->reserve, proxy->reserve_count * sizeof(*all));
    memcpy(all + proxy->reserve_count, group->reserve, group->reserve_count * sizeof(*all));
    proxy->reserve = all;
    proxy->reserve_count += group->reserve_count;
}

/* `seen`: each repository once for this group, and no endless way where groups go in circles. */
static void reserve_below(struct conf_build *b, const struct conf_repo *repo,
                          const struct conf_group *of, bool *seen)
{
    if (seen[repo - b->conf->repos])
        return;
    seen[repo - b->conf->repos] = true;
    if (repo->kind == CONF_PROXY)
        reserve_add(b, repo->proxy, of);
    for (size_t i = 0; repo->kind == CONF_GROUP && i < repo->group->member_count; i++)
        reserve_below(b, repo->group->members[i], of, seen);
}

void conf_build_reserve(struct conf_build *b)
{
    for (size_t i = 0; i < b->conf->repo_count; i++) {
        const struct conf_repo *repo = &b->conf->repos[i];

        if (repo->kind == CONF_GROUP && repo->group->reserve_count > 0)
            reserve_below(b, repo, repo->group,
                          mem_arena_alloc(b->arena, b->conf->repo_count * sizeof(bool)));
    }
}

static bool matches(const struct conf_proxy *proxy, const char *image)
{
    for (size_t i = 0; i < proxy->reserve_count; i++)
        if (conf_pattern_matches(proxy->reserve[i], image))
            return true;
    return false;
}

/* On Docker Hub NAME and library/NAME are one image. */
bool conf_reserved(const struct conf_repo *repo, const char *image)
{
    static const char library[] = "library/";
    const size_t len = sizeof(library) - 1;
    char text[sizeof(library) + 512];

    if (repo->kind != CONF_PROXY || repo->proxy->reserve_count == 0)
        return false;
    if (matches(repo->proxy, image))
        return true;
    if (!repo->proxy->docker_hub)
        return false;
    if (strncmp(image, library, len) == 0)
        return !strchr(image + len, '/') && matches(repo->proxy, image + len);
    if (strchr(image, '/') || strlen(image) > 511)
        return false;
    snprintf(text, sizeof(text), "%s%s", library, image);
    return matches(repo->proxy, text);
}
