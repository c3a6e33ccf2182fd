/*
 * conf_value.c - values of settings: numbers with units, words, paths. Pure but
 * for the working directory, which makes paths absolute.
 */
#include "base/must.h"
#include "conf/conf_tree.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define COUNT_MAX 1000000

static const char *const size_units[] = {"", "K", "M", "G", "T", NULL};
static const uint64_t size_factors[] = {1, 1ULL << 10, 1ULL << 20, 1ULL << 30, 1ULL << 40};
static const char *const time_units[] = {"ms", "s", "", "m", "h", "d", NULL};
static const uint64_t time_factors[] = {1, 1000, 1000, 60000, 3600000, 86400000};

void conf_mistake(struct conf_mistakes *m, int line, const char *format, ...)
{
    char text[1024];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    for (char *p = text; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            *p = '?';
    if (line > 0)
        str_printf(m->out, "%s:%d: %s\n", m->file, line, text);
    else
        str_printf(m->out, "%s: %s\n", m->file, text);
    m->count++;
}

const char *conf_text(const struct conf_section *s, enum conf_key_id key)
{
    const struct conf_setting *setting = &s->settings[key];

    MUST(conf_keys[key].section == s->id);
    return setting->count > 0 ? setting->values[0] : conf_keys[key].text;
}

int conf_number(const char *text, const char *const *units, const uint64_t *factors,
                uint64_t *value_r)
{
    size_t digits = strspn(text, "0123456789");
    uint64_t number;

    if (str_parse_u64(text, digits, &number) != 0)
        return ERR_INVALID;
    for (size_t i = 0; units[i]; i++) {
        if (strcmp(text + digits, units[i]) != 0)
            continue;
        if (number > (uint64_t)INT64_MAX / factors[i])
            return ERR_TOO_BIG;
        *value_r = number * factors[i];
        return 0;
    }
    return ERR_INVALID;
}

static uint64_t number_or_default(const struct conf_section *s, enum conf_key_id key,
                                  const char *const *units, const uint64_t *factors,
                                  const char *expected, struct conf_mistakes *m)
{
    uint64_t value = 0;
    char hint[CONF_HINT_MAX];

    if (conf_number(conf_text(s, key), units, factors, &value) == 0)
        return value;
    if (units[1])
        conf_hint_unit(conf_text(s, key), units == size_units, hint);
    else
        *hint = 0;
    conf_mistake(m, s->settings[key].line, "%s: %s is not %s%s", conf_keys[key].name,
                 conf_text(s, key), expected, hint);
    MUST(conf_number(conf_keys[key].text, units, factors, &value) == 0);
    return value;
}

uint64_t conf_size(const struct conf_section *s, enum conf_key_id key, struct conf_mistakes *m)
{
    return number_or_default(s, key, size_units, size_factors,
                             "a size; write a number with K, M, G or T, like 500G", m);
}

uint64_t conf_time_ms(const struct conf_section *s, enum conf_key_id key, struct conf_mistakes *m)
{
    return number_or_default(s, key, time_units, time_factors,
                             "a time; write a number with ms, s, m, h or d, like 10m", m);
}

uint64_t conf_count(const struct conf_section *s, enum conf_key_id key, struct conf_mistakes *m)
{
    static const char *const none[] = {"", NULL};
    static const uint64_t one[] = {1};
    uint64_t value = number_or_default(s, key, none, one, "a number; write 0 to 1000000", m);

    if (value <= COUNT_MAX)
        return value;
    conf_mistake(m, s->settings[key].line, "%s: at most %d", conf_keys[key].name, COUNT_MAX);
    return COUNT_MAX;
}

bool conf_bool(const struct conf_section *s, enum conf_key_id key, struct conf_mistakes *m)
{
    const char *text = conf_text(s, key);

    if (strcmp(text, "true") == 0 || strcmp(text, "yes") == 0 || strcmp(text, "on") == 0)
        return true;
    if (strcmp(text, "false") != 0 && strcmp(text, "no") != 0 && strcmp(text, "off") != 0)
        conf_mistake(m, s->settings[key].line,
                     "%s: %s is neither true nor false; write one of them", conf_keys[key].name,
                     text);
    return false;
}

int conf_choice(const struct conf_section *s, enum conf_key_id key, struct conf_mistakes *m)
{
    const char *text = conf_text(s, key), *p = conf_keys[key].choices;
    size_t len = strlen(text);

    for (int place = 0; *p; place++) {
        size_t word = strcspn(p, " ");

        if (word == len && memcmp(p, text, len) == 0)
            return place;
        p += word;
        p += *p == ' ';
    }
    conf_mistake(m, s->settings[key].line, "%s: %s is not one of: %s", conf_keys[key].name, text,
                 conf_keys[key].choices);
    return 0;
}

/* In place. ".." stays: what it means depends on links. */
static void path_tidy(char *path)
{
    char *to = path;

    for (const char *from = path; *from;) {
        size_t len;

        from += strspn(from, "/");
        len = strcspn(from, "/");
        if (len > 0 && !(len == 1 && *from == '.')) {
            *to++ = '/';
            memmove(to, from, len);
            to += len;
        }
        from += len;
    }
    if (to == path)
        *to++ = '/';
    *to = 0;
}

char *conf_path(const struct conf_section *s, enum conf_key_id key, struct mem_arena *arena,
                struct conf_mistakes *m)
{
    const char *text = conf_text(s, key);
    char cwd[4096], *path;

    if (!*text)
        return mem_arena_strdup(arena, "");
    if (*text == '/') {
        path = mem_arena_strdup(arena, text);
    } else if (getcwd(cwd, sizeof(cwd))) {
        path = mem_arena_printf(arena, "%s/%s", cwd, text);
    } else {
        conf_mistake(m, s->settings[key].line,
                     "%s: %s is relative to a directory that is gone; write a path that begins "
                     "with /",
                     conf_keys[key].name, text);
        return mem_arena_printf(arena, "/%s", text);
    }
    path_tidy(path);
    return path;
}
