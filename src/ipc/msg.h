/*
 * msg.h - typed messages between processes: encoding and decoding.
 *
 * Layout: u16 type, u16 flags, u32 reserved 0, u64 id, then fields. Integers in
 * host order (one machine, one build). Strings and bytes carry a u32 length.
 * A reader must consume everything; whatever is left or missing makes the whole
 * message invalid. A message is at most MSG_INLINE_MAX bytes on the socket; a
 * longer one (up to MSG_MAX) travels as a sealed memfd behind its header.
 */
#ifndef ENTREPOT_IPC_MSG_H
#define ENTREPOT_IPC_MSG_H

#include "base/digest.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MSG_INLINE_MAX 61440
#define MSG_MAX        (16u << 20)
#define MSG_HEADER     16

/* Who is asked. */
enum msg_role {
    MSG_ROLE_NOBODY,
    MSG_ROLE_CATALOG,
    MSG_ROLE_FETCHER,
    MSG_ROLE_AUTH,
    MSG_ROLE_MASTER
};

/* X(NAME, who answers, who may ask, for how long a role that asks waits, in milliseconds). Told and
 * not asked, NOBODY answers it. ALL: roles, entrepotctl; OPERATOR: entrepotctl alone, by its
 * account. entrepotctl waits for whatever it asks as long as tools/ctl_ask.c says; 0: no role asks.
 */
#define MSG_TABLE(X)                                                                               \
    /* workers, fetcher, entrepotctl -> catalog */                                                 \
    X(CATALOG_HELLO, CATALOG, ALL, 20000) /* -> descriptor of the index */                         \
    X(BLOB_COMMIT, CATALOG, ALL, 20000)   /* a file was made durable under its digest: link it */  \
    X(BLOB_MOUNT, CATALOG, ALL, 20000)    /* link a blob of another image */                       \
    X(BLOB_DELETE, CATALOG, ALL, 20000)                                                            \
    X(MANIFEST_PUT, CATALOG, ALL, 20000)                                                           \
    X(MANIFEST_DELETE, CATALOG, ALL, 20000)                                                        \
    X(TAG_DELETE, CATALOG, ALL, 20000)                                                             \
    X(TAG_LIST, CATALOG, ALL, 20000)                                                               \
    X(IMAGE_LIST, CATALOG, ALL, 20000)                                                             \
    X(IMAGE_SEARCH, CATALOG, ALL, 20000)                                                           \
    X(REFERRER_LIST, CATALOG, ALL, 20000)                                                          \
    X(REPO_STATS, CATALOG, ALL, 20000)                                                             \
    X(GC_ORPHANS, CATALOG, OPERATOR, 0) /* look for files without a record now */                  \
    X(GC_RUN, CATALOG, OPERATOR, 0)     /* sweep now */                                            \
    X(GC_STATUS, CATALOG, ALL, 20000)   /* what sweeps have done and do */                         \
    X(GC_WAITING, CATALOG, ALL, 20000)  /* what sweeps will find */                                \
    X(SCRUB_RUN, CATALOG, OPERATOR, 0)  /* read every blob now */                                  \
    X(SCRUB_STATUS, CATALOG, ALL, 20000)                                                           \
    X(BLOB_DAMAGED, CATALOG, ALL, 20000) /* a worker could not serve this one: look at it */       \
    X(CATALOG_STATS, CATALOG, ALL, 2000) /* for metrics */                                         \
    /* workers, entrepotctl -> fetcher; contents in msg_fetch.h */                                 \
    X(FETCH_HELLO, FETCHER, ALL, 20000) /* -> an eventfd that rings when the board has changed */  \
    X(FETCH_BLOB, FETCHER, ALL, 90000)  /* -> descriptor of a growing file */                      \
    X(FETCH_RANGE, FETCHER, ALL, 90000) /* the same for a part of a blob */                        \
    X(FETCH_HEAD, FETCHER, ALL, 60000)                                                             \
    X(FETCH_MANIFEST, FETCHER, ALL, 90000) /* by tag or digest */                                  \
    X(FETCH_LIST, FETCHER, ALL, 60000)                                                             \
    X(FETCH_SEARCH, FETCHER, ALL, 60000)                                                           \
    X(FETCH_STATUS, FETCHER, ALL, 5000) /* running jobs */                                         \
    X(PROXY_STATUS, FETCHER, ALL, 5000) /* budgets, tokens, health of the proxies */               \
    X(WARM, FETCHER, OPERATOR, 0)       /* fetch an image ahead of need */                         \
    X(WARM_STATUS, FETCHER, ALL, 5000)                                                             \
    /* fetcher -> catalog */                                                                       \
    X(PROXY_LINK, CATALOG, ALL, 20000)                                                             \
    X(TAG_TOUCH, CATALOG, ALL, 20000)                                                              \
    X(TAG_GONE, CATALOG, ALL, 20000)                                                               \
    /* entrepotctl -> catalog */                                                                   \
    X(EVICT, CATALOG, OPERATOR, 0)     /* what a proxy cached of an image goes */                  \
    X(REPO_DROP, CATALOG, OPERATOR, 0) /* all that a repository holds goes */                      \
    /* workers -> auth */                                                                          \
    X(AUTH_HELLO, AUTH, ALL, 5000) /* -> struct auth_state */                                      \
    X(AUTH_LOGIN, AUTH, ALL, 10000)                                                                \
    X(AUTH_TOKEN, AUTH, ALL, 10000)                                                                \
    X(AUTH_CHECK, AUTH, ALL, 5000) /* does this user's token still count? */                       \
    /* entrepotctl -> auth */                                                                      \
    X(ROBOT_CREATE, AUTH, OPERATOR, 0)                                                             \
    X(ROBOT_REVOKE, AUTH, OPERATOR, 0)                                                             \
    X(ROBOT_LIST, AUTH, OPERATOR, 0)                                                               \
    /* auth -> worker, unasked */                                                                  \
    X(AUTH_STATE, NOBODY, ALL, 0)                                                                  \
    /* catalog -> worker, unasked */                                                               \
    X(INDEX_NEW, NOBODY, ALL, 0)                                                                   \
    /* child -> master, on the control channel */                                                  \
    X(READY, NOBODY, ALL, 0)                                                                       \
    X(INDEX_KEEP, NOBODY, ALL, 0) /* catalog: descriptors of the index, for those born later */    \
    X(TROUBLE, NOBODY, ALL, 0)    /* what it cannot do at present */                               \
    /* entrepotctl -> master, on the control socket */                                             \
    X(CTL_STATUS, MASTER, ALL, 0)                                                                  \
    /* the answer to any question */                                                               \
    X(REPLY, NOBODY, ALL, 0)

enum msg_type {
    MSG_NONE = 0,
#define X(name, role, asker, deadline) MSG_##name,
    MSG_TABLE(X)
#undef X
        MSG_TYPE_COUNT
};

const char *msg_name(unsigned type);
/* 0: no role asks this. */
unsigned msg_deadline_ms(unsigned type);
/* Who answers it; NOBODY for what is no question. */
enum msg_role msg_role(unsigned type);
/* Only the operator's tools ask this, never a role. */
bool msg_privileged(unsigned type);

/* Writing: begin, then fields in the order the reader expects. */
struct msg_writer {
    struct str buf;
};

void msg_begin(struct msg_writer *w, enum msg_type type, uint64_t id);
/* Of what has begun. */
enum msg_type msg_writer_type(const struct msg_writer *w);
void msg_put_u8(struct msg_writer *w, uint8_t v);
void msg_put_u32(struct msg_writer *w, uint32_t v);
void msg_put_u64(struct msg_writer *w, uint64_t v);
void msg_put_i32(struct msg_writer *w, int32_t v);
void msg_put_str(struct msg_writer *w, const char *text); /* NULL as "" */
void msg_put_bytes(struct msg_writer *w, const void *data, size_t len);
void msg_put_digest(struct msg_writer *w, const struct digest *d);
void msg_writer_free(struct msg_writer *w);

/* Reading: a failed get makes every later one fail and return zero or "". */
struct msg_reader {
    uint16_t type;
    uint64_t id;
    const char *data;
    size_t len, at;
    bool bad;
};

/* Takes a received message apart; `data` must outlive the reader. PROTOCOL when
 * the header is not one. */
must_check int msg_reader_init(struct msg_reader *r, const void *data, size_t len);
uint8_t msg_get_u8(struct msg_reader *r);
uint32_t msg_get_u32(struct msg_reader *r);
uint64_t msg_get_u64(struct msg_reader *r);
int32_t msg_get_i32(struct msg_reader *r);
/* NUL-terminated in the message itself, at most `max` bytes, no NUL inside. */
const char *msg_get_str(struct msg_reader *r, size_t max);
const void *msg_get_bytes(struct msg_reader *r, size_t max, size_t *len_r);
/* A digest with a known algorithm, or all zero (alg 0) when `optional`. */
void msg_get_digest(struct msg_reader *r, bool optional, struct digest *d_r);
/* 0 when everything was well-formed and consumed, PROTOCOL otherwise. */
must_check int msg_end(const struct msg_reader *r);

/* What all replies share. Each begins with its error; what follows, the header of its question
 * says, and for most errors it is nothing. */
void reply_err_put(struct msg_writer *w, int err);
/* PROTOCOL when there is none to read. */
int reply_err_get(struct msg_reader *r);
/* How many entries follow; a number that the message is too short for makes it invalid. */
void reply_count_put(struct msg_writer *w, uint32_t count);
uint32_t reply_count_get(struct msg_reader *r);
/* Entries that were written one by one into a writer of their own, which never began a message:
 * their count stands before them and is known last. */
void reply_entries_put(struct msg_writer *w, const struct msg_writer *entries);

/* One message over a SEQPACKET socket, memfd detour included. `pass_fd` (-1:
 * none) only with inline messages. Errors of net_send. */
must_check int msg_send(int fd, const struct msg_writer *w, int pass_fd);
/* Receives into `buf` (reset first). fd_r: a passed descriptor or -1. Errors of net_receive;
 * PROTOCOL for a bad detour. */
must_check int msg_receive(int fd, struct str *buf, int *fd_r);

#endif
