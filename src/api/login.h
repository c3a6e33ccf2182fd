/*
 * login.h - who asks: credentials become a user, from memory when they were good
 * within the last minute, else from AUTH or, for tokens, from their signature.
 */
#ifndef ENTREPOT_API_LOGIN_H
#define ENTREPOT_API_LOGIN_H

#include "api/api.h"

/* Who a request is from. Held by the requests and by the memory of verdicts. */
struct credentials;

struct api_user {
    const char *name; /* "": the anonymous */
    bool known;       /* has logged in */
    bool token;       /* by a token: its scopes bound what it may */
    bool catalog;     /* the token's */
    const struct token_scope *scopes;
    size_t scope_count;
};

struct logins;

/* Only when the configuration has logins. */
struct logins *login_new(struct api *api, int run_dir_fd);
/* Finds out who asks and calls next with call->user set, at once or later; or has
 * answered: 401 for what is wrong, 429, 503. */
void login_begin(struct api_call *call, void (*next)(struct api_call *call));
/* The same for a user and password that came another way, or none; nothing else is taken. */
void login_password(struct api_call *call, const struct credentials *credentials,
                    void (*next)(struct api_call *call));
/* Lets go of call->user; call at the request's end. */
void login_release(struct api_call *call);
/* The client's address without port, in out[NET_ADDR_TEXT_MAX]; returns out. */
char *login_peer(const struct api_call *call, char *out);
/* Answers what a question to AUTH ended with when it was no verdict: 429 or 503. */
void login_answer_err(struct api_call *call, int err);
struct link *login_link(struct logins *logins);

#endif
