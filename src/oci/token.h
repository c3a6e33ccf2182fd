/*
 * token.h - the tokens AUTH issues and workers check: JWT (RFC 7519) signed with
 * Ed25519 (RFC 8037), with the `access` claim of the distribution project's token
 * specification. Names in it are REPOSITORY:IMAGE as the configuration has them,
 * not as the client wrote them: one token means one thing on every connector.
 */
#ifndef ENTREPOT_OCI_TOKEN_H
#define ENTREPOT_OCI_TOKEN_H

#include "base/mem.h"
#include "base/sign.h"
#include "base/str.h"
#include "oci/name.h"
#include "oci/rights.h"

#include <stdbool.h>
#include <stdint.h>

#define TOKEN_SCOPES_MAX 16
/* "REPOSITORY:IMAGE" */
#define TOKEN_NAME_MAX (64 + 1 + NAME_IMAGE_MAX)
/* As text. */
#define TOKEN_TEXT_MAX 12288

struct token_scope {
    const char *name;
    unsigned rights; /* a set of enum right */
};

struct token {
    const char *user;             /* "": the anonymous */
    uint64_t stamp;               /* of the user's password or robot token when it was issued */
    uint64_t epoch;               /* of all of them; the same now: nobody was removed */
    uint64_t issued_s, expires_s; /* since 1970 */
    struct token_scope scopes[TOKEN_SCOPES_MAX];
    size_t scope_count;
    bool catalog; /* registry:catalog:* */
};

/* Appends the signed token. */
void token_write(const struct token *token, const struct sign_key *key, struct str *out);
/* Strings live in the arena. DENIED when it is no token of ours or its signature
 * is wrong, TIMEOUT when it is over (or from the future). */
must_check int token_read(struct mem_arena *arena, const char *text, const struct sign_key *key,
                          uint64_t now_s, struct token *token_r);

#endif
