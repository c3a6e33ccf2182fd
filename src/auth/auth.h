/*
 * auth.h - the auth process. It holds its place among the roles: no key of the
 * configuration asks for logins yet, so everybody may do everything a
 * repository's policy allows, and every question is answered with "unsupported".
 */
#ifndef ENTREPOT_AUTH_AUTH_H
#define ENTREPOT_AUTH_AUTH_H

#include "ipc/role.h"

/* Runs the role; returns the process's exit status. */
int auth_main(const struct role_start *start);

#endif
