/*
 * lists.h - a list request under way: shared by lists.c and lists_referrers.c (one hosted
 * repository) and lists_merged.c (proxies and groups).
 */
#ifndef ENTREPOT_API_LISTS_H
#define ENTREPOT_API_LISTS_H

#include "api/api.h"
#include "ipc/msg_list.h"

/* Without `n` all comes, up to this many and these bytes. */
#define LIST_ABSENT    100000
#define LIST_BYTES_MAX (4u << 20)

#define LIST_REFERRERS_BEGIN                                                                       \
    "{\"schemaVersion\":2,\"mediaType\":\"" MANIFEST_TYPE_OCI_INDEX "\",\"manifests\":["

struct merge; /* lists_merged.c */

struct list {
    uint32_t n;
    bool n_given;
    const char *last;
    bool tags;              /* else images, or referrers */
    uint32_t shown;         /* so far */
    const char *last_shown; /* "": none */
    const char *place;      /* up to which the catalog has looked */
    /* Referrers only: */
    struct list_referrers referrers;
    struct digest last_digest, place_digest; /* as last_shown and place */
    struct merge *merge;                     /* of proxies and groups; else NULL */
};

/* Reads n and last; NULL when they were refused. It is call->op. */
struct list *list_new(struct api_call *call, uint32_t absent, uint32_t max);

/* call->op is the struct list. Link: <...?last=X&n=K>; rel="next". */
void list_add_link(struct api_call *call, const char *what, const char *last);
/* `{"name":...,"tags":[`, the image named as the client knows it. */
void list_begin_tags(struct api_call *call);
/* The next referrer of a reply as a descriptor in JSON; its digest in *digest_r. False: it has
 * another type than those asked for, or the reply is bad. */
bool list_append_referrer(struct api_call *call, struct msg_reader *reply, struct str *body,
                          struct digest *digest_r);
/* "referrers/<digest>", in the arena. */
const char *list_referrers_path(struct api_call *call);

/* lists_merged.c: of all members, without doubles, in order, paged. */
void list_merge_tags(struct api_call *call);
void list_merge_images(struct api_call *call);
void list_merge_referrers(struct api_call *call);

#endif
