/*
 * lists.h - a list request under way: shared by lists.c (one hosted repository)
 * and lists_merged.c (proxies and groups).
 */
#ifndef ENTREPOT_API_LISTS_H
#define ENTREPOT_API_LISTS_H

#include "api/api.h"

/* Without `n` all comes that fits one answer of the catalog. */
#define LIST_ABSENT 100000

struct list {
    uint32_t n;
    bool n_given;
    const char *last;
    uint32_t shown;                  /* catalog: so far */
    const char *last_shown;          /* catalog */
    struct push_referrers referrers; /* referrers only */
};

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
