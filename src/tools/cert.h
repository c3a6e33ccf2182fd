/*
 * cert.h - private to the tools room: keys and certificates for HTTPS connectors.
 *
 * What Go (and so Docker, containerd, podman) and Apple's systems accept: EC
 * P-256, names in subjectAltName (RFC 6125; a common name alone counts for
 * nothing), serverAuth, at most 825 days. RFC 5280.
 */
#ifndef ENTREPOT_TOOLS_CERT_H
#define ENTREPOT_TOOLS_CERT_H

#include "base/err.h"
#include "base/str.h"

#include <stddef.h>
#include <time.h>

#define CERT_CA_DAYS     3650
#define CERT_SERVER_DAYS 820

/* Host names, also with "*" as their first label, and addresses. Bounded and
 * checked with cert_name_check() before anything is made of them. */
struct cert_names {
    const char *const *names;
    size_t count;
};

/* Puts a name into lower case; NULL or what is wrong with it. */
const char *cert_name_check(char *name);

/* All in PEM form, appended; the caller wipes keys. Errors:
 * INVALID with a reason appended to *why. */
must_check int cert_key_new(struct str *key_r, struct str *why);
/* A self-signed CA for `key`. */
must_check int cert_ca_new(const struct str *key, const char *name, struct str *certificate_r,
                           struct str *why);
/* A server certificate for `key` signed by the CA; never longer than the CA
 * lasts, and refused when that has ended or the CA's files do not fit. */
must_check int cert_server_new(const struct str *ca, const struct str *ca_key,
                               const struct str *key, const struct cert_names *names,
                               struct str *certificate_r, struct str *why);
/* When a certificate ends. */
must_check int cert_end(const struct str *certificate, time_t *end_r, struct str *why);

#endif
