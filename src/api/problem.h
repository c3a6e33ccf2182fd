/*
 * problem.h - error answers: the one table of OCI error codes.
 * distribution-spec 1.1 "Error Codes"; doc/protocol.md, "Every answer", "Error codes".
 */
#ifndef ENTREPOT_API_PROBLEM_H
#define ENTREPOT_API_PROBLEM_H

#include "base/digest.h"
#include "http/http.h"

/* X(name, code in the body, status, what it says when nothing better is known) */
#define PROBLEM_TABLE(X)                                                                           \
    X(BLOB_UNKNOWN, "BLOB_UNKNOWN", 404, "blob unknown to repository")                             \
    X(MANIFEST_UNKNOWN, "MANIFEST_UNKNOWN", 404, "manifest unknown to repository")                 \
    X(NAME_UNKNOWN, "NAME_UNKNOWN", 404, "repository name not known to registry")                  \
    X(UPLOAD_UNKNOWN, "BLOB_UPLOAD_UNKNOWN", 404, "blob upload unknown to registry")               \
    X(UPLOAD_INVALID, "BLOB_UPLOAD_INVALID", 400, "blob upload invalid")                           \
    X(UPLOAD_BUSY, "BLOB_UPLOAD_INVALID", 409, "another request writes to this upload")            \
    X(UPLOAD_RANGE, "RANGE_INVALID", 416, "chunk does not begin where the upload ends")            \
    X(DIGEST_INVALID, "DIGEST_INVALID", 400, "digest is malformed or does not match")              \
    X(SIZE_INVALID, "SIZE_INVALID", 400, "length does not match")                                  \
    X(TOO_BIG, "SIZE_INVALID", 413, "content is larger than allowed")                              \
    X(NAME_INVALID, "NAME_INVALID", 400, "invalid repository name")                                \
    X(TAG_INVALID, "TAG_INVALID", 400, "invalid tag")                                              \
    X(TOO_MANY_TAGS, "TAG_INVALID", 414, "too many tag parameters")                                \
    X(MANIFEST_INVALID, "MANIFEST_INVALID", 400, "manifest invalid")                               \
    X(MANIFEST_BLOB_UNKNOWN, "MANIFEST_BLOB_UNKNOWN", 400, "manifest references unknown content")  \
    X(PRECONDITION, "MANIFEST_INVALID", 412, "the tag does not stand where the request expects")   \
    X(PAGINATION, "PAGINATION_NUMBER_INVALID", 400, "n must be a decimal number")                  \
    X(PARAMETER, "UNSUPPORTED", 400, "malformed parameter")                                        \
    X(RANGE, "RANGE_INVALID", 416, "range lies outside the content")                               \
    X(UNAUTHORIZED, "UNAUTHORIZED", 401, "authentication required")                                \
    X(TOO_MANY_LOGINS, "TOOMANYREQUESTS", 429, "too many failed logins, try again later")          \
    X(DENIED, "DENIED", 403, "not permitted")                                                      \
    X(NAMED, "DENIED", 409, "a manifest that stays names it")                                      \
    X(UNSUPPORTED, "UNSUPPORTED", 405, "the operation is unsupported")                             \
    X(TOO_MANY_UPLOADS, "TOOMANYREQUESTS", 429, "too many open uploads")                           \
    X(TOO_MUCH_AT_ONCE, "TOOMANYREQUESTS", 429,                                                    \
      "too many long lists or manifests are on their way to or from you: end them, ask for less "  \
      "at once (n=), or try again later")                                                          \
    X(BAD_REQUEST, "UNSUPPORTED", 400, "malformed request")                                        \
    X(UNAVAILABLE, "UNAVAILABLE", 503, "temporarily unavailable, try again")                       \
    X(INCOMPLETE, "UNAVAILABLE", 503,                                                              \
      "the registry's database is damaged or lacks changes: until whoever runs it has made it "    \
      "anew (entrepotctl rebuild), nothing is served but what is left of it")                      \
    X(NO_SPACE, "UNAVAILABLE", 507, "no space left for this content")                              \
    X(TOO_MANY_REQUESTS, "TOOMANYREQUESTS", 429, "the remote registry's rate limit is used up")    \
    X(BAD_UPSTREAM, "UNAVAILABLE", 502, "the remote registry's answer cannot be used")             \
    X(UPSTREAM_TIMEOUT, "UNAVAILABLE", 504, "the remote registry did not answer in time")          \
    X(INTERNAL, "UNKNOWN", 500, "internal error; the log tells more")

enum problem {
#define X(name, code, status, text) PROBLEM_##name,
    PROBLEM_TABLE(X)
#undef X
        PROBLEM_COUNT
};

/* Answers with {"errors":[{"code","message","detail"}]}. `format` NULL: the
 * table's text. 503 and 429 carry Retry-After. */
__attribute__((format(printf, 3, 4))) void
problem_answer(struct http_request *r, enum problem problem, const char *format, ...);
/* The same with another Retry-After. */
void problem_answer_retry(struct http_request *r, enum problem problem, unsigned retry_s,
                          const char *message);
/* The same with another status (errors of the HTTP layer). */
void problem_answer_status(struct http_request *r, int status, const char *message);
/* 405 with Allow. */
void problem_method(struct http_request *r, const char *allow);
/* What is wrong with one of several things that a request names. */
struct problem_about {
    struct digest digest; /* the error's detail */
    const char *text;     /* NULL: the table's */
};

/* One error each, of the same kind. */
void problem_answer_each(struct http_request *r, enum problem problem,
                         const struct problem_about *about, size_t count);
/* What an error of the disk or of another role means for a client, when nothing
 * more specific is known. */
enum problem problem_from_err(int err);

#endif
