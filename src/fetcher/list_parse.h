/*
 * list_parse.h - lists of upstreams out of their JSON: hostile, bounded, what does not fit the
 * grammar is left out. Each appends entries of a reply. Pure.
 */
#ifndef ENTREPOT_FETCHER_LIST_PARSE_H
#define ENTREPOT_FETCHER_LIST_PARSE_H

#include "ipc/msg_fetch.h"
#include "ipc/msg_list.h"

/* Of all pages together: what a message holds. */
#define LIST_BYTES_MAX (12u << 20)

struct list_out {
    struct msg_writer items; /* for reply_entries_put() */
    uint32_t count;
};

/* {"tags": [...]} or {"repositories": [...]}: the member `key`. PROTOCOL: it is no such thing. */
must_check int list_parse_names(struct list_out *out, const struct str *body, const char *key,
                                bool tags);
/* An image index: the referrers API's, or what lies under the fallback tag. */
must_check int list_parse_referrers(struct list_out *out, const struct str *body);
/* {"results": [{"name", "description", "star_count", "is_official"}]} */
must_check int list_parse_search(struct list_out *out, const struct str *body, uint32_t limit);

#endif
