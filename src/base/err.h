/*
 * err.h - the errors the world can cause.
 *
 * Functions that can fail because of the world (network, disk, peers, input)
 * return 0 or one of these negative values and are marked `must_check`.
 * Bugs in this program are not errors: they end the process through MUST().
 */
#ifndef ENTREPOT_BASE_ERR_H
#define ENTREPOT_BASE_ERR_H

#define must_check __attribute__((warn_unused_result))

/* X(name, text): the order is part of the message protocol between processes
 * of one build; a reload or respawn never mixes builds. */
#define ERR_TABLE(X)                                                                               \
    X(INVALID, "invalid input")                                                                    \
    X(NOT_FOUND, "not found")                                                                      \
    X(EXISTS, "already exists")                                                                    \
    X(CONFLICT, "conflicts with the present state")                                                \
    X(DENIED, "not permitted")                                                                     \
    X(QUOTA, "quota exceeded")                                                                     \
    X(TOO_BIG, "too large")                                                                        \
    X(MISMATCH, "digest or length does not match")                                                 \
    X(DAMAGED, "stored data is damaged")                                                           \
    X(NO_SPACE, "no space left on device")                                                         \
    X(NO_ACCESS, "permission denied")                                                              \
    X(READ_ONLY, "read-only file system")                                                          \
    X(NO_FILES, "too many open files")                                                             \
    X(IO, "input/output error")                                                                    \
    X(BUSY, "busy, try again later")                                                               \
    X(TIMEOUT, "deadline passed")                                                                  \
    X(CLOSED, "connection closed")                                                                 \
    X(PROTOCOL, "message violates the protocol")                                                   \
    X(UNSUPPORTED, "not supported")                                                                \
    X(UNAVAILABLE, "temporarily unavailable")                                                      \
    X(INCOMPLETE, "the database is damaged or lacks changes: see entrepotctl rebuild")

enum err_ordinal {
#define X(name, text) ERR_ORDINAL_##name,
    ERR_TABLE(X)
#undef X
        ERR_ORDINAL_COUNT
};

enum err {
    ERR_OK = 0,
#define X(name, text) ERR_##name = -1 - ERR_ORDINAL_##name,
    ERR_TABLE(X)
#undef X
};

/* Static text for an error; "success" for 0, "unknown error" outside the table. */
const char *err_text(int err);

/* The error that fits an errno value: ENOSPC/EDQUOT -> NO_SPACE, EROFS -> READ_ONLY,
 * EACCES/EPERM -> NO_ACCESS, EBADF -> UNAVAILABLE, EMFILE/ENFILE -> NO_FILES, ENOENT ->
 * NOT_FOUND, EEXIST -> EXISTS, everything else -> IO. DENIED is for rights and rules of ours. */
int err_from_errno(int errnum);

#endif
