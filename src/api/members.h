/*
 * members.h - the repositories that a request's name may be found in: one, or the members of a
 * group; and what a failure of one of them means for the client.
 */
#ifndef ENTREPOT_API_MEMBERS_H
#define ENTREPOT_API_MEMBERS_H

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
/* A member failed: notes it. False: the request fails with it (members_answer), the next
 * member must not be asked. */
bool members_failed(struct api_call *call, struct members *members, int err,
                    const struct fetch_failure *why);
/* Answers what the members' failure is for the client, `absent` when they all said no. */
void members_answer(struct api_call *call, const struct members *members, enum problem absent);

#endif
