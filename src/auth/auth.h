/*
 * auth.h - the auth process: the only one that reads password hashes, keeps robot
 * tokens and signs. It answers LOGIN, TOKEN and CHECK of workers and ROBOT_* of
 * entrepotctl (src/ipc/msg_auth.h), and tells workers when users have changed.
 */
#ifndef ENTREPOT_AUTH_AUTH_H
#define ENTREPOT_AUTH_AUTH_H

#include "ipc/role.h"

/* Runs the role; returns the process's exit status. */
int auth_main(const struct role_start *start);

#endif
