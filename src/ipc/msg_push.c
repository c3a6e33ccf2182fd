/*
 * msg_push.c - contents of the worker's questions to the catalog.
 *
 * Pure functions used by both sides. Counts are bounded before anything is
 * allocated for them: a worker's bytes are hostile.
 */
#include "ipc/msg_push.h"

#include "oci/name.h"

#define TEXT_MAX (MSG_MAX / 2)

void push_repo_put(struct msg_writer *w, const char *repo)
{
    msg_put_str(w, repo);
}

const char *push_repo_get(struct msg_reader *r)
{
    return msg_get_str(r, NAME_IMAGE_MAX);
}

void push_target_put(struct msg_writer *w, const struct push_target *t)
{
    push_repo_put(w, t->repo);
    msg_put_str(w, t->image);
    msg_put_digest(w, &t->digest);
    msg_put_u64(w, t->size);
}

void push_target_get(struct msg_reader *r, struct push_target *t_r)
{
    t_r->repo = push_repo_get(r);
    t_r->image = msg_get_str(r, NAME_IMAGE_MAX);
    msg_get_digest(r, true, &t_r->digest);
    t_r->size = msg_get_u64(r);
}

void push_tag_put(struct msg_writer *w, const struct push_tag *t)
{
    push_repo_put(w, t->repo);
    msg_put_str(w, t->image);
    msg_put_str(w, t->tag);
}

void push_tag_get(struct msg_reader *r, struct push_tag *t_r)
{
    t_r->repo = push_repo_get(r);
    t_r->image = msg_get_str(r, NAME_IMAGE_MAX);
    t_r->tag = msg_get_str(r, NAME_TAG_MAX);
}

void push_named_put(struct msg_writer *w, const struct digest *parent)
{
    msg_put_digest(w, parent);
}

void push_named_get(struct msg_reader *r, struct digest *parent_r)
{
    msg_get_digest(r, false, parent_r);
}

void push_mount_put(struct msg_writer *w, const struct push_mount *m)
{
    push_target_put(w, &m->to);
    msg_put_str(w, m->from_repo);
    msg_put_str(w, m->from_image);
}

void push_mount_get(struct msg_reader *r, struct push_mount *m_r)
{
    push_target_get(r, &m_r->to);
    m_r->from_repo = msg_get_str(r, NAME_IMAGE_MAX);
    m_r->from_image = msg_get_str(r, NAME_IMAGE_MAX);
}

void push_contents_put(struct msg_writer *w, const struct manifest *m)
{
    msg_put_u8(w, m->is_index);
    msg_put_str(w, m->media_type);
    msg_put_str(w, m->artifact_type);
    msg_put_digest(w, &m->subject);
    msg_put_u32(w, (uint32_t)m->ref_count);
    for (size_t i = 0; i < m->ref_count; i++) {
        msg_put_u8(w, m->refs[i].kind);
        msg_put_u8(w, m->refs[i].exempt);
        msg_put_u64(w, m->refs[i].size);
        msg_put_digest(w, &m->refs[i].digest);
    }
    msg_put_u32(w, (uint32_t)m->annotation_count);
    for (size_t i = 0; i < m->annotation_count; i++) {
        msg_put_str(w, m->annotations[i].key);
        msg_put_str(w, m->annotations[i].value);
    }
}

void push_contents_get(struct msg_reader *r, struct mem_arena *arena, struct manifest *m_r)
{
    *m_r = (struct manifest){0};
    m_r->is_index = msg_get_u8(r);
    m_r->media_type = msg_get_str(r, NAME_MEDIA_TYPE_MAX);
    m_r->artifact_type = msg_get_str(r, NAME_MEDIA_TYPE_MAX);
    if (!*m_r->artifact_type)
        m_r->artifact_type = NULL;
    msg_get_digest(r, true, &m_r->subject);

    m_r->ref_count = msg_get_u32(r);
    if (m_r->ref_count > MANIFEST_REFS_MAX || m_r->ref_count > r->len)
        r->bad = true;
    if (r->bad) {
        m_r->ref_count = 0;
        return;
    }
    m_r->refs = mem_arena_alloc(arena, m_r->ref_count * sizeof(*m_r->refs));
    for (size_t i = 0; i < m_r->ref_count; i++) {
        m_r->refs[i].kind = msg_get_u8(r);
        m_r->refs[i].exempt = msg_get_u8(r);
        m_r->refs[i].size = msg_get_u64(r);
        msg_get_digest(r, false, &m_r->refs[i].digest);
    }

    m_r->annotation_count = msg_get_u32(r);
    if (m_r->annotation_count > MANIFEST_ANNOTATIONS_MAX || m_r->annotation_count > r->len)
        r->bad = true;
    if (r->bad) {
        m_r->annotation_count = 0;
        return;
    }
    m_r->annotations = mem_arena_alloc(arena, m_r->annotation_count * sizeof(*m_r->annotations));
    for (size_t i = 0; i < m_r->annotation_count; i++) {
        m_r->annotations[i].key = msg_get_str(r, TEXT_MAX);
        m_r->annotations[i].value = msg_get_str(r, TEXT_MAX);
    }
}

void push_manifest_put(struct msg_writer *w, const struct push_manifest *p)
{
    push_target_put(w, &p->target);
    msg_put_u32(w, p->tag_count);
    for (uint32_t i = 0; i < p->tag_count; i++)
        msg_put_str(w, p->tags[i]);
    msg_put_u8(w, p->condition);
    msg_put_digest(w, &p->condition_digest);
    push_contents_put(w, &p->manifest);
}

void push_manifest_get(struct msg_reader *r, struct mem_arena *arena, struct push_manifest *p_r)
{
    *p_r = (struct push_manifest){0};
    push_target_get(r, &p_r->target);
    p_r->tag_count = msg_get_u32(r);
    if (p_r->tag_count > PUSH_TAGS_MAX) {
        r->bad = true;
        p_r->tag_count = 0;
    }
    for (uint32_t i = 0; i < p_r->tag_count; i++)
        p_r->tags[i] = msg_get_str(r, NAME_TAG_MAX);
    p_r->condition = msg_get_u8(r);
    if (p_r->condition > PUSH_IF_MATCH)
        r->bad = true;
    msg_get_digest(r, true, &p_r->condition_digest);
    push_contents_get(r, arena, &p_r->manifest);
}

void push_redeployed_put(struct msg_writer *w, const char *tag)
{
    msg_put_str(w, tag);
}

const char *push_redeployed_get(struct msg_reader *r)
{
    return msg_get_str(r, NAME_TAG_MAX);
}

void push_size_put(struct msg_writer *w, const struct push_size *s)
{
    msg_put_digest(w, &s->digest);
    msg_put_u64(w, s->said);
    msg_put_u64(w, s->size);
}

void push_size_get(struct msg_reader *r, struct push_size *s_r)
{
    msg_get_digest(r, false, &s_r->digest);
    s_r->said = msg_get_u64(r);
    s_r->size = msg_get_u64(r);
}

void push_held_type_put(struct msg_writer *w, const char *media_type)
{
    msg_put_str(w, media_type);
}

const char *push_held_type_get(struct msg_reader *r)
{
    return msg_get_str(r, NAME_MEDIA_TYPE_MAX);
}

void push_missing_put(struct msg_writer *w, const struct push_missing *m)
{
    msg_put_u32(w, m->count);
    for (uint32_t i = 0; i < m->count; i++)
        msg_put_digest(w, &m->digests[i]);
}

void push_missing_get(struct msg_reader *r, struct push_missing *m_r)
{
    m_r->count = msg_get_u32(r);
    if (m_r->count > PUSH_MISSING_MAX)
        r->bad = true;
    if (r->bad)
        m_r->count = 0;
    for (uint32_t i = 0; i < m_r->count; i++)
        msg_get_digest(r, false, &m_r->digests[i]);
}
