/*
 * msg_auth.c - encoding of the messages of msg_auth.h. Pure; any process.
 */
#include "ipc/msg_auth.h"

#include "conf/conf.h"

#include <string.h>

#define PEER_MAX 64

_Static_assert(TOKEN_NAME_MAX == CONF_NAME_MAX + 1 + NAME_IMAGE_MAX, "REPOSITORY:IMAGE");

void auth_state_put(struct msg_writer *w, const struct auth_state *s)
{
    msg_put_u64(w, s->epoch);
    msg_put_bytes(w, s->public_key, sizeof(s->public_key));
}

void auth_state_get(struct msg_reader *r, struct auth_state *s_r)
{
    size_t len;
    const void *key;

    s_r->epoch = msg_get_u64(r);
    key = msg_get_bytes(r, SIGN_PUBLIC_BYTES, &len);
    if (len == SIGN_PUBLIC_BYTES)
        memcpy(s_r->public_key, key, len);
    else
        r->bad = true;
}

void auth_question_put(struct msg_writer *w, const struct auth_question *q)
{
    msg_put_str(w, q->user);
    msg_put_str(w, q->password);
    msg_put_str(w, q->peer);
    msg_put_u8(w, q->catalog);
    msg_put_u32(w, q->scope_count);
    for (uint32_t i = 0; i < q->scope_count; i++) {
        msg_put_str(w, q->scopes[i].name);
        msg_put_u32(w, q->scopes[i].rights);
    }
}

void auth_question_get(struct msg_reader *r, struct auth_question *q_r)
{
    q_r->user = msg_get_str(r, CONF_USER_MAX);
    q_r->password = msg_get_str(r, AUTH_PASSWORD_MAX);
    q_r->peer = msg_get_str(r, PEER_MAX);
    q_r->catalog = msg_get_u8(r);
    q_r->scope_count = msg_get_u32(r);
    if (q_r->scope_count > TOKEN_SCOPES_MAX) {
        r->bad = true;
        q_r->scope_count = 0;
    }
    for (uint32_t i = 0; i < q_r->scope_count; i++) {
        q_r->scopes[i].name = msg_get_str(r, TOKEN_NAME_MAX);
        q_r->scopes[i].rights = msg_get_u32(r);
    }
}

void auth_issued_put(struct msg_writer *w, const struct auth_issued *i)
{
    msg_put_str(w, i->token);
    msg_put_u64(w, i->issued_s);
    msg_put_u32(w, i->ttl_s);
}

void auth_issued_get(struct msg_reader *r, struct auth_issued *i_r)
{
    i_r->token = msg_get_str(r, TOKEN_TEXT_MAX);
    i_r->issued_s = msg_get_u64(r);
    i_r->ttl_s = msg_get_u32(r);
}

void auth_name_put(struct msg_writer *w, const char *name)
{
    msg_put_str(w, name);
}

const char *auth_name_get(struct msg_reader *r)
{
    return msg_get_str(r, CONF_USER_MAX);
}

void auth_check_put(struct msg_writer *w, const struct auth_check *c)
{
    msg_put_str(w, c->user);
    msg_put_u64(w, c->stamp);
}

void auth_check_get(struct msg_reader *r, struct auth_check *c_r)
{
    c_r->user = msg_get_str(r, CONF_USER_MAX);
    c_r->stamp = msg_get_u64(r);
}

void auth_robot_put(struct msg_writer *w, const struct auth_robot *robot)
{
    msg_put_str(w, robot->name);
    msg_put_str(w, robot->user);
    msg_put_u64(w, robot->created_s);
    msg_put_u64(w, robot->expires_s);
}

void auth_robot_get(struct msg_reader *r, struct auth_robot *robot_r)
{
    robot_r->name = msg_get_str(r, CONF_USER_MAX);
    robot_r->user = msg_get_str(r, CONF_USER_MAX);
    robot_r->created_s = msg_get_u64(r);
    robot_r->expires_s = msg_get_u64(r);
}

void auth_robot_token_put(struct msg_writer *w, const char *token)
{
    msg_put_str(w, token);
}

const char *auth_robot_token_get(struct msg_reader *r)
{
    return msg_get_str(r, AUTH_PASSWORD_MAX);
}
