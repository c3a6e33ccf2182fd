/*
 * upstream.h - content that is not here but may be at a remote: questions to the fetcher.
 */
#ifndef ENTREPOT_API_UPSTREAM_H
#define ENTREPOT_API_UPSTREAM_H

#include "api/api.h"
#include "ipc/msg_fetch.h"

/* What stands between quotes in a header. */
const char *upstream_quotable(struct api_call *call, const char *text);

/* Counts a lookup for the metrics; nothing for a repository that is no proxy. */
void upstream_count(const struct api_call *call, const struct conf_repo *repo, bool hit);

/* Whose request it is, as the fetcher counts them: out[FETCH_CLIENT_MAX + 1]. */
const char *upstream_client(const struct api_call *call, char *out);
/* Starts a question to the fetcher; fill the writer, then upstream_ask, which adds who asks. */
struct msg_writer *upstream_ask_begin(struct api_call *call, enum msg_type type);
void upstream_ask(struct api_call *call, struct msg_writer *w,
                  void (*done)(struct ask *ask, int err, struct msg_reader *reply, int fd));
/* The reply's own error, with its failure in *why_r (NOT_FOUND and so on); or the link's. */
int upstream_reply_err(int err, struct msg_reader *reply, int fd, struct fetch_failure *why_r);

#endif
