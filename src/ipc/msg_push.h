/*
 * msg_push.h - the contents of the messages between worker and catalog, each
 * written and read in one place so that both sides agree.
 */
#ifndef ENTREPOT_IPC_MSG_PUSH_H
#define ENTREPOT_IPC_MSG_PUSH_H

#include "base/mem.h"
#include "ipc/msg.h"
#include "oci/manifest.h"

/* Tags one manifest PUT may carry (doc/protocol.md, "Pushing manifests"). */
#define PUSH_TAGS_MAX 32
/* Digests that an answer names of those that are missing; a client fixes them one push at a time
 * anyway. */
#define PUSH_MISSING_MAX 100

/* What a worker's or the fetcher's change begins with; the whole question has it again. */
void push_repo_put(struct msg_writer *w, const char *repo);
const char *push_repo_get(struct msg_reader *r);

/* BLOB_COMMIT, BLOB_DELETE, MANIFEST_DELETE, BLOB_DAMAGED: which thing of which image. Reply to a
 * delete: with CONFLICT the digest of a manifest that stays and needs it (push_named_put). */
struct push_target {
    const char *repo, *image;
    struct digest digest;
    uint64_t size; /* BLOB_COMMIT only */
};

void push_target_put(struct msg_writer *w, const struct push_target *t);
void push_target_get(struct msg_reader *r, struct push_target *t_r);

/* In the reply to a delete: what names the thing. */
void push_named_put(struct msg_writer *w, const struct digest *parent);
void push_named_get(struct msg_reader *r, struct digest *parent_r);

/* TAG_DELETE */
struct push_tag {
    const char *repo, *image, *tag;
};

void push_tag_put(struct msg_writer *w, const struct push_tag *t);
void push_tag_get(struct msg_reader *r, struct push_tag *t_r);

/* BLOB_MOUNT */
struct push_mount {
    struct push_target to;
    const char *from_repo, *from_image; /* both "": any image of a repository with the same store */
};

void push_mount_put(struct msg_writer *w, const struct push_mount *m);
void push_mount_get(struct msg_reader *r, struct push_mount *m_r);

/* What must hold for a manifest PUT (RFC 9110 section 13.1, about its tag). */
enum push_condition {
    PUSH_ALWAYS = 0,
    PUSH_IF_ABSENT = 1, /* If-None-Match: * */
    PUSH_IF_MATCH = 2   /* If-Match: "digest" */
};

/* MANIFEST_PUT. Reply: CONFLICT: the condition failed; EXISTS: the redeploy policy forbids it, and
 * the tag that stays; NOT_FOUND: struct push_missing; MISMATCH: struct push_size; INVALID: the
 * image has the same bytes as another media type, which follows (push_held_type_put). */
struct push_manifest {
    struct push_target target; /* size: the manifest's bytes */
    const char *tags[PUSH_TAGS_MAX];
    uint32_t tag_count;
    uint8_t condition; /* enum push_condition */
    struct digest condition_digest;
    struct manifest manifest;
};

void push_manifest_put(struct msg_writer *w, const struct push_manifest *p);
/* Arrays live in the arena, strings in the message. */
void push_manifest_get(struct msg_reader *r, struct mem_arena *arena, struct push_manifest *p_r);

void push_redeployed_put(struct msg_writer *w, const char *tag);
const char *push_redeployed_get(struct msg_reader *r);

/* What a manifest names and the image does not have, the first of them. */
struct push_missing {
    uint32_t count;
    struct digest digests[PUSH_MISSING_MAX];
};

/* What a manifest names with another size than it has. */
struct push_size {
    struct digest digest;
    uint64_t said, size;
};

void push_size_put(struct msg_writer *w, const struct push_size *s);
void push_size_get(struct msg_reader *r, struct push_size *s_r);

void push_held_type_put(struct msg_writer *w, const char *media_type);
const char *push_held_type_get(struct msg_reader *r);

void push_missing_put(struct msg_writer *w, const struct push_missing *m);
void push_missing_get(struct msg_reader *r, struct push_missing *m_r);

/* A manifest's contents alone, as lists of referrers have them, too. */
void push_contents_put(struct msg_writer *w, const struct manifest *m);
void push_contents_get(struct msg_reader *r, struct mem_arena *arena, struct manifest *m_r);

#endif
