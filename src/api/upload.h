/*
 * upload.h - an upload request under way: shared by upload.c (the endpoints)
 * and upload_body.c (bytes, hashes, finishing).
 */
#ifndef ENTREPOT_API_UPLOAD_H
#define ENTREPOT_API_UPLOAD_H

#include "api/api.h"
#include "store/layout.h"

struct upload {
    char id[LAYOUT_ID_LEN + 1];
    const char *owner; /* the repository, and the user who began the session: "REPO\nUSER" */
    uint64_t start;    /* bytes that were there before this request */
    uint64_t size;     /* bytes now */
    uint64_t
        expected_end; /* from Content-Range: size there must be after the body; UINT64_MAX: any */
    uint64_t checked; /* size at which space was last looked at */
    struct digest_ctx *hash; /* SHA-256 of all so far, until `pipe` has it; NULL: unknown */
    struct pipe *pipe;       /* has the file and the hash while the body comes; or NULL */
    bool finishing;          /* the request names the digest */
    bool fresh;              /* made by this very request: nobody knows its id */
    struct digest wanted;
    bool over;                                /* the body has come to its end */
    int job_err;                              /* of the pool */
    void (*placed_at)(struct api_call *call); /* what follows when the file is cut to `start` */
};

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
