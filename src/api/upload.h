/*
 * upload.h - an upload request under way: shared by upload.c (the endpoints), upload_body.c (bytes,
 * hashes, finishing) and upload_replay.c (requests that come again).
 */
#ifndef ENTREPOT_API_UPLOAD_H
#define ENTREPOT_API_UPLOAD_H

#include "api/api.h"
#include "base/states.h"
#include "store/store.h"

/* What a request of an upload session is doing; upload_move alone moves it. Between requests a
 * session is its file, and in no state. */
#define UPLOAD_PHASES(X)                                                                           \
    /* its file is open and locked; or there is none yet, or none any more: upload_new */          \
    X(UPLOAD_FOUND, TO(UPLOAD_REWIND) | TO(UPLOAD_BODY) | TO(UPLOAD_LET_GO))                       \
    /* a thread cuts off what an earlier try left: upload_count_from */                            \
    X(UPLOAD_REWIND, TO(UPLOAD_BODY) | TO(UPLOAD_LET_GO))                                          \
    /* bytes come; the pipe has the file: upload_receive */                                        \
    X(UPLOAD_BODY, TO(UPLOAD_WRITE) | TO(UPLOAD_PLACE) | TO(UPLOAD_LET_GO))                        \
    /* all came; the last of it is being written: body_end */                                      \
    X(UPLOAD_WRITE, TO(UPLOAD_PLACE) | TO(UPLOAD_LET_GO))                                          \
    /* a thread compares the digest and makes the file a blob: upload_publish */                   \
    X(UPLOAD_PLACE, TO(UPLOAD_LET_GO))                                                             \
    /* the file is no more this request's: it is answered, or the catalog is asked for the link,   \
     * and the answer comes then: upload_release */                                                \
    X(UPLOAD_LET_GO, 0)
enum upload_phase { UPLOAD_PHASES(STATES_ENUM) };
extern const struct states upload_phases;

/* What a request brings of its session. */
enum upload_part {
    UPLOAD_CHUNK, /* others may follow */
    UPLOAD_LAST,  /* all the rest, and the digest: comes again as a whole when it fails */
    UPLOAD_WHOLE  /* POST ?digest=: all of it. Nobody knows the session's id */
};

struct upload {
    enum upload_phase phase;
    enum upload_part part;
    char id[STORE_UPLOAD_ID_LEN + 1];
    const char *owner; /* the repository, and the user who began the session: "REPO\nUSER" */
    uint64_t start;    /* bytes that were there before this request */
    uint64_t size;     /* bytes now */
    uint64_t
        expected_end; /* from Content-Range: size there must be after the body; UINT64_MAX: any */
    uint64_t checked; /* size at which space was last looked at */
    struct digest_ctx *hash; /* SHA-256 of all so far, until `pipe` has it; NULL: unknown */
    struct pipe *pipe;       /* has the file and the hash while the body comes; or NULL */
    struct digest wanted;    /* not of a chunk */
    int job_err;             /* of the pool */
    void (*placed_at)(struct api_call *call); /* what follows when the file is cut to `start` */
};

void upload_move(struct upload *u, enum upload_phase phase);
/* call->op is the struct upload, call->fd its locked file, which goes over to the pipe. Takes the
 * body (what there is of it), then answers 202, or verifies, publishes and answers 201. */
void upload_receive(struct api_call *call);
/* Lets go of the session's file. Before any answer: a client that has read it may
 * come back at once over another connection, and must not find the lock held. */
void upload_release(struct api_call *call);
/* 202 with Location, Range and UUID. */
void upload_answer_accepted(struct api_call *call, int status);
/* Location, Range, Docker-Upload-UUID. */
void upload_add_headers(struct api_call *call);
/* 201 for a blob that is here now. */
void upload_answer_created(struct api_call *call, const struct digest *digest);
/* The same after the catalog was asked to link it: 201, or what went wrong. */
void upload_answer_committed(struct api_call *call, int err);
/* 416, telling where the session ends. */
void upload_answer_range(struct api_call *call);

/* upload_replay.c */
/* The bytes of this request count from where its URL says, in a session that may have got some of
 * them before: those are cut off. Then `next`; or an answer. */
void upload_count_from(struct api_call *call, void (*next)(struct api_call *call));
/* A PUT whose session is not there (any more): 201 when an earlier try did what it asks for, else
 * BLOB_UPLOAD_UNKNOWN. call->op: its id, owner and the wanted digest. */
void upload_again(struct api_call *call);

/* Its file went, as a blob or for good: its place is another's. */
void upload_gone(struct api_call *call);
/* Is there room for a session that shall hold `size` bytes? Answers if not. */
bool upload_admit(struct api_call *call, uint64_t size);
/* Room for the bytes to come beyond what is on the disk already. The problem in *problem_r. */
bool upload_room(struct api_call *call, uint64_t size, uint64_t more, enum problem *problem_r,
                 const char **text_r);

#endif
