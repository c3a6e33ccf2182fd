/*
 * auth.c - the auth process: its start, its questions, its news.
 *
 * Started by the master. Alone holds password hashes, robot tokens and the key
 * that signs; only processes of the daemon's account reach its socket. A crash
 * here leaves questions that its successor answers, and clients whose verdict a
 * worker remembers do not notice.
 */
#include "auth/auth.h"

#include "auth/state.h"
#include "base/container.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "base/siphash.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PEERS_MAX 512
#define LOOK_MS   1000
/* Threads for bcrypt: they are few on purpose, it must not take the machine. */
#define THREADS_MAX 4

uint64_t auth_stamp(const struct auth *a, const char *secret)
{
    uint64_t hash[2];

    siphash_128(a->stamp_key, secret, strlen(secret), hash);
    return hash[0];
}

static void state_put(const struct auth *a, struct msg_writer *w)
{
    struct auth_state state = {.epoch = a->epoch};

    memcpy(state.public_key, a->public_key, sizeof(state.public_key));
    auth_state_put(w, &state);
}

void auth_changed(struct auth *a)
{
    struct msg_writer w = {0};
    struct str all = {0};

    for (size_t i = 0; a->users && i < a->users->count; i++)
        str_printf(&all, "%s:%s\n", a->users->users[i].name, a->users->users[i].hash);
    robots_text(&a->robots, &all);
    str_puts(&all, "."); /* never empty */
    a->epoch = auth_stamp(a, all.data);
    explicit_bzero(all.data, all.len);
    str_free(&all);
    if (!a->serve)
        return;
    msg_begin(&w, MSG_AUTH_STATE, 0);
    state_put(a, &w);
    serve_broadcast(a->serve, &w, -1);
}

void auth_answer_err(struct auth *a, struct serve_return to, int err)
{
    struct msg_writer answer = {0};

    serve_reply_begin(&answer, to);
    reply_err_put(&answer, err);
    serve_reply(a->serve, to, &answer, -1);
}

static int auth_hello(struct auth *a, struct serve_return to, struct msg_reader *m)
{
    struct msg_writer answer = {0};
    int err = msg_end(m);

    if (err != 0)
        return err;
    serve_reply_begin(&answer, to);
    reply_err_put(&answer, 0);
    state_put(a, &answer);
    serve_reply(a->serve, to, &answer, -1);
    return 0;
}

static const struct {
    int (*answer)(struct auth *a, struct serve_return to, struct msg_reader *m);
} questions[MSG_TYPE_COUNT] = {
    [MSG_AUTH_HELLO] = {auth_hello},          [MSG_AUTH_LOGIN] = {auth_login},
    [MSG_AUTH_TOKEN] = {auth_token},          [MSG_AUTH_CHECK] = {auth_check},
    [MSG_ROBOT_CREATE] = {auth_robot_create}, [MSG_ROBOT_REVOKE] = {auth_robot_revoke},
    [MSG_ROBOT_LIST] = {auth_robot_list},
};

static int auth_message(struct serve *serve, struct serve_return to, struct msg_reader *m,
                        void *ctx)
{
    struct auth *a = ctx;

    (void)serve;
    if (!a->start->conf->auth.on) {
        auth_answer_err(a, to, ERR_UNSUPPORTED);
        return 0;
    }
    if (!a->key) { /* STATE follows when it can be used */
        auth_answer_err(a, to, ERR_UNAVAILABLE);
        return 0;
    }
    return questions[m->type].answer(a, to, m);
}

/* What needs the signing key. Until it can be used, all logins are answered 503. */
static bool auth_begin(struct auth *a)
{
    if (auth_keys_open(a) != 0)
        return false;
    if (auth_robots_open(a) != 0)
        log_warn("going on without robot tokens", NULL);
    auth_users_look(a);
    auth_changed(a);
    return true;
}

/* For entrepotctl status: what is refused, or not as the files have it now. */
static void auth_trouble(struct auth *a)
{
    struct str text = {0};

    str_puts(&text, "");
    if (!a->key)
        str_puts(&text, "the key that signs tokens cannot be used: the log tells why; meanwhile "
                        "logins are answered 503\n");
    if (a->users_wrong)
        str_printf(&text,
                   "there are mistakes in the file of users %s, which the log tells: correct "
                   "them; meanwhile %s\n",
                   a->start->conf->auth.htpasswd,
                   a->users ? "the users read before count" : "nobody can log in");
    if (a->robots_bad)
        str_puts(&text, "the file of robots is damaged: the log tells where; meanwhile no robot "
                        "can log in\n");
    role_trouble(a->role, text.data);
    str_free(&text);
}

static void auth_look(struct loop_timer *timer)
{
    struct auth *a = CONTAINER_OF(timer, struct auth, look);

    if (a->key || auth_begin(a))
        auth_users_look(a);
    auth_trouble(a);
    loop_timer_set(a->loop, &a->look, LOOK_MS);
}

static int auth_open(struct auth *a)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    int err;

    if (!a->start->conf->auth.on)
        return 0;
    /* One at least, half the machine at most. */
    err = pool_new(a->loop,
                   cpus < 4                 ? 1
                   : cpus / 2 < THREADS_MAX ? (size_t)cpus / 2
                                            : THREADS_MAX,
                   &a->pool);
    if (err != 0)
        return err;
    a->mac = sign_mac_new();
    a->verdicts = mem_alloc_array(AUTH_VERDICTS, sizeof(*a->verdicts));
    auth_begin(a);
    auth_trouble(a);
    a->look.fire = auth_look;
    loop_timer_set(a->loop, &a->look, LOOK_MS);
    return 0;
}

static void auth_stop(bool drain, void *ctx)
{
    (void)drain;
    loop_stop(ctx);
}

int auth_main(const struct role_start *start)
{
    /* Left as it is at the end, as a worker's: questions may wait for threads. */
    static struct auth only;
    struct auth *a = &only;
    struct role_setup role = {.start = start, .on_stop = auth_stop};
    struct serve_setup setup = {.listen_fd = start->listen_fd,
                                .role = MSG_ROLE_AUTH,
                                .operator_uid = start->operator_uid,
                                .peers_max = PEERS_MAX,
                                .on_message = auth_message,
                                .ctx = a};

    role_confine(start);
    a->start = start;
    a->loop = loop_new();
    role.loop = role.ctx = setup.loop = a->loop;
    a->role = role_begin(&role);
    if (auth_open(a) != 0)
        return EXIT_FAILURE;
    MUST(serve_new(&setup, &a->serve) == 0);
    role_ready(a->role);
    loop_run(a->loop);
    serve_free(&a->serve);
    return EXIT_SUCCESS;
}
