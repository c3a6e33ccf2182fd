/*
 * conf_hint.c - what an operator may have meant: the end of a message about a mistake.
 *
 * Runs wherever a configuration is loaded. Pure; texts live in the caller's arena.
 * Guesses are for people alone: nothing is ever read otherwise because of one.
 */
#include "conf/conf_tree.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define NAME_LEN_MAX 24
#define SEE          "; see entrepot.conf(5)"

static char folded(char c)
{
    return c == '-' ? '_' : (char)tolower((unsigned char)c);
}

/* How many letters must be changed, added or left out; neighbours that changed places are one. */
static size_t distance(const char *a, const char *b)
{
    size_t la = strlen(a), lb = strlen(b), d[NAME_LEN_MAX + 1][NAME_LEN_MAX + 1];

    if (la > NAME_LEN_MAX || lb > NAME_LEN_MAX)
        return NAME_LEN_MAX;
    for (size_t i = 0; i <= la; i++)
        d[i][0] = i;
    for (size_t j = 0; j <= lb; j++)
        d[0][j] = j;
    for (size_t i = 1; i <= la; i++)
        for (size_t j = 1; j <= lb; j++) {
            size_t least = d[i - 1][j - 1] + (folded(a[i - 1]) != folded(b[j - 1]));

            least = d[i - 1][j] + 1 < least ? d[i - 1][j] + 1 : least;
            least = d[i][j - 1] + 1 < least ? d[i][j - 1] + 1 : least;
            if (i > 1 && j > 1 && folded(a[i - 1]) == folded(b[j - 2]) &&
                folded(a[i - 2]) == folded(b[j - 1]) && d[i - 2][j - 2] + 1 < least)
                least = d[i - 2][j - 2] + 1;
            d[i][j] = least;
        }
    return d[la][lb];
}

struct nearest {
    const char *wanted, *name;
    size_t distance;
};

static void nearer(struct nearest *n, const char *name)
{
    size_t d = distance(n->wanted, name);

    /* A third of the letters at most: else everything resembles `log`. */
    if (3 * d > strlen(name) + 1 || (n->name && d >= n->distance))
        return;
    n->name = name;
    n->distance = d;
}

static const char *place_of(struct mem_arena *arena, enum conf_section_id section)
{
    if (section == CONF_SECTION_TOP)
        return "at the top level";
    return mem_arena_printf(arena, "in %s%s { }", conf_sections[section].name,
                            conf_sections[section].titled ? " NAME" : "");
}

const char *conf_hint_key(struct mem_arena *arena, const char *name, enum conf_section_id section)
{
    struct nearest near = {.wanted = name};
    const char *places = "";

    for (size_t i = 0; i < CONF_KEY_COUNT; i++)
        if (strcmp(conf_keys[i].name, name) == 0)
            places = mem_arena_printf(arena, "%s%s%s", places, *places ? " or " : "",
                                      place_of(arena, conf_keys[i].section));
        else if (conf_keys[i].section == section)
            nearer(&near, conf_keys[i].name);
    if (*places)
        return mem_arena_printf(arena, "; its place is %s", places);
    if (near.name)
        return mem_arena_printf(arena, "; did you mean %s?", near.name);
    return SEE;
}

const char *conf_hint_section(struct mem_arena *arena, const char *name,
                              enum conf_section_id parent)
{
    struct nearest near = {.wanted = name};

    for (int i = CONF_SECTION_TOP + 1; i < CONF_SECTION_COUNT; i++) {
        enum conf_section_id id = (enum conf_section_id)i;

        if (conf_section_inside(id, parent))
            nearer(&near, conf_sections[i].name);
        else if (strcmp(conf_sections[i].name, name) == 0)
            return parent == CONF_SECTION_TOP
                       ? "; its place is in connector \"ADDRESS:PORT\" { }"
                       : "; its place is at the top level: is a } missing above?";
    }
    return near.name ? mem_arena_printf(arena, "; did you mean %s?", near.name) : SEE;
}

static bool ends_with(const char *text, char c)
{
    size_t len = strlen(text);

    return len > 0 && text[len - 1] == c;
}

static bool is_section(const char *name)
{
    for (int i = CONF_SECTION_TOP + 1; i < CONF_SECTION_COUNT; i++)
        if (strcmp(conf_sections[i].name, name) == 0)
            return true;
    return false;
}

const char *conf_hint_item(struct mem_arena *arena, const char *word, const char *next,
                           const char *before)
{
    if (strcmp(word, "include") == 0)
        return "there is no include: the whole configuration stands in this file";
    if (*word == ';')
        return "a comment begins with #";
    if (*word == '[')
        return "a section is written NAME { KEY = VALUE }, not in brackets";
    if (ends_with(word, ':'))
        return mem_arena_printf(arena, "%s: keys take =, not a colon; write %.*s = VALUE", word,
                                (int)strlen(word) - 1, word);
    if (before)
        return mem_arena_printf(arena,
                                "%s stands behind the value of %s; a number and its unit are one "
                                "word like 500G, a value with spaces stands in quotes",
                                word, before);
    if (next && ends_with(next, ';'))
        return mem_arena_printf(arena,
                                "%s: the = is missing and the ; is too much; write %s = %.*s", word,
                                word, (int)strlen(next) - 1, next);
    if (next && is_section(word))
        return mem_arena_printf(arena, "section %s \"%s\": the { is missing; write %s \"%s\" { }",
                                word, next, word, next);
    if (next)
        return mem_arena_printf(arena, "%s: the = is missing; write %s = %s", word, word, next);
    return mem_arena_printf(arena, "%s: write %s = VALUE, or %s { } for a section", word, word,
                            word);
}

/* "500GiB" means 500G, "10min" 10m. */
const char *conf_hint_unit(const char *text, bool size, char out[CONF_HINT_MAX])
{
    static const struct {
        const char *unit, *ours;
    } times[] = {{"sec", "s"},  {"secs", "s"}, {"second", "s"}, {"seconds", "s"},
                 {"min", "m"},  {"mins", "m"}, {"minute", "m"}, {"minutes", "m"},
                 {"hr", "h"},   {"hour", "h"}, {"hours", "h"},  {"day", "d"},
                 {"days", "d"}, {"S", "s"},    {"H", "h"},      {"D", "d"}};
    size_t digits = strspn(text, "0123456789");
    const char *unit = text + digits + strspn(text + digits, " ");
    int len = digits < 20 ? (int)digits : 20;

    *out = 0;
    if (digits == 0)
        return out;
    if (*unit == '.' || *unit == ',')
        snprintf(out, CONF_HINT_MAX, "; take a smaller unit: numbers are whole");
    else if (size && *unit && strchr("kKmMgGtT", *unit) &&
             (strcasecmp(unit + 1, "b") == 0 || strcasecmp(unit + 1, "ib") == 0 || !unit[1]))
        snprintf(out, CONF_HINT_MAX, "; here %.*s%c", len, text, toupper((unsigned char)*unit));
    for (size_t i = 0; !size && i < sizeof(times) / sizeof(times[0]); i++)
        if (strcmp(unit, times[i].unit) == 0)
            snprintf(out, CONF_HINT_MAX, "; here %.*s%s", len, text, times[i].ours);
    return out;
}

const char *conf_hint_address(struct mem_arena *arena, const char *text)
{
    const char *colon = strrchr(text, ':');
    size_t digits = strspn(text, "0123456789"), host = colon ? (size_t)(colon - text) : 0;

    if (strstr(text, "://"))
        return "not a URL but the address alone; write \"127.0.0.1:8082\"; tls_certificate makes "
               "it HTTPS";
    if (digits > 0 && !text[digits])
        return mem_arena_printf(arena,
                                "the address is missing; write \"*:%s\" for all of this "
                                "machine or \"127.0.0.1:%s\"",
                                text, text);
    if (!colon || ends_with(text, ']'))
        return mem_arena_printf(arena, "the port is missing; write \"%s:8082\"", text);
    if (host == 0)
        return mem_arena_printf(arena, "write \"*%s\" for all addresses of this machine", text);
    if (colon[1] && strspn(colon + 1, "0123456789") == strlen(colon + 1) && *text != '[' &&
        strspn(text, "0123456789.*") == host && strlen(colon + 1) >= 5)
        return mem_arena_printf(arena, "%s is no port; they end at 65535", colon + 1);
    if (*text != '[' && isalpha((unsigned char)*text) && !memchr(text, ':', host))
        return "names are not looked up, because what they stand for may change or be another "
               "machine's; write an address of this machine, or * for all; names that clients use "
               "go into host NAME { }";
    return "write \"127.0.0.1:8082\", \"[::1]:8082\" or \"*:8082\"";
}
