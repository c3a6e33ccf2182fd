/*
 * challenge.h - 401 with WWW-Authenticate: exactly one scheme a connector
 * (doc/protocol.md, "Challenges"; RFC 7617, RFC 6750).
 */
#ifndef ENTREPOT_API_CHALLENGE_H
#define ENTREPOT_API_CHALLENGE_H

#include "api/api.h"

enum challenge {
    CHALLENGE_ANONYMOUS,         /* nobody has logged in */
    CHALLENGE_WRONG,             /* user or password is */
    CHALLENGE_INVALID_TOKEN,     /* forged, over, or its user is gone */
    CHALLENGE_INSUFFICIENT_SCOPE /* good, but for something else */
};

/* Answers 401. The scope is that of the request's route, if it has one. */
void challenge_answer(struct api_call *call, enum challenge why);
/* Does this connector ask for Basic credentials? Else for Bearer tokens. */
bool challenge_basic(const struct api_call *call);

#endif
