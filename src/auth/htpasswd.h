/*
 * htpasswd.h - a file of users and bcrypt hashes, as Apache's htpasswd(1) -B and
 * the distribution project have it: lines USER:HASH, `#` begins a comment.
 * The only user of crypt(3).
 */
#ifndef ENTREPOT_AUTH_HTPASSWD_H
#define ENTREPOT_AUTH_HTPASSWD_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>

#define HTPASSWD_FILE_MAX (4u << 20)
/* bcrypt takes no more of a password. */
#define HTPASSWD_PASSWORD_MAX 72
#define HTPASSWD_HASH_MAX     64
/* What new hashes cost (2^cost rounds); about 50 ms. */
#define HTPASSWD_COST 10

struct htpasswd_user {
    const char *name, *hash;
};

struct htpasswd {
    struct mem_arena *arena;
    struct htpasswd_user *users; /* by name, in byte order */
    size_t count;
};

/* Reads and checks. Every mistake is appended to `mistakes` as "FILE:LINE: message";
 * with any, INVALID and *htpasswd_r stays NULL. Also when the file cannot be read. */
must_check int htpasswd_load(const char *path, struct htpasswd **htpasswd_r, struct str *mistakes);
/* The same for its text. */
must_check int htpasswd_parse(const char *path, const char *text, size_t len,
                              struct htpasswd **htpasswd_r, struct str *mistakes);
void htpasswd_free(struct htpasswd **htpasswd);
/* NULL when there is none. */
const struct htpasswd_user *htpasswd_find(const struct htpasswd *htpasswd, const char *name);

/* Is it the password of that hash? Blocks for the hash's cost: pool only. */
bool htpasswd_verify(const char *hash, const char *password);
/* The same, but what fails takes as long as a hash of that cost, whatever this one costs, so
 * that time tells neither who exists nor whose hash is a cheap one. hash NULL: of nobody. */
bool htpasswd_verify_evenly(const char *hash, int cost, const char *password);
/* What the dearest of its hashes costs; HTPASSWD_COST without any. */
int htpasswd_cost(const struct htpasswd *htpasswd);
/* Hashes a new password with a random salt. TOO_BIG when bcrypt would cut it. */
must_check int htpasswd_hash(const char *password, int cost, char out[HTPASSWD_HASH_MAX]);

#endif
