/*
 * conf_load.c - libconfuse's part: text into a tree of settings.
 *
 * The only user of libconfuse. Every key is read as text; what it must be is
 * checked by conf_value.c, which can say it better. Runs within conf_load(); owns nothing.
 */
#include "conf/conf_tree.h"

#include "base/must.h"

#include <confuse.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* libconfuse's error callback has no context argument. Loading is not reentrant. */
static struct conf_mistakes *current;
static bool failed;

/* The texts come from libconfuse itself, never from the file. */
__attribute__((format(printf, 2, 0))) static void on_error(cfg_t *cfg, const char *format,
                                                           va_list args)
{
    char text[512];

    vsnprintf(text, sizeof(text), format, args);
    conf_mistake(current, cfg ? cfg->line : 0, "%s", text);
    failed = true;
}

static cfg_opt_t *options_of(struct mem_arena *arena, enum conf_section_id section)
{
    cfg_opt_t *options =
        mem_arena_alloc(arena, (CONF_KEY_COUNT + CONF_SECTION_COUNT + 1) * sizeof(*options));
    size_t count = 0;

    for (size_t i = 0; i < CONF_KEY_COUNT; i++) {
        cfg_opt_t one = CFG_STR(conf_keys[i].name, NULL, CFGF_NODEFAULT);
        cfg_opt_t list = CFG_STR_LIST(conf_keys[i].name, NULL, CFGF_NODEFAULT);

        if (conf_keys[i].section == section)
            options[count++] = conf_keys[i].kind == CONF_LIST ? list : one;
    }
    for (int i = 0; i < CONF_SECTION_COUNT; i++) {
        cfg_opt_t titled =
            CFG_SEC(conf_sections[i].name, NULL, CFGF_MULTI | CFGF_TITLE | CFGF_NODEFAULT);
        cfg_opt_t plain = CFG_SEC(conf_sections[i].name, NULL, CFGF_NODEFAULT);

        if (!conf_section_inside((enum conf_section_id)i, section))
            continue;
        options[count] = conf_sections[i].titled ? titled : plain;
        options[count++].subopts = options_of(arena, (enum conf_section_id)i);
    }
    options[count] = (cfg_opt_t)CFG_END();
    return options;
}

static void take_settings(struct mem_arena *arena, cfg_t *cfg, const struct conf_scan *scan,
                          const char *prefix, struct conf_section *s)
{
    for (size_t i = 0; i < CONF_KEY_COUNT; i++) {
        struct conf_setting *setting = &s->settings[i];

        if (conf_keys[i].section != s->id)
            continue;
        setting->line =
            conf_scan_line(scan, mem_arena_printf(arena, "%s%s", prefix, conf_keys[i].name));
        if (setting->line == 0)
            continue; /* not in the file */
        setting->count = cfg_size(cfg, conf_keys[i].name);
        setting->values = mem_arena_alloc(arena, setting->count * sizeof(*setting->values));
        for (size_t v = 0; v < setting->count; v++) {
            const char *text = cfg_getnstr(cfg, conf_keys[i].name, (unsigned)v);

            setting->values[v] = mem_arena_strdup(arena, text ? text : "");
        }
    }
}

static struct conf_section *take_section(struct mem_arena *arena, cfg_t *cfg,
                                         const struct conf_scan *scan, const char *prefix,
                                         enum conf_section_id id, int line)
{
    struct conf_section *s = mem_arena_alloc(arena, sizeof(*s));
    struct conf_section **tail = &s->children;

    s->id = id;
    s->title = mem_arena_strdup(arena, cfg_title(cfg) ? cfg_title(cfg) : "");
    s->line = line;
    take_settings(arena, cfg, scan, prefix, s);
    for (int i = 0; i < CONF_SECTION_COUNT; i++) {
        if (!conf_section_inside((enum conf_section_id)i, id))
            continue;
        for (unsigned n = 0; n < cfg_size(cfg, conf_sections[i].name); n++) {
            cfg_t *inner = cfg_getnsec(cfg, conf_sections[i].name, n);
            const char *path = mem_arena_printf(arena, "%s%s %s", prefix, conf_sections[i].name,
                                                cfg_title(inner) ? cfg_title(inner) : "");
            int inner_line = conf_scan_line(scan, path);

            if (inner_line == 0)
                continue; /* an untitled section that is not in the file */
            *tail = take_section(arena, inner, scan, mem_arena_printf(arena, "%s/", path),
                                 (enum conf_section_id)i, inner_line);
            tail = &(*tail)->next;
        }
    }
    return s;
}

void conf_tree_parse(struct mem_arena *arena, const char *text, struct conf_mistakes *m,
                     struct conf_section **root_r)
{
    char *copy = mem_arena_strdup(arena, text);
    int open_comment = conf_scan_blank_comments(copy);
    const struct conf_scan *scan;
    cfg_t *cfg;

    *root_r = NULL;
    if (open_comment > 0) {
        conf_mistake(m, open_comment, "a comment begins here and does not end; close it with */");
        return;
    }
    scan = conf_scan_run(arena, copy, m);
    if (!scan)
        return;
    cfg = cfg_init(options_of(arena, CONF_SECTION_TOP), CFGF_NONE);
    MUST(cfg);
    current = m;
    failed = false;
    cfg_set_error_function(cfg, on_error);
    if (cfg_parse_buf(cfg, copy) != CFG_SUCCESS && !failed)
        conf_mistake(m, 0, "not a configuration; see entrepot.conf(5)");
    else if (!failed) {
        *root_r = take_section(arena, cfg, scan, "", CONF_SECTION_TOP, 1);
        conf_scan_unread(scan);
    }
    cfg_free(cfg);
    current = NULL;
}
