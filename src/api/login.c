/*
 * login.c - who asks.
 *
 * Runs in workers, on the loop. Good verdicts are kept for a minute under a
 * keyed hash of the whole Authorization header, so a pull costs one HMAC and
 * neither password nor token stays in memory; all are forgotten when AUTH tells
 * that a user or robot has changed. A token's signature is checked here; whether
 * its user still exists is asked only when users changed since it was issued.
 * When AUTH is dead, what is known keeps working for some seconds and the rest
 * waits for its successor. A crash here costs requests, and what was remembered is asked again.
 */
#include "api/login.h"

#include "api/audit.h"
#include "api/challenge.h"
#include "api/credentials.h"
#include "base/container.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sign.h"
#include "ipc/msg_auth.h"
#include "ipc/role.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>
#include <unistd.h>
#include <uthash.h>

#define AUTH_QUEUE  1024
#define KEEP_MS     60000
#define VERDICT_MAX 8192
/* While it is used, what is remembered is confirmed this often; what AUTH has not confirmed for
 * so long does not count: its respawn takes less, and whoever was deleted while it hangs is out. */
#define CONFIRM_MS 1000
#define TRUST_MS   10000

struct verdict {
    struct api_user user;
    struct mem_arena *arena;
    uint8_t mac[SIGN_MAC_BYTES];
    uint64_t until_ms;
    unsigned holders;
    bool kept; /* in table and list */
    TAILQ_ENTRY(verdict) entry;
    UT_hash_handle hh;
};

struct logins {
    struct api *api;
    struct link *link;
    struct sign_mac *mac;
    struct sign_key *key; /* AUTH's public half; NULL: not told yet */
    uint64_t epoch;
    struct verdict *table;      /* by mac */
    TAILQ_HEAD(, verdict) list; /* oldest first */
    struct ask hello, confirm;
    bool confirming;       /* the ask is under way */
    uint64_t confirmed_ms; /* when AUTH told its state last; 0: never */
};

/* A login under way. */
struct login {
    void (*next)(struct api_call *call);
    struct credentials credentials;
    uint8_t mac[SIGN_MAC_BYTES];
    struct token token;
};

static const struct api_user anonymous = {.name = ""};

static void verdict_forget(struct logins *l, struct verdict *v)
{
    HASH_DEL(l->table, v);
    TAILQ_REMOVE(&l->list, v, entry);
    v->kept = false;
    if (v->holders == 0) {
        mem_arena_free(&v->arena);
        free(v);
    }
}

static void verdicts_forget_all(struct logins *l)
{
    struct verdict *v;

    while ((v = TAILQ_FIRST(&l->list)) != NULL)
        verdict_forget(l, v);
}

static struct verdict *verdict_find(struct logins *l, const uint8_t mac[SIGN_MAC_BYTES])
{
    struct verdict *v;

    HASH_FIND(hh, l->table, mac, SIGN_MAC_BYTES, v);
    if (v && v->until_ms <= loop_now_ms(l->api->loop)) {
        verdict_forget(l, v);
        v = NULL;
    }
    return v;
}

static void hold(struct api_call *call, struct verdict *v)
{
    v->holders++;
    call->user = &v->user;
}

static void verdict_keep(struct logins *l, struct verdict *v, const uint8_t mac[SIGN_MAC_BYTES],
                         uint64_t for_ms)
{
    struct verdict *old = verdict_find(l, mac);

    if (old)
        verdict_forget(l, old);
    else if (HASH_COUNT(l->table) >= VERDICT_MAX)
        verdict_forget(l, TAILQ_FIRST(&l->list));
    memcpy(v->mac, mac, SIGN_MAC_BYTES);
    v->until_ms = loop_now_ms(l->api->loop) + (for_ms < KEEP_MS ? for_ms : KEEP_MS);
    v->kept = true;
    HASH_ADD(hh, l->table, mac, SIGN_MAC_BYTES, v);
    TAILQ_INSERT_TAIL(&l->list, v, entry);
}

void login_release(struct api_call *call)
{
    struct verdict *v;

    if (!call->user || call->user == &anonymous)
        return;
    v = CONTAINER_OF((struct api_user *)(uintptr_t)call->user, struct verdict, user);
    call->user = NULL;
    if (--v->holders == 0 && !v->kept) {
        mem_arena_free(&v->arena);
        free(v);
    }
}

/* News of AUTH, or its first words. */
static void take_state(struct logins *l, struct msg_reader *m)
{
    struct auth_state state;
    struct sign_key *key;

    auth_state_get(m, &state);
    if (msg_end(m) != 0)
        return;
    key = sign_key_public(state.public_key);
    if (!key)
        return;
    sign_key_free(&l->key);
    l->key = key;
    if (l->epoch != state.epoch)
        verdicts_forget_all(l);
    l->epoch = state.epoch;
    l->confirmed_ms = loop_now_ms(l->api->loop);
}

static void confirm_done(struct ask *ask, int err, struct msg_reader *reply, int fd)
{
    struct logins *l = CONTAINER_OF(ask, struct logins, confirm);

    l->confirming = false;
    if (fd >= 0)
        close(fd);
    if (err == 0 && reply_err_get(reply) == 0)
        take_state(l, reply);
}

/* Does what AUTH told some time ago still count? */
static bool confirmed(struct logins *l)
{
    uint64_t age_ms = loop_now_ms(l->api->loop) - l->confirmed_ms;

    if (age_ms >= CONFIRM_MS && !l->confirming) {
        l->confirming = true;
        l->confirm.done = confirm_done;
        link_ask_begin(l->link, &l->confirm, MSG_AUTH_HELLO);
        link_ask_send(l->link, &l->confirm);
    }
    return l->confirmed_ms > 0 && age_ms < TRUST_MS;
}

static void hello_done(struct ask *ask, int err, struct msg_reader *reply, int fd)
{
    struct logins *l = CONTAINER_OF(ask, struct logins, hello);

    if (fd >= 0)
        close(fd);
    if (err == 0 && reply_err_get(reply) == 0)
        take_state(l, reply);
}

static void auth_connected(struct link *link, void *ctx)
{
    struct logins *l = ctx;

    l->hello.done = hello_done;
    link_ask_begin(link, &l->hello, MSG_AUTH_HELLO);
    link_ask_send_first(link, &l->hello);
}

static void auth_message(struct link *link, struct msg_reader *message, int fd, void *ctx)
{
    (void)link;
    if (fd >= 0)
        close(fd);
    if (message->type == MSG_AUTH_STATE)
        take_state(ctx, message);
}

struct logins *login_new(struct api *api, int run_dir_fd)
{
    struct logins *l = mem_alloc(sizeof(*l));
    struct link_setup setup = {.loop = api->loop,
                               .dir_fd = run_dir_fd,
                               .role = MSG_ROLE_AUTH,
                               .queue_max = AUTH_QUEUE,
                               .on_connect = auth_connected,
                               .on_message = auth_message,
                               .ctx = l};

    l->api = api;
    l->mac = sign_mac_new();
    TAILQ_INIT(&l->list);
    l->link = link_new(&setup);
    return l;
}

struct link *login_link(struct logins *logins)
{
    return logins->link;
}

char *login_peer(const struct api_call *call, char *out)
{
    const struct net_addr *peer = &call->r->client; /* behind trusted proxies, too */
    char *end;

    net_addr_text((const struct sockaddr *)&peer->ss, peer->len, out);
    end = strrchr(out, ':');
    if (end)
        *end = 0;
    if (*out == '[') { /* [::1] */
        size_t len = strlen(out);

        memmove(out, out + 1, len);
        if (len > 2)
            out[len - 2] = 0;
    }
    return out;
}

void login_answer_err(struct api_call *call, int err)
{
    if (err == ERR_QUOTA)
        problem_answer(call->r, PROBLEM_TOO_MANY_LOGINS, NULL);
    else
        problem_answer(call->r, problem_from_err(err), NULL);
}

static void login_failed(struct api_call *call, const char *reason)
{
    const struct login *login = call->login;

    audit_login_failed(call, login->credentials.user, reason);
    challenge_answer(call, login->credentials.kind == CREDENTIALS_BEARER ? CHALLENGE_INVALID_TOKEN
                                                                         : CHALLENGE_WRONG);
}

static struct verdict *verdict_new(const char *name)
{
    struct verdict *v = mem_alloc(sizeof(*v));

    v->arena = mem_arena_new();
    v->user.name = mem_arena_strdup(v->arena, name);
    v->user.known = *name != 0;
    return v;
}

static void basic_done(struct ask *ask, int err, struct msg_reader *reply, int fd)
{
    struct api_call *call = api_call_of_ask(ask);
    struct login *login = call->login;
    struct verdict *v;
    const char *name;

    err = api_reply_err(err, reply, fd);
    if (err == ERR_DENIED) {
        login_failed(call, "password");
        return;
    }
    name = err == 0 ? auth_name_get(reply) : "";
    if (err == 0)
        err = msg_end(reply);
    if (err != 0) {
        if (err == ERR_QUOTA)
            audit_login_failed(call, login->credentials.user, "slowed");
        login_answer_err(call, err);
        return;
    }
    v = verdict_new(name);
    verdict_keep(call->api->logins, v, login->mac, KEEP_MS);
    hold(call, v);
    login->next(call);
}

static void basic_ask(struct api_call *call)
{
    struct login *login = call->login;
    struct link *link = call->api->logins->link;
    char peer[NET_ADDR_TEXT_MAX];
    struct auth_question q = {.user = login->credentials.user,
                              .password = login->credentials.password,
                              .peer = login_peer(call, peer)};

    auth_question_put(link_ask_begin(link, &call->ask, MSG_AUTH_LOGIN), &q);
    call->ask.done = basic_done;
    link_ask_send(link, &call->ask);
}

static void token_good(struct api_call *call)
{
    struct login *login = call->login;
    const struct token *t = &login->token;
    uint64_t now_s = (uint64_t)time(NULL);
    struct verdict *v = verdict_new(t->user);
    struct token_scope *scopes =
        mem_arena_alloc(v->arena, (t->scope_count + 1) * sizeof(*v->user.scopes));

    for (size_t i = 0; i < t->scope_count; i++)
        scopes[i] = (struct token_scope){.name = mem_arena_strdup(v->arena, t->scopes[i].name),
                                         .rights = t->scopes[i].rights};
    v->user.token = true;
    v->user.catalog = t->catalog;
    v->user.scopes = scopes;
    v->user.scope_count = t->scope_count;
    verdict_keep(call->api->logins, v, login->mac,
                 t->expires_s > now_s ? (t->expires_s - now_s) * 1000 : 0);
    hold(call, v);
    login->next(call);
}

static void token_checked(struct ask *ask, int err, struct msg_reader *reply, int fd)
{
    struct api_call *call = api_call_of_ask(ask);

    err = api_reply_err(err, reply, fd);
    if (err == 0)
        token_good(call);
    else if (err == ERR_DENIED)
        login_failed(call, "revoked");
    else
        login_answer_err(call, err);
}

static void token_check(struct api_call *call)
{
    struct login *login = call->login;
    struct logins *l = call->api->logins;
    struct auth_check check;
    int err = token_read(call->r->arena, login->credentials.token, l->key, (uint64_t)time(NULL),
                         &login->token);

    if (err != 0) {
        login_failed(call, err == ERR_TIMEOUT ? "expired" : "token");
        return;
    }
    if ((login->token.epoch == l->epoch && confirmed(l)) || !*login->token.user) {
        token_good(call);
        return;
    }
    check = (struct auth_check){login->token.user, login->token.stamp};
    auth_check_put(link_ask_begin(l->link, &call->ask, MSG_AUTH_CHECK), &check);
    call->ask.done = token_checked;
    link_ask_send(l->link, &call->ask);
}

static void key_told(struct ask *ask, int err, struct msg_reader *reply, int fd)
{
    struct api_call *call = api_call_of_ask(ask);

    err = api_reply_err(err, reply, fd);
    if (err == 0)
        take_state(call->api->logins, reply);
    if (call->api->logins->key)
        token_check(call);
    else
        login_answer_err(call, err != 0 ? err : ERR_UNAVAILABLE);
}

static void bearer_begin(struct api_call *call)
{
    struct link *link = call->api->logins->link;

    if (call->api->logins->key) {
        token_check(call);
        return;
    }
    link_ask_begin(link, &call->ask, MSG_AUTH_HELLO);
    call->ask.done = key_told;
    link_ask_send(link, &call->ask);
}

/* True when the answer is known already. */
static bool remembered(struct api_call *call, const uint8_t mac[SIGN_MAC_BYTES],
                       void (*next)(struct api_call *call))
{
    struct logins *l = call->api->logins;
    struct verdict *v = confirmed(l) ? verdict_find(l, mac) : NULL;

    if (!v)
        return false;
    hold(call, v);
    next(call);
    return true;
}

static void login_start(struct api_call *call, const struct credentials *credentials,
                        const uint8_t mac[SIGN_MAC_BYTES], void (*next)(struct api_call *call))
{
    struct login *login = call->login = mem_arena_alloc(call->r->arena, sizeof(*login));

    login->next = next;
    login->credentials = *credentials;
    memcpy(login->mac, mac, SIGN_MAC_BYTES);
    if (credentials->kind == CREDENTIALS_NONE) {
        call->user = &anonymous;
        next(call);
    } else if (credentials->kind == CREDENTIALS_BASIC) {
        basic_ask(call);
    } else if (credentials->kind == CREDENTIALS_BEARER) {
        bearer_begin(call);
    } else {
        login_failed(call, "malformed");
    }
}

/* Who has shown a certificate of the connector's CAs has logged in by it; a password or a
 * token that comes as well counts instead. The verdict is this request's alone. */
static const struct api_user *by_certificate(struct api_call *call)
{
    struct verdict *v;

    if (!conf_user_ok(call->r->client_name))
        return &anonymous;
    v = verdict_new(call->r->client_name);
    v->holders = 1;
    return &v->user;
}

void login_begin(struct api_call *call, void (*next)(struct api_call *call))
{
    const char *header = http_header_get(call->r, "Authorization");
    struct credentials credentials;
    uint8_t mac[SIGN_MAC_BYTES];

    if (!header) {
        call->user = *call->r->client_name ? by_certificate(call) : &anonymous;
        next(call);
        return;
    }
    sign_mac_of(call->api->logins->mac, header, strlen(header), mac);
    if (http_header_count(call->r, "Authorization") > 1) {
        credentials = (struct credentials){.kind = CREDENTIALS_BAD};
    } else {
        if (remembered(call, mac, next))
            return;
        credentials_parse(header, call->r->arena, &credentials);
    }
    login_start(call, &credentials, mac, next);
}

void login_password(struct api_call *call, const struct credentials *credentials,
                    void (*next)(struct api_call *call))
{
    struct credentials c = *credentials;
    uint8_t mac[SIGN_MAC_BYTES] = {0};
    struct str text = {0};

    if (c.kind == CREDENTIALS_BASIC &&
        (!conf_user_ok(c.user) || strlen(c.password) > AUTH_PASSWORD_MAX))
        c = (struct credentials){.kind = CREDENTIALS_BAD};
    if (c.kind == CREDENTIALS_BASIC) {
        str_append(&text, c.user, strlen(c.user) + 1); /* no header holds this byte 0 */
        str_puts(&text, c.password);
        sign_mac_of(call->api->logins->mac, text.data, text.len, mac);
        explicit_bzero(text.data, text.len);
        str_free(&text);
        if (remembered(call, mac, next))
            return;
    }
    login_start(call, &c, mac, next);
}
