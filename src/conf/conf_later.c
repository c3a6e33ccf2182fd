/*
 * conf_later.c - what the language knows and this version does not do yet.
 *
 * Nobody may believe in a feature that is not there: such sections and keys are
 * mistakes. Whoever builds one of these features takes its lines out of here.
 */
#include "conf/conf_tree.h"

static void refuse_key(const struct conf_section *s, enum conf_key_id key, const char *feature,
                       struct conf_mistakes *m)
{
    if (s->settings[key].count > 1 || *conf_text(s, key))
        conf_mistake(m, s->settings[key].line, "%s: %s are not part of this version yet; remove it",
                     conf_keys[key].name, feature);
}

static void refuse_section(const struct conf_section *s, const char *feature,
                           struct conf_mistakes *m)
{
    const bool titled = conf_sections[s->id].titled;

    conf_mistake(m, s->line, "%s%s%s%s: %s are not part of this version yet; remove the section",
                 conf_sections[s->id].name, titled ? " \"" : "", s->title, titled ? "\"" : "",
                 feature);
    conf_check_values(s, m);
}

static void refuse_in(const struct conf_section *s, struct conf_mistakes *m)
{
    switch (s->id) {
    case CONF_SECTION_PROXY:
        refuse_section(s, "proxy repositories", m);
        break;
    case CONF_SECTION_GROUP:
        refuse_section(s, "group repositories", m);
        break;
    case CONF_SECTION_HOSTED:
        if (conf_time_ms(s, CONF_KEY_HOSTED_untagged_after, m) > 0)
            refuse_key(s, CONF_KEY_HOSTED_untagged_after, "clean-ups of untagged manifests", m);
        break;
    case CONF_SECTION_CONNECTOR:
        refuse_key(s, CONF_KEY_CONNECTOR_external_url, "external URLs", m);
        refuse_key(s, CONF_KEY_CONNECTOR_trusted_proxies, "trusted proxies", m);
        break;
    case CONF_SECTION_TOP:
        if (conf_bool(s, CONF_KEY_TOP_docker_v1_api, m))
            refuse_key(s, CONF_KEY_TOP_docker_v1_api, "Docker V1 endpoints", m);
        break;
    case CONF_SECTION_STORE:
    case CONF_SECTION_HOST:
    case CONF_SECTION_ADMIN:
    case CONF_SECTION_AUTH:
    case CONF_SECTION_ROLE:
    case CONF_SECTION_COUNT:
        break;
    }
}

void conf_refuse_later(const struct conf_section *root, struct conf_mistakes *m)
{
    refuse_in(root, m);
    for (const struct conf_section *s = root->children; s; s = s->next)
        refuse_in(s, m);
}
