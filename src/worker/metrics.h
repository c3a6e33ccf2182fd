/*
 * metrics.h - private to the worker room: the text of /metrics.
 */
#ifndef ENTREPOT_WORKER_METRICS_H
#define ENTREPOT_WORKER_METRICS_H

#include "ipc/msg.h"
#include "worker/admin.h"

/* Prometheus text format 0.0.4. `catalog`: the reply to CATALOG_STATS behind its
 * error, or NULL when the catalog did not answer. */
void metrics_text(const struct admin *admin, struct msg_reader *catalog, struct str *out);

/* metrics_proxies.c; `fetcher`: the reply to PROXY_STATUS behind its error, or NULL when the
 * fetcher did not answer. */
void metrics_proxies(const struct admin *admin, struct msg_reader *fetcher, struct str *out);

#endif
