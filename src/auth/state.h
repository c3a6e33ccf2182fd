/*
 * state.h - private to the auth room: what the process holds.
 */
#ifndef ENTREPOT_AUTH_STATE_H
#define ENTREPOT_AUTH_STATE_H

#include "auth/htpasswd.h"
#include "auth/robots.h"
#include "base/pool.h"
#include "base/sign.h"
#include "ipc/msg_auth.h"
#include "ipc/role.h"
#include "ipc/serve.h"
#include "shm/throttle.h"

#include <sys/stat.h>
#include <time.h>

/* Passwords being checked or waiting for it; more is BUSY. At 50 ms each and two
 * threads the last one waits under two seconds. */
#define AUTH_QUEUE_MAX 64
/* Of those whose address has failed too often this many at once, and as many of
 * those whose user alone has: who guesses a user's password from one place does
 * not take the user's own turn from another. Each failure is told after this long. */
#define AUTH_SLOW_MAX 4
#define AUTH_SLOW_MS  1000
/* Places for good verdicts, by a keyed hash of user, password and password hash. */
#define AUTH_VERDICTS 4096

enum auth_lane { AUTH_FAST, AUTH_SLOW_ADDRESS, AUTH_SLOW_USER, AUTH_LANES };

struct auth_file {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec changed;
};

struct auth {
    const struct role_start *start;
    struct loop *loop;
    struct serve *serve;
    struct pool *pool;
    struct htpasswd *users; /* NULL: the file has never been good */
    struct auth_file file;  /* as it was when it was read last */
    struct robots robots;
    bool users_wrong;     /* their file has mistakes, or cannot be read */
    bool robots_bad;      /* their file is damaged: none is let in, none is changed */
    bool saving;          /* a thread writes their file */
    struct sign_key *key; /* NULL: it cannot be used yet */
    int key_told;         /* why: what was told last */
    uint8_t public_key[SIGN_PUBLIC_BYTES];
    uint8_t stamp_key[16];
    uint64_t epoch;
    struct sign_mac *mac;
    uint8_t (*verdicts)[SIGN_MAC_BYTES];
    unsigned checking, in_lane[AUTH_LANES];
    struct role *role;
    struct loop_timer look; /* whether the file has changed */
};

/* auth.c */
/* A keyed hash of what a user or robot logs in with. */
uint64_t auth_stamp(const struct auth *a, const char *secret);
/* Users or robots have changed: a new epoch, told to every worker. */
void auth_changed(struct auth *a);
/* Answers with an error and nothing else. */
void auth_answer_err(struct auth *a, struct serve_return to, int err);

/* keys.c: the signing key, made when there is none. */
must_check int auth_keys_open(struct auth *a);
/* Reads the users when the file has changed; a broken one changes nothing. */
void auth_users_look(struct auth *a);

/* check.c */
must_check int auth_login(struct auth *a, struct serve_return to, struct msg_reader *m);
must_check int auth_token(struct auth *a, struct serve_return to, struct msg_reader *m);
must_check int auth_check(struct auth *a, struct serve_return to, struct msg_reader *m);

/* manage.c */
must_check int auth_robot_create(struct auth *a, struct serve_return to, struct msg_reader *m);
must_check int auth_robot_revoke(struct auth *a, struct serve_return to, struct msg_reader *m);
must_check int auth_robot_list(struct auth *a, struct serve_return to, struct msg_reader *m);
must_check int auth_robots_open(struct auth *a);

#endif
