/*
 * conf_schema.c - the table of conf_schema.h as data. Pure.
 */
#include "conf/conf_schema.h"

const struct conf_section_entry conf_sections[CONF_SECTION_COUNT] = {
#define X(id, name, titled) {name, titled},
    CONF_SECTIONS(X)
#undef X
};

const struct conf_key_entry conf_keys[CONF_KEY_COUNT] = {
#define X(section, key, kind, text, live, choices)                                                 \
    {CONF_SECTION_##section, #key, CONF_##kind, text, live, choices},
    CONF_KEYS(X)
#undef X
};

bool conf_section_inside(enum conf_section_id section, enum conf_section_id parent)
{
    if (section == CONF_SECTION_TOP)
        return false;
    return parent == (section == CONF_SECTION_HOST ? CONF_SECTION_CONNECTOR : CONF_SECTION_TOP);
}
