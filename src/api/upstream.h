/*
 * upstream.h - content that is not here but may be at a remote: whom to ask, and
 * what a failure means for the client.
 */
#ifndef ENTREPOT_API_UPSTREAM_H
#define ENTREPOT_API_UPSTREAM_H

#include "api/api.h"
#include "ipc/msg_fetch.h"

/* The repositories that can have what a request names (image NULL: whatever it is): the named one,
 * or all hosted and proxy members of a group in their order. */
struct members {
    const struct conf_repo **repos;
    size_t count, at;
    const struct conf_repo *group; /* NULL: a single repository */
    /* What became of members that could not be asked; 0: all could. */
    int err;
    struct fetch_failure why; /* in the arena */
};

/* Offline members are left out, those of which the caller may not read the image, and proxies
 * for which its name is reserved, also the one that was named itself. */
void members_find(struct api_call *call, const struct conf_repo *repo, const char *image,
                  struct members *members_r);
/* A member failed: notes it. False: the request fails with it (upstream_answer), the next
 * member must not be asked. */
bool members_failed(struct api_call *call, struct members *members, int err,
                    const struct fetch_failure *why);
/* Answers what the members' failure is for the client, `absent` when they all said no. */
void upstream_answer(struct api_call *call, const struct members *members, enum problem absent);
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
