/*
 * rights.h - may this caller do that? By the configuration as it is now, and
 * within the scopes of the token when there is one.
 */
#ifndef ENTREPOT_API_RIGHTS_H
#define ENTREPOT_API_RIGHTS_H

#include "api/api.h"

/* For any repository, a member of the group that was asked too. Does not answer. */
bool api_may(struct api_call *call, const struct conf_repo *repo, const char *image,
             unsigned rights);
/* May it read every image there is, whatever else? */
bool api_may_read_all(struct api_call *call);

/* What the request needs on the image of its route (doc/protocol.md, "Rights"). */
unsigned rights_required(const struct api_call *call);
/* The image's name as the client writes it; NULL when the route has none. Arena. */
const char *rights_client_name(const struct api_call *call);
/* May the request go on? Answers 401 or 403 when not. */
bool rights_admit(struct api_call *call);

#endif
