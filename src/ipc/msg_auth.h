/*
 * msg_auth.h - the contents of the messages to and from AUTH, each written and
 * read in one place so that both sides agree.
 */
#ifndef ENTREPOT_IPC_MSG_AUTH_H
#define ENTREPOT_IPC_MSG_AUTH_H

#include "base/sign.h"
#include "ipc/msg.h"
#include "oci/token.h"

#define AUTH_PASSWORD_MAX 512
/* What every robot token begins with: for secret scanners, and so that it is
 * never tried as a password. */
#define AUTH_ROBOT_PREFIX "ept_"

/* AUTH_STATE, and the reply to AUTH_HELLO behind its error. */
struct auth_state {
    uint64_t epoch; /* changes whenever a user or robot changes or goes; the same after a restart */
    uint8_t public_key[SIGN_PUBLIC_BYTES];
};

/* AUTH_LOGIN; AUTH_TOKEN also has `token`'s scopes and catalog (its user "" is the
 * anonymous). Replies: LOGIN: a name, the user whose rights count (a robot may act for another);
 * TOKEN: struct auth_issued.
 * err: DENIED wrong; QUOTA too many failures of this address or user, try again
 * later; BUSY, UNAVAILABLE: no verdict. */
struct auth_question {
    const char *user, *password;
    const char *peer; /* address without port */
    struct token_scope scopes[TOKEN_SCOPES_MAX];
    uint32_t scope_count;
    bool catalog;
};

struct auth_issued {
    const char *token;
    uint64_t issued_s; /* since 1970 */
    uint32_t ttl_s;
};

/* AUTH_CHECK: does a token of that user and stamp still count? Reply: 0 or DENIED. */
struct auth_check {
    const char *user;
    uint64_t stamp;
};

/* ROBOT_CREATE, whose reply is the robot's token, and each entry of the reply to ROBOT_LIST (with
 * DAMAGED, too: then there are none). ROBOT_REVOKE: a name. */
struct auth_robot {
    const char *name;
    const char *user;   /* whose rights it has; "": those of its own name */
    uint64_t created_s; /* since 1970 */
    uint64_t expires_s; /* 0: never; in ROBOT_CREATE seconds from now */
};

void auth_state_put(struct msg_writer *w, const struct auth_state *s);
void auth_state_get(struct msg_reader *r, struct auth_state *s_r);
void auth_question_put(struct msg_writer *w, const struct auth_question *q);
void auth_question_get(struct msg_reader *r, struct auth_question *q_r);
void auth_issued_put(struct msg_writer *w, const struct auth_issued *i);
void auth_issued_get(struct msg_reader *r, struct auth_issued *i_r);
/* Of a user or a robot; CONF_USER_MAX. */
void auth_name_put(struct msg_writer *w, const char *name);
const char *auth_name_get(struct msg_reader *r);
void auth_check_put(struct msg_writer *w, const struct auth_check *c);
void auth_check_get(struct msg_reader *r, struct auth_check *c_r);
void auth_robot_put(struct msg_writer *w, const struct auth_robot *robot);
void auth_robot_get(struct msg_reader *r, struct auth_robot *robot_r);
void auth_robot_token_put(struct msg_writer *w, const char *token);
const char *auth_robot_token_get(struct msg_reader *r);

#endif
