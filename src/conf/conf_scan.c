/*
 * conf_scan.c - a light walk over the file that knows names and lines.
 *
 * Runs wherever a configuration is loaded, called by conf_load.c before
 * libconfuse, which stops at its first mistake and counts lines wrongly over
 * comments; an operator wants every mistake at once with the right line. The
 * walk reports syntax errors and unknown, repeated and ill-shaped items, and
 * puts spaces in their place, so that libconfuse can go on and read the values
 * of the others. Owns nothing but memory of the arena.
 *
 * Two readers of one language may differ. What is noted here must be found by
 * libconfuse too (conf_scan_unread), and what libconfuse would skip in silence
 * is a syntax error here: nothing in a file may be without effect unnoticed.
 */
#include "conf/conf_tree.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define DEPTH_MAX 8
/* Both readers compare each name with all before it: keeps the worst file to seconds. */
#define ITEMS_MAX 10000

struct place {
    const char *path;
    int line;
    bool read; /* by libconfuse too */
    struct place *next;
};

struct conf_scan {
    struct mem_arena *arena;
    struct conf_mistakes *mistakes;
    struct place *places;
    char *p;
    char *token; /* where the last token began */
    int line;
    size_t items;
    bool failed;
};

/* Where an item stands. section -1: inside one that is not judged. */
struct scope {
    int section;
    const char *prefix; /* NULL: what is in here is not noted */
    int depth;
};

enum token { TOKEN_END, TOKEN_WORD, TOKEN_OPEN, TOKEN_CLOSE, TOKEN_EQUALS, TOKEN_OTHER, TOKEN_BAD };

/* Returns false. Only the first syntax error counts: what follows it is guesswork. */
__attribute__((format(printf, 3, 4))) static bool scan_fail(struct conf_scan *s, int line,
                                                            const char *format, ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (!s->failed)
        conf_mistake(s->mistakes, line, "%s", text);
    s->failed = true;
    return false;
}

/* What a word may hold without quotes: libconfuse's own set. */
static bool in_word(char c)
{
    return c && !strchr(" #\"'\t\n\r={}()+,*", c);
}

/* The closing quote, or the end of the text. */
static char *string_end(char *p)
{
    char quote = *p++;

    while (*p && *p != quote) {
        if (*p == '\\' && p[1])
            p++;
        p++;
    }
    return p;
}

static void blank(char *p, const char *stop)
{
    for (; p < stop; p++)
        if (*p != '\n')
            *p = ' ';
}

int conf_scan_blank_comments(char *text)
{
    for (char *p = text, *stop; *p; p = stop) {
        stop = p + 1;
        if (*p == '"' || *p == '\'') {
            stop = string_end(p);
            stop += *stop != 0;
        } else if (*p == '#' || (p[0] == '/' && p[1] == '/')) {
            stop = p + strcspn(p, "\n");
            blank(p, stop);
        } else if (p[0] == '/' && p[1] == '*') {
            stop = strstr(p + 2, "*/");
            if (!stop) {
                int line = 1;

                for (const char *c = text; c < p; c++)
                    line += *c == '\n';
                return line;
            }
            stop += 2;
            blank(p, stop);
        } else {
            while (in_word(*p) && in_word(*stop))
                stop++;
        }
    }
    return 0;
}

static enum token take_string(struct conf_scan *s, const char **word_r)
{
    char *start = s->p + 1, *end = string_end(s->p);
    int line = s->line;

    if (!*end) {
        (void)scan_fail(s, line, "a string begins here and does not end; close it with %c", *s->p);
        return TOKEN_BAD;
    }
    for (char *p = start; p < end; p++) {
        if (*p == '\n') {
            (void)scan_fail(s, line,
                            "a string begins here and does not end in this line; close it "
                            "with %c",
                            *s->p);
            return TOKEN_BAD;
        }
        /* libconfuse would put in what the environment says, and that differs
         * between a shell and the init system. */
        if (*s->p == '"' && p[0] == '$' && p[1] == '{') {
            (void)scan_fail(s, s->line, "variables are not replaced; write their value, or \\${");
            return TOKEN_BAD;
        }
        p += *p == '\\' && p[1] != '\n';
    }
    *word_r = mem_arena_strndup(s->arena, start, (size_t)(end - start));
    s->p = end + 1;
    return TOKEN_WORD;
}

/* What text processors and web pages make of quotes, dashes and spaces is none of them. */
static bool looks_plain(const char *word)
{
    return !strstr(word, "\xe2\x80") && !strstr(word, "\xc2\xa0");
}

/* The next token; a word's text goes into the arena. */
static enum token next_token(struct conf_scan *s, const char **word_r)
{
    static const char marks[] = "{}=,()";
    static const enum token tokens[] = {TOKEN_OPEN,  TOKEN_CLOSE, TOKEN_EQUALS,
                                        TOKEN_OTHER, TOKEN_OTHER, TOKEN_OTHER};
    const char *mark;

    for (; *s->p && strchr(" \t\r\n", *s->p); s->p++)
        s->line += *s->p == '\n';
    s->token = s->p;
    if (!*s->p)
        return TOKEN_END;
    mark = strchr(marks, *s->p);
    if (mark) {
        s->p++;
        return tokens[mark - marks];
    }
    if (*s->p == '"' || *s->p == '\'')
        return take_string(s, word_r);
    if (s->p[0] == '+' && s->p[1] == '=') {
        s->p += 2;
        return TOKEN_EQUALS;
    }
    while (in_word(*s->p))
        s->p++;
    if (s->p == s->token) { /* libconfuse would skip it in silence */
        (void)scan_fail(s, s->line, "%c cannot stand here; put a value that holds it in quotes",
                        *s->p);
        return TOKEN_BAD;
    }
    *word_r = mem_arena_strndup(s->arena, s->token, (size_t)(s->p - s->token));
    if (looks_plain(*word_r))
        return TOKEN_WORD;
    (void)scan_fail(s, s->line, "a typographic quote, dash or space stands here; write plain ones");
    return TOKEN_BAD;
}

static struct place *place_find(const struct conf_scan *s, const char *path)
{
    struct place *place = s->places;

    while (place && strcmp(place->path, path) != 0)
        place = place->next;
    return place;
}

/* False when it stands there already. */
static bool note(struct conf_scan *s, const char *path, int line, const char *what)
{
    struct place *place = place_find(s, path);

    if (place) {
        conf_mistake(s->mistakes, line, "%s stands there twice (first in line %d); remove one",
                     what, place->line);
        return false;
    }
    place = mem_arena_alloc(s->arena, sizeof(*place));
    place->path = path;
    place->line = line;
    place->next = s->places;
    s->places = place;
    return true;
}

static int section_by_name(const char *name, int parent)
{
    for (int i = 0; parent >= 0 && i < CONF_SECTION_COUNT; i++)
        if (strcmp(conf_sections[i].name, name) == 0 &&
            conf_section_inside((enum conf_section_id)i, (enum conf_section_id)parent))
            return i;
    return -1;
}

static const struct conf_key_entry *key_by_name(const char *name, int section)
{
    for (int i = 0; i < CONF_KEY_COUNT; i++)
        if ((int)conf_keys[i].section == section && strcmp(conf_keys[i].name, name) == 0)
            return &conf_keys[i];
    return NULL;
}

/* A value: a word or a list in braces. */
static bool skip_value(struct conf_scan *s, const char *key, int line, bool *list_r)
{
    const char *word = "";
    enum token token = next_token(s, &word);
    bool comma = true;

    *list_r = token == TOKEN_OPEN;
    if (token == TOKEN_WORD && *s->token == '[')
        return scan_fail(s, line, "%s: a list is written {a, b}, in braces", key);
    if (token == TOKEN_WORD && *s->token != '"' && *s->token != '\'' && strlen(word) > 1 &&
        word[strlen(word) - 1] == ';')
        return scan_fail(s, line, "%s: lines end without ;", key);
    if (token == TOKEN_WORD)
        return true;
    if (token != TOKEN_OPEN)
        return scan_fail(s, line, "%s: the value is missing; write %s = VALUE", key, key);
    for (;;) {
        token = next_token(s, &word);
        if (token == TOKEN_CLOSE)
            return true;
        if (token != (comma ? TOKEN_WORD : TOKEN_OTHER) || (!comma && *s->token != ','))
            return scan_fail(s, s->line, "%s: a list is written {a, b}", key);
        comma = !comma;
    }
}

/* `start`: where the item begins, to blank it when libconfuse shall not see it. */
static bool scan_setting(struct conf_scan *s, const struct scope *in, const char *name, int line,
                         char *start)
{
    const struct conf_key_entry *key = key_by_name(name, in->section);
    bool appends = *s->token == '+', list, good = true;

    if (!skip_value(s, name, line, &list))
        return false;
    if (in->section < 0)
        return true;
    if (!key) {
        conf_mistake(s->mistakes, line, "unknown key %s%s%s%s", name,
                     in->section ? " in section " : "", conf_sections[in->section].name,
                     conf_hint_key(s->arena, name, (enum conf_section_id)in->section));
        good = false;
    } else if ((list || appends) && key->kind != CONF_LIST) {
        conf_mistake(s->mistakes, line, "%s: takes one value; write %s = VALUE", name, name);
        good = false;
    } else if (in->prefix) {
        good = note(s, mem_arena_printf(s->arena, "%s%s", in->prefix, name), line, name);
    }
    if (!good)
        blank(start, s->p);
    return true;
}

static bool scan_items(struct conf_scan *s, const struct scope *in, const char *name, int line);

static bool scan_section(struct conf_scan *s, const struct scope *in, const char *name, int line,
                         char *start, const char *title)
{
    int id = section_by_name(name, in->section);
    struct scope inner = {.section = id, .depth = in->depth + 1};
    bool good = false;

    if (inner.depth > DEPTH_MAX)
        return scan_fail(s, line, "%s: sections within sections within sections", name);
    if (in->section >= 0 && id < 0) {
        conf_mistake(s->mistakes, line, "unknown section %s%s%s%s", name,
                     in->section ? " in section " : "", conf_sections[in->section].name,
                     conf_hint_section(s->arena, name, (enum conf_section_id)in->section));
    } else if (id >= 0 && conf_sections[id].titled != (title != NULL)) {
        conf_mistake(s->mistakes, line,
                     title ? "%s: takes no name; write %s { }"
                           : "%s: needs a name; write %s NAME { }",
                     name, name);
    } else if (id >= 0 && title && strpbrk(title, "\\\n")) {
        conf_mistake(s->mistakes, line, "%s \"%s\": a name holds no backslash and no line end",
                     name, title);
    } else if (id >= 0 && in->prefix) {
        const char *what = title ? mem_arena_printf(s->arena, "%s \"%s\"", name, title) : name;
        const char *path =
            mem_arena_printf(s->arena, "%s%s %s", in->prefix, name, title ? title : "");

        good = note(s, path, line, what);
        inner.prefix = good ? mem_arena_printf(s->arena, "%s/", path) : NULL;
    }
    if (!scan_items(s, &inner, name, line))
        return false;
    if (!good)
        blank(start, s->p);
    return true;
}

/* `name` and `line` are those of the section the items are in. */
static bool scan_items(struct conf_scan *s, const struct scope *in, const char *name, int line)
{
    const char *word = "", *title, *ignored, *before = NULL;
    int before_line = 0;
    enum token token;

    while ((token = next_token(s, &word)) == TOKEN_WORD) {
        char *start = s->token;
        int word_line = s->line;
        bool well;

        if (++s->items > ITEMS_MAX)
            return scan_fail(s, word_line, "%s: more than %d keys and sections; remove some", word,
                             ITEMS_MAX);
        if (strcmp(word, "include") == 0)
            return scan_fail(s, word_line, "%s", conf_hint_item(s->arena, word, NULL, NULL));
        if (before_line != word_line)
            before = NULL;
        title = NULL;
        token = next_token(s, &title);
        if (token == TOKEN_EQUALS) {
            well = scan_setting(s, in, word, word_line, start);
            before = word;
            before_line = s->line;
        } else {
            if (token == TOKEN_WORD)
                token = next_token(s, &ignored);
            if (token != TOKEN_OPEN)
                return scan_fail(s, word_line, "%s", conf_hint_item(s->arena, word, title, before));
            well = scan_section(s, in, word, word_line, start, title);
        }
        if (!well)
            return false;
    }
    if (token == (in->depth > 0 ? TOKEN_CLOSE : TOKEN_END))
        return true;
    if (token == TOKEN_END)
        return scan_fail(s, line, "section %s does not end; close it with }", name);
    return scan_fail(s, s->line,
                     "%c cannot stand here; remove it, or put the value it is in in quotes",
                     *s->token);
}

struct conf_scan *conf_scan_run(struct mem_arena *arena, char *text, struct conf_mistakes *m)
{
    struct conf_scan *s = mem_arena_alloc(arena, sizeof(*s));
    const struct scope top = {.section = CONF_SECTION_TOP, .prefix = ""};

    s->arena = arena;
    s->mistakes = m;
    s->p = text;
    s->line = 1;
    return scan_items(s, &top, "", 0) ? s : NULL;
}

int conf_scan_line(const struct conf_scan *scan, const char *path)
{
    struct place *place = place_find(scan, path);

    if (!place)
        return 0;
    place->read = true;
    return place->line;
}

void conf_scan_unread(const struct conf_scan *scan)
{
    for (const struct place *place = scan->places; place; place = place->next)
        if (!place->read)
            conf_mistake(scan->mistakes, place->line,
                         "%s: cannot be read here; write it on a line of its own", place->path);
}
