/*
 * access.h - the access log: logfmt, one write(2) a request.
 *
 * time client method target status bytes_in? request id, repository, image,
 * reference, duration, name in the client's certificate. Never headers, never credentials.
 */
#ifndef ENTREPOT_WORKER_ACCESS_H
#define ENTREPOT_WORKER_ACCESS_H

#include "base/err.h"
#include "http/http.h"

/* "off", "stderr" or a path. On failure nothing is logged until a reopen works. */
must_check int access_open(const char *path);
must_check int access_reopen(void);
void access_log(const struct http_request *r);

#endif
