/*
 * robots.h - robot tokens: random passwords for machines, kept as SHA-256 (they
 * are 256 random bits: a slow hash would add nothing) in data_dir/auth/robots.
 */
#ifndef ENTREPOT_AUTH_ROBOTS_H
#define ENTREPOT_AUTH_ROBOTS_H

#include "base/digest.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ROBOTS_MAX 10000

struct robot {
    char *name, *user;             /* user "": its own name's rights */
    uint64_t created_s, expires_s; /* since 1970; 0: never */
    struct digest digest;          /* of the token */
};

struct robots {
    struct robot *list;
    size_t count;
};

/* An absent file is no robots. INVALID with lines in `mistakes`. */
must_check int robots_load(const char *path, struct robots *robots_r, struct str *mistakes);
void robots_free(struct robots *robots);
struct robot *robots_find(const struct robots *robots, const char *name);
/* Takes copies. The caller has looked that the name is free. */
void robots_add(struct robots *robots, const char *name, const char *user, uint64_t created_s,
                uint64_t expires_s, const struct digest *digest);
void robots_remove(struct robots *robots, const char *name);
/* Is it the token of that robot, and not over? Constant time in the token. */
bool robots_match(const struct robot *robot, const char *token, uint64_t now_s);
/* The whole file's text, appended. */
void robots_text(const struct robots *robots, struct str *out);

#endif
