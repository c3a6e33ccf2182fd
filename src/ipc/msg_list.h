/*
 * msg_list.h - lists: the contents of the questions for names and referrers, and of the replies,
 * which the catalog and the fetcher give in the same form.
 *
 * A reply of the catalog is a slice: it looks at a bounded number of records, so `more` without an
 * entry is no end. The fetcher has all that a remote tells, never `more`.
 */
#ifndef ENTREPOT_IPC_MSG_LIST_H
#define ENTREPOT_IPC_MSG_LIST_H

#include "base/mem.h"
#include "ipc/msg.h"
#include "oci/manifest.h"

/* Artifact types a referrers question may name. */
#define LIST_TYPES_MAX 16

/* TAG_LIST, IMAGE_LIST. IMAGE_LIST with repo "": names as REPO/IMAGE over all.
 * Reply: struct list_page, its names. */
struct list_names {
    const char *repo, *image; /* image: TAG_LIST only */
    const char *last;         /* exclusive; "" from the start */
    uint32_t limit;
};

void list_names_put(struct msg_writer *w, const struct list_names *l);
void list_names_get(struct msg_reader *r, struct list_names *l_r);

/* The head of a list of names in byte order. */
struct list_page {
    bool more;         /* ask again, with `place` as the question's `last` */
    const char *place; /* all up to here was looked at; "" when not `more` */
    uint32_t count;
};

void list_page_put(struct msg_writer *w, const struct list_page *p);
void list_page_get(struct msg_reader *r, struct list_page *p_r);
/* Each of the names behind it. */
void list_name_put(struct msg_writer *w, const char *name);
const char *list_name_get(struct msg_reader *r);

/* IMAGE_SEARCH: images of one repository whose shown name, "SHOWN" + image, holds
 * a term. Reply: struct list_page (place: an image), shown names. */
struct list_search {
    const char *repo;
    const char *shown; /* stands before each name: "" or "REPO/" */
    const char *term;  /* "": all */
    const char *last;  /* image; exclusive; "" from the start */
};

void list_search_put(struct msg_writer *w, const struct list_search *s);
void list_search_get(struct msg_reader *r, struct list_search *s_r);

/* REFERRER_LIST. Reply: struct list_referrers_page, its referrers. */
struct list_referrers {
    const char *repo, *image;
    struct digest subject;
    struct digest last; /* exclusive; alg 0 from the start */
    uint32_t limit;
    const char *types[LIST_TYPES_MAX];
    uint32_t type_count; /* 0: all */
};

void list_referrers_put(struct msg_writer *w, const struct list_referrers *q);
void list_referrers_get(struct msg_reader *r, struct list_referrers *q_r);
/* NULL: it has no type. */
bool list_type_wanted(const struct list_referrers *q, const char *type);

/* As struct list_page; place: alg 0 when not `more`. */
struct list_referrers_page {
    bool more;
    struct digest place;
    uint32_t count;
};

struct list_referrer {
    struct digest digest;
    uint64_t size;
    struct manifest contents; /* without references */
};

void list_referrers_page_put(struct msg_writer *w, const struct list_referrers_page *p);
void list_referrers_page_get(struct msg_reader *r, struct list_referrers_page *p_r);
void list_referrer_put(struct msg_writer *w, const struct list_referrer *entry);
/* Arrays live in the arena, strings in the message. */
void list_referrer_get(struct msg_reader *r, struct mem_arena *arena,
                       struct list_referrer *entry_r);

#endif
