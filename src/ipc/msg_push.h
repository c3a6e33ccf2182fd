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
/* Artifact types a referrers question may name. */
#define PUSH_TYPES_MAX 16

/* BLOB_COMMIT, BLOB_DELETE, MANIFEST_DELETE: which thing of which image. The answer of a delete
 * is i32 err, and with CONFLICT the digest of a manifest that stays and needs it. */
struct push_target {
    const char *repo, *image;
    struct digest digest;
    uint64_t size; /* BLOB_COMMIT only */
};

void push_target_put(struct msg_writer *w, const struct push_target *t);
void push_target_get(struct msg_reader *r, struct push_target *t_r);

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

/* MANIFEST_PUT. Reply: i32 err; CONFLICT: the condition failed; EXISTS: redeploy
 * policy, then str tag; NOT_FOUND: u32 count, digests that are missing. */
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

/* A manifest's contents alone: the catalog keeps them in its records too. */
void push_contents_put(struct msg_writer *w, const struct manifest *m);
void push_contents_get(struct msg_reader *r, struct mem_arena *arena, struct manifest *m_r);

/* TAG_LIST, IMAGE_LIST. IMAGE_LIST with repo "": names as REPO/IMAGE over all.
 * Reply: i32 err, struct push_names, str ... */
struct push_list {
    const char *repo, *image; /* image: TAG_LIST only */
    const char *last;         /* exclusive; "" from the start */
    uint32_t limit;
};

void push_list_put(struct msg_writer *w, const struct push_list *l);
void push_list_get(struct msg_reader *r, struct push_list *l_r);

/* The head of a list of names in byte order. It is a slice: the catalog looks at a bounded number
 * of records an answer, so `more` without a name is no end. */
struct push_names {
    bool more;         /* ask again, with `place` as the question's `last` */
    const char *place; /* all up to here was looked at; "" when not `more` */
    uint32_t count;
};

void push_names_put(struct msg_writer *w, const struct push_names *n);
void push_names_get(struct msg_reader *r, struct push_names *n_r);

/* IMAGE_SEARCH: images of one repository whose shown name, "SHOWN" + image, holds
 * a term. Reply: i32 err, struct push_names (place: an image), str shown name ... */
struct push_search {
    const char *repo;
    const char *shown; /* stands before each name: "" or "REPO/" */
    const char *term;  /* "": all */
    const char *last;  /* image; exclusive; "" from the start */
};

void push_search_put(struct msg_writer *w, const struct push_search *s);
void push_search_get(struct msg_reader *r, struct push_search *s_r);

/* REFERRER_LIST. Reply: i32 err, u8 more, digest place (none when not `more`), u32 count, then for
 * each: digest, u64 size, contents without references. A slice, as struct push_names says. */
struct push_referrers {
    struct push_target subject;
    struct digest last; /* exclusive; alg 0 from the start */
    uint32_t limit;
    const char *types[PUSH_TYPES_MAX];
    uint32_t type_count; /* 0: all */
};

void push_referrers_put(struct msg_writer *w, const struct push_referrers *q);
void push_referrers_get(struct msg_reader *r, struct push_referrers *q_r);

#endif
