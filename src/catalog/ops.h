/*
 * ops.h - what the catalog can be asked. Contents of questions and answers: ipc/msg_*.h.
 */
#ifndef ENTREPOT_CATALOG_OPS_H
#define ENTREPOT_CATALOG_OPS_H

#include "catalog/turn.h"
#include "ipc/msg_list.h"
#include "ipc/msg_operator.h"
#include "ipc/msg_push.h"
#include "ipc/msg_stats.h"
#include "meta/records.h"

/* Changes, run by turn.c */
void op_blob_commit(struct catalog *c, struct msg_reader *question, struct msg_writer *answer);
void op_blob_mount(struct catalog *c, struct msg_reader *question, struct msg_writer *answer);
void op_blob_delete(struct catalog *c, struct msg_reader *question, struct msg_writer *answer);
void op_manifest_put(struct catalog *c, struct msg_reader *question, struct msg_writer *answer);
void op_manifest_delete(struct catalog *c, struct msg_reader *question, struct msg_writer *answer);
void op_tag_delete(struct catalog *c, struct msg_reader *question, struct msg_writer *answer);

/* ops_proxy.c; contents in ipc/msg_fetch.h */
void op_proxy_link(struct catalog *c, struct msg_reader *question, struct msg_writer *answer);
void op_tag_touch(struct catalog *c, struct msg_reader *question, struct msg_writer *answer);
void op_tag_gone(struct catalog *c, struct msg_reader *question, struct msg_writer *answer);

/* Reads of what is committed, answered at once. */
void op_tag_list(struct catalog *c, struct msg_reader *question, struct msg_writer *answer);
void op_gc_waiting(struct catalog *c, struct msg_reader *question, struct msg_writer *answer);
void op_image_list(struct catalog *c, struct msg_reader *question, struct msg_writer *answer);
void op_image_search(struct catalog *c, struct msg_reader *question, struct msg_writer *answer);
void op_referrer_list(struct catalog *c, struct msg_reader *question, struct msg_writer *answer);
void op_repo_stats(struct catalog *c, struct msg_reader *question, struct msg_writer *answer);
/* What a repository holds, with or without a section. False: there is none of that name.
 * The strings are the catalog's. */
bool op_repo_stats_of(const struct catalog *c, const char *name, struct stats_repo *s_r);
void op_catalog_stats(struct catalog *c, struct msg_reader *question, struct msg_writer *answer);

/* Shared by them: seconds since 1970, and whether a question's names are such. */
uint64_t op_now(void);
bool op_target_ok(const struct push_target *t);
/* Reads a question that is a target alone and finds its repository. */
must_check int op_target_get(struct catalog *c, struct msg_reader *question,
                             struct push_target *t_r, size_t *repo_place_r);
/* The same for deletes: UNSUPPORTED where they are switched off. */
must_check int op_target_get_for_delete(struct catalog *c, struct msg_reader *question,
                                        struct push_target *t_r, size_t *repo_place_r);
/* Puts the image's record when it is its first content. */
must_check int op_image_touch(struct catalog *c, const char *repo, const char *image);
/* Removes the image's record when nothing is left in it. */
must_check int op_image_leave(struct catalog *c, const char *repo, const char *image);
/* How long the file of a blob is, in the repository's store: turn_file(), and when to ask. */
must_check int op_blob_file(struct catalog *c, size_t repo_place, const struct digest *digest,
                            uint64_t *size_r);
/* Links a blob of t->size bytes that lies in the repository's store, and shows it. */
must_check int op_blob_link(struct catalog *c, size_t repo_place, const struct push_target *t);
/* Does a manifest that stays need this META_LINK or META_MANIFEST of the image? 0: none;
 * CONFLICT: *parent_r does; NOT_FOUND: there is no such thing to delete. */
must_check int op_named(struct catalog *c, size_t repo_place, const struct push_target *t,
                        enum meta_kind kind, struct digest *parent_r);
/* The answer to a delete that op_named() found in conflict. */
void op_answer_named(struct msg_writer *answer, const struct digest *parent);
/* Takes a manifest with its tags and back-references away. NOT_FOUND. */
must_check int op_manifest_remove(struct catalog *c, size_t repo_place,
                                  const struct push_target *t);
/* Notes that a blob of an image may be garbage from now on. */
void op_suspect(struct catalog *c, const char *repo, const char *image,
                const struct digest *digest);
/* Makes `digest` with `size` bytes known in the store and held by the image.
 * holds: META_LINK or META_MANIFEST. QUOTA when the store is full. */
must_check int op_blob_hold(struct catalog *c, size_t repo_place, const char *repo,
                            const char *image, const struct digest *digest, uint64_t size,
                            enum meta_kind holds);

#endif
