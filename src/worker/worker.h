/*
 * worker.h - the worker process: clients' connections and the registry's API.
 */
#ifndef ENTREPOT_WORKER_WORKER_H
#define ENTREPOT_WORKER_WORKER_H

#include "ipc/role.h"

/* Runs the role; returns the process's exit status. */
int worker_main(const struct role_start *start);

#endif
