/*
 * conf_scan.c - a light walk over the file that knows names and lines.
 *
 * Runs wherever a configuration is loaded. libconfuse stops at the first
 * unknown key and counts lines wrongly over comments; an operator wants every
 * mistake at once with the right line. So this walk finds the names, and
 * libconfuse, told to ignore unknown ones, reads the values.
 */
#include "conf/conf_tree.h"

#include <ctype.h>
#include <string.h>

#define DEPTH_MAX 8

struct place {
    const char *path;
    int line;
    struct place *next;
};

struct conf_scan {
    struct mem_arena *arena;
    struct conf_mistakes *mistakes;
    struct place *places;
    const char *p;
    int line;
};

enum token { TOKEN_END, TOKEN_WORD, TOKEN_OPEN, TOKEN_CLOSE, TOKEN_EQUALS, TOKEN_OTHER };

static char *skip_string(char *p)
{
    char quote = *p++;

    while (*p && *p != quote) {
        if (*p == '\\' && p[1])
            p++;
        p++;
    }
    return *p ? p + 1 : p;
}

static char *blank_until(char *p, const char *end, size_t keep)
{
    char *stop = strstr(p, end);

    if (!stop)
        stop = p + strlen(p);
    else
        stop += keep;
    for (; p < stop; p++)
        if (*p != '\n')
            *p = ' ';
    return p;
}

void conf_scan_blank_comments(char *text)
{
    for (char *p = text; *p;) {
        if (*p == '"' || *p == '\'')
            p = skip_string(p);
        else if (*p == '#' || (p[0] == '/' && p[1] == '/'))
            p = blank_until(p, "\n", 0);
        else if (p[0] == '/' && p[1] == '*')
            p = blank_until(p, "*/", 2);
        else
            p++;
    }
}

static bool ends_word(char c)
{
    return !c || isspace((unsigned char)c) || strchr("{}=,()\"'", c);
}

/* The next token; a word's text goes into the arena. */
static enum token next_token(struct conf_scan *s, const char **word_r)
{
    const char *start;

    while (isspace((unsigned char)*s->p))
        s->line += *s->p++ == '\n';
    start = s->p;
    switch (*s->p) {
    case 0:
        return TOKEN_END;
    case '{':
        s->p++;
        return TOKEN_OPEN;
    case '}':
        s->p++;
        return TOKEN_CLOSE;
    case '=':
        s->p++;
        return TOKEN_EQUALS;
    case ',':
    case '(':
    case ')':
        s->p++;
        return TOKEN_OTHER;
    case '"':
    case '\'':
        for (s->p++; *s->p && *s->p != *start; s->p++) {
            s->line += *s->p == '\n';
            if (*s->p == '\\' && s->p[1])
                s->p++;
        }
        *word_r = mem_arena_strndup(s->arena, start + 1, (size_t)(s->p - start - 1));
        s->p += *s->p != 0;
        return TOKEN_WORD;
    default:
        while (!ends_word(*s->p) && !(s->p[0] == '+' && s->p[1] == '='))
            s->p++;
        if (s->p == start) { /* "+=" */
            s->p += 2;
            return TOKEN_EQUALS;
        }
        *word_r = mem_arena_strndup(s->arena, start, (size_t)(s->p - start));
        return TOKEN_WORD;
    }
}

static void note(struct conf_scan *s, const char *path, int line, const char *what)
{
    struct place *place;

    if (conf_scan_line(s, path) != 0) {
        conf_mistake(s->mistakes, line, "%s stands there twice (first in line %d); remove one",
                     what, conf_scan_line(s, path));
        return;
    }
    place = mem_arena_alloc(s->arena, sizeof(*place));
    place->path = path;
    place->line = line;
    place->next = s->places;
    s->places = place;
}

static int section_by_name(const char *name, enum conf_section_id parent)
{
    for (int i = 0; i < CONF_SECTION_COUNT; i++)
        if (strcmp(conf_sections[i].name, name) == 0 &&
            conf_section_inside((enum conf_section_id)i, parent))
            return i;
    return -1;
}

static bool key_known(const char *name, int section)
{
    for (int i = 0; i < CONF_KEY_COUNT; i++)
        if ((int)conf_keys[i].section == section && strcmp(conf_keys[i].name, name) == 0)
            return true;
    return false;
}

/* A value: a word or a list in braces. */
static bool skip_value(struct conf_scan *s)
{
    const char *word;
    enum token token = next_token(s, &word);

    if (token == TOKEN_WORD)
        return true;
    if (token != TOKEN_OPEN)
        return false;
    do {
        token = next_token(s, &word);
    } while (token == TOKEN_WORD || token == TOKEN_OTHER);
    return token == TOKEN_CLOSE;
}

/* section -1: inside an unknown one, whose contents are not judged. */
static bool scan_items(struct conf_scan *s, int section, const char *prefix, int depth)
{
    const char *word = NULL, *title;
    enum token token;

    while ((token = next_token(s, &word)) == TOKEN_WORD) {
        const char *name = word;
        int line = s->line, inner;

        token = next_token(s, &title);
        if (token == TOKEN_EQUALS) {
            if (section >= 0 && !key_known(name, section))
                conf_mistake(s->mistakes, line, "unknown key %s%s%s; see entrepot.conf(5)", name,
                             section ? " in section " : "",
                             section ? conf_sections[section].name : "");
            else if (section >= 0)
                note(s, mem_arena_printf(s->arena, "%s%s", prefix, name), line, name);
            if (!skip_value(s))
                return false;
            continue;
        }
        inner = section >= 0 ? section_by_name(name, (enum conf_section_id)section) : -1;
        if (token == TOKEN_OPEN) {
            title = "";
        } else if (token != TOKEN_WORD || next_token(s, &word) != TOKEN_OPEN) {
            return false;
        }
        if (depth == DEPTH_MAX)
            return false;
        if (section >= 0 && inner < 0)
            conf_mistake(s->mistakes, line, "unknown section %s; see entrepot.conf(5)", name);
        title = mem_arena_printf(s->arena, "%s%s %s", prefix, name, title);
        if (inner >= 0)
            note(s, title, line, name);
        if (!scan_items(s, inner, mem_arena_printf(s->arena, "%s/", title), depth + 1))
            return false;
    }
    return token == (depth > 0 ? TOKEN_CLOSE : TOKEN_END);
}

struct conf_scan *conf_scan_run(struct mem_arena *arena, const char *text, struct conf_mistakes *m)
{
    struct conf_scan *s = mem_arena_alloc(arena, sizeof(*s));

    s->arena = arena;
    s->mistakes = m;
    s->p = text;
    s->line = 1;
    /* What cannot be walked is a syntax error, and the parser says so better. */
    (void)scan_items(s, CONF_SECTION_TOP, "", 0);
    return s;
}

int conf_scan_line(const struct conf_scan *scan, const char *path)
{
    for (const struct place *place = scan->places; place; place = place->next)
        if (strcmp(place->path, path) == 0)
            return place->line;
    return 0;
}
