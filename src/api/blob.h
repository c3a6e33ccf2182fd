/*
 * blob.h - a GET or HEAD of a blob under way: shared by blob.c (what is here) and
 * blob_cold.c (what a remote has).
 */
#ifndef ENTREPOT_API_BLOB_H
#define ENTREPOT_API_BLOB_H

#include "api/follow.h"
#include "api/members.h"

struct blob_read {
    struct digest digest;
    char text[DIGEST_TEXT_MAX];
    uint64_t size;
    int fd;        /* its bytes, when not in call->object; else -1 */
    uint64_t base; /* which byte of the blob the file begins with */
    struct members members;
    bool fetched; /* a remote was asked because the file is missing or damaged here */
    bool named;   /* blob_cold.c: only members whose manifests name it, in the first round */
    struct follow_share share;
    struct follow_target target;
};

/* 200, 206 or 416 out of call->object or blob->fd, whatever the request asks for. */
void blob_answer(struct api_call *call);
/* Headers of every successful answer. A range that a remote was asked for alone promises neither
 * digest nor ETag: it cannot be verified. */
void blob_add_headers(struct api_call *call, const struct blob_read *blob);
/* The single range that a GET asks for of a blob of that size, when it does. */
bool blob_single_range(struct api_call *call, uint64_t size, uint64_t *first_r, uint64_t *last_r);
/* Looks into the index for members that have it and answers; false: none has. */
bool blob_answer_local(struct api_call *call);
/* Asks the remotes of the members; answers. */
void blob_cold(struct api_call *call);

#endif
