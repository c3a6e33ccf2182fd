/*
 * msg_list.c - contents of questions for lists and of their replies. Any process.
 *
 * Pure. A crash here leaves nothing.
 */
#include "ipc/msg_list.h"

#include "ipc/msg_push.h"
#include "oci/name.h"

#include <string.h>

void list_names_put(struct msg_writer *w, const struct list_names *l)
{
    msg_put_str(w, l->repo);
    msg_put_str(w, l->image);
    msg_put_str(w, l->last);
    msg_put_u32(w, l->limit);
}

void list_names_get(struct msg_reader *r, struct list_names *l_r)
{
    l_r->repo = msg_get_str(r, NAME_IMAGE_MAX);
    l_r->image = msg_get_str(r, NAME_IMAGE_MAX);
    l_r->last = msg_get_str(r, 2 * NAME_IMAGE_MAX);
    l_r->limit = msg_get_u32(r);
}

void list_page_put(struct msg_writer *w, const struct list_page *p)
{
    msg_put_u8(w, p->more);
    msg_put_str(w, p->more ? p->place : "");
    reply_count_put(w, p->count);
}

void list_page_get(struct msg_reader *r, struct list_page *p_r)
{
    p_r->more = msg_get_u8(r);
    p_r->place = msg_get_str(r, 2 * NAME_IMAGE_MAX);
    p_r->count = reply_count_get(r);
}

void list_name_put(struct msg_writer *w, const char *name)
{
    msg_put_str(w, name);
}

const char *list_name_get(struct msg_reader *r)
{
    return msg_get_str(r, 2 * NAME_IMAGE_MAX);
}

void list_search_put(struct msg_writer *w, const struct list_search *s)
{
    msg_put_str(w, s->repo);
    msg_put_str(w, s->shown);
    msg_put_str(w, s->term);
    msg_put_str(w, s->last);
}

void list_search_get(struct msg_reader *r, struct list_search *s_r)
{
    s_r->repo = msg_get_str(r, NAME_IMAGE_MAX);
    s_r->shown = msg_get_str(r, NAME_IMAGE_MAX);
    s_r->term = msg_get_str(r, NAME_IMAGE_MAX);
    s_r->last = msg_get_str(r, NAME_IMAGE_MAX);
}

void list_referrers_put(struct msg_writer *w, const struct list_referrers *q)
{
    msg_put_str(w, q->repo);
    msg_put_str(w, q->image);
    msg_put_digest(w, &q->subject);
    msg_put_digest(w, &q->last);
    msg_put_u32(w, q->limit);
    msg_put_u32(w, q->type_count);
    for (uint32_t i = 0; i < q->type_count; i++)
        msg_put_str(w, q->types[i]);
}

void list_referrers_get(struct msg_reader *r, struct list_referrers *q_r)
{
    *q_r = (struct list_referrers){0};
    q_r->repo = msg_get_str(r, NAME_IMAGE_MAX);
    q_r->image = msg_get_str(r, NAME_IMAGE_MAX);
    msg_get_digest(r, false, &q_r->subject);
    msg_get_digest(r, true, &q_r->last);
    q_r->limit = msg_get_u32(r);
    q_r->type_count = msg_get_u32(r);
    if (q_r->type_count > LIST_TYPES_MAX) {
        r->bad = true;
        q_r->type_count = 0;
    }
    for (uint32_t i = 0; i < q_r->type_count; i++)
        q_r->types[i] = msg_get_str(r, NAME_MEDIA_TYPE_MAX);
}

bool list_type_wanted(const struct list_referrers *q, const char *type)
{
    for (uint32_t i = 0; i < q->type_count; i++)
        if (type && strcmp(q->types[i], type) == 0)
            return true;
    return q->type_count == 0;
}

void list_referrers_page_put(struct msg_writer *w, const struct list_referrers_page *p)
{
    msg_put_u8(w, p->more);
    msg_put_digest(w, p->more ? &p->place : &(struct digest){0});
    reply_count_put(w, p->count);
}

void list_referrers_page_get(struct msg_reader *r, struct list_referrers_page *p_r)
{
    p_r->more = msg_get_u8(r);
    msg_get_digest(r, true, &p_r->place);
    p_r->count = reply_count_get(r);
}

void list_referrer_put(struct msg_writer *w, const struct list_referrer *entry)
{
    msg_put_digest(w, &entry->digest);
    msg_put_u64(w, entry->size);
    push_contents_put(w, &entry->contents);
}

void list_referrer_get(struct msg_reader *r, struct mem_arena *arena, struct list_referrer *entry_r)
{
    msg_get_digest(r, false, &entry_r->digest);
    entry_r->size = msg_get_u64(r);
    push_contents_get(r, arena, &entry_r->contents);
}
