/*
 * conf_tree.h - a configuration file as sections and settings, before it means
 * anything; and the list of mistakes.
 */
#ifndef ENTREPOT_CONF_CONF_TREE_H
#define ENTREPOT_CONF_CONF_TREE_H

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "conf/conf_schema.h"

struct conf_setting {
    const char **values;
    size_t count; /* 0: not in the file */
    int line;
};

struct conf_section {
    enum conf_section_id id;
    const char *title; /* "" when it has none */
    int line;
    struct conf_setting settings[CONF_KEY_COUNT]; /* those of this section's kind are used */
    struct conf_section *children, *next;         /* in the order of the file, by kind */
};

struct conf_mistakes {
    const char *file;
    struct str *out;
    size_t count;
};

/* One line "FILE:LINE: ..."; control characters of the file become question marks. */
__attribute__((format(printf, 3, 4))) void conf_mistake(struct conf_mistakes *m, int line,
                                                        const char *format, ...);

/* conf_scan.c: where things stand. Syntax errors, unknown, repeated and
 * ill-shaped items are mistakes found here, with their lines. */
struct conf_scan;
/* Replaces comments by spaces in place: the parser miscounts lines over them.
 * Returns the line of a comment that does not end, else 0. */
must_check int conf_scan_blank_comments(char *text);
/* Replaces items that are mistakes by spaces, too. NULL after a syntax error. */
struct conf_scan *conf_scan_run(struct mem_arena *arena, char *text, struct conf_mistakes *m);
/* The line of a path like "connector 0.0.0.0:80/host a.example/repository", which counts as read
 * from then on; 0 when it is not in the file. */
int conf_scan_line(const struct conf_scan *scan, const char *path);
/* A mistake for each item in the file that conf_scan_line() was never asked for. */
void conf_scan_unread(const struct conf_scan *scan);

/* conf_hint.c: the end of a message, with its "; ". In the arena or static. */
const char *conf_hint_key(struct mem_arena *arena, const char *name, enum conf_section_id section);
const char *conf_hint_section(struct mem_arena *arena, const char *name,
                              enum conf_section_id parent);
/* A whole message about a word that neither = nor { follows. `next`: the word behind it, or NULL;
 * `before`: the key whose value stands before it in the line, or NULL. */
const char *conf_hint_item(struct mem_arena *arena, const char *word, const char *next,
                           const char *before);
#define CONF_HINT_MAX 64
/* About a number's unit, "" without a guess. */
const char *conf_hint_unit(const char *text, bool size, char out[CONF_HINT_MAX]);
/* What is wrong with a connector's address. */
const char *conf_hint_address(struct mem_arena *arena, const char *text);

/* conf_load.c: parses the text with libconfuse into a tree in the arena. Syntax
 * errors are mistakes and leave *root_r NULL. */
void conf_tree_parse(struct mem_arena *arena, const char *text, struct conf_mistakes *m,
                     struct conf_section **root_r);

/* conf_value.c: a setting's value or its default, checked; a mistake yields the default. */
const char *conf_text(const struct conf_section *s, enum conf_key_id key);
uint64_t conf_size(const struct conf_section *s, enum conf_key_id key, struct conf_mistakes *m);
uint64_t conf_time_ms(const struct conf_section *s, enum conf_key_id key, struct conf_mistakes *m);
uint64_t conf_count(const struct conf_section *s, enum conf_key_id key, struct conf_mistakes *m);
bool conf_bool(const struct conf_section *s, enum conf_key_id key, struct conf_mistakes *m);
/* Place of the word among the key's choices. */
int conf_choice(const struct conf_section *s, enum conf_key_id key, struct conf_mistakes *m);
/* Absolute, in the arena, without empty and "." components; "" stays "". */
char *conf_path(const struct conf_section *s, enum conf_key_id key, struct mem_arena *arena,
                struct conf_mistakes *m);
/* Must be unsigned decimal with an optional unit of `units` ("K M G T"). */
must_check int conf_number(const char *text, const char *const *units, const uint64_t *factors,
                           uint64_t *value_r);

/* What conf_load() builds, and from what. */
struct conf_build {
    struct conf *conf;
    struct mem_arena *arena;
    const struct conf_section *root;
    struct conf_mistakes *m;
};

#define CONF_LETTERS_DIGITS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

size_t conf_sections_count(const struct conf_section *root, enum conf_section_id id);
/* A section's title as a name; `in_paths`: it stands in image names too. */
void conf_check_name(struct conf_build *b, const struct conf_section *s, bool in_paths);
/* conf_repo.c; blob stores must be there. */
void conf_build_repos(struct conf_build *b);
void conf_build_reserve(struct conf_build *b);
/* conf_connector.c; repositories must be there. */
void conf_build_connectors(struct conf_build *b);

/* conf_auth.c; repositories must be there. */
void conf_build_auth(struct conf_build *b);

/* conf_later.c: features of later versions, refused loudly. */
void conf_refuse_later(const struct conf_section *root, struct conf_mistakes *m);

#endif
