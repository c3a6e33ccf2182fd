/*
 * conf_later.c - what the language knows and this version does not do yet.
 *
 * Nobody may believe in a feature that is not there: such sections and keys are
 * mistakes. Whoever builds one of these features takes its lines out of here. Runs within
 * conf_load(); changes nothing.
 */
#include "conf/conf_tree.h"

static void refuse_in(const struct conf_section *s, struct conf_mistakes *m)
{
    if (s->id == CONF_SECTION_HOSTED && conf_time_ms(s, CONF_KEY_HOSTED_untagged_after, m) > 0)
        conf_mistake(m, s->settings[CONF_KEY_HOSTED_untagged_after].line,
                     "untagged_after: clean-ups of untagged manifests are not part of this version "
                     "yet; remove it");
}

void conf_refuse_later(const struct conf_section *root, struct conf_mistakes *m)
{
    for (const struct conf_section *s = root->children; s; s = s->next)
        refuse_in(s, m);
}
