/*
 * audit.h - the audit trail: lines msg=audit of the log, level notice, for failed
 * logins, pushes and deletes. No secrets.
 */
#ifndef ENTREPOT_API_AUDIT_H
#define ENTREPOT_API_AUDIT_H

#include "api/api.h"

/* user NULL: none could be read. reason: one word. */
void audit_login_failed(struct api_call *call, const char *user, const char *reason);
/* At a request's end: a push or delete that was carried out. */
void audit_request(struct api_call *call);

#endif
