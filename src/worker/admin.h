/*
 * admin.h - the admin listener: health and metrics.
 */
#ifndef ENTREPOT_WORKER_ADMIN_H
#define ENTREPOT_WORKER_ADMIN_H

#include "api/api.h"

/* What a worker knows that these answers tell. */
struct admin {
    const struct api *api;
    void *tally; /* region of all slots */
};

/* GET /health, /health/live, /health/ready, /metrics. */
void admin_handle(const struct admin *admin, struct http_request *r);

#endif
