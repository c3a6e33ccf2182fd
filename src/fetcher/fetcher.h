/*
 * fetcher.h - the process that downloads from upstream registries.
 */
#ifndef ENTREPOT_FETCHER_FETCHER_H
#define ENTREPOT_FETCHER_FETCHER_H

#include "ipc/role.h"

int fetcher_main(const struct role_start *start);

#endif
