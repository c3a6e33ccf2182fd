/*
 * values.c - encoding and decoding of the database's values.
 *
 * Pure functions of the catalog and of entrepotctl. Counts are bounded before anything is allocated
 * for them: what the disk gives back is checked like any foreign bytes.
 */
#include "meta/values.h"

#include "meta/codec.h"
#include "oci/name.h"

static void record_begin(struct str *out)
{
    str_reset(out);
    codec_put_u8(out, RECORD_VERSION);
}

void record_blob_encode(struct str *out, const struct record_blob *b)
{
    record_begin(out);
    codec_put_u64(out, b->size);
    codec_put_u64(out, b->time);
}

int record_blob_decode(const char *data, size_t len, struct record_blob *b_r)
{
    struct codec_reader r = codec_open(data, len, RECORD_VERSION);

    b_r->size = codec_get_u64(&r);
    b_r->time = codec_get_u64(&r);
    return codec_end(&r);
}

void record_tag_encode(struct str *out, const struct record_tag *t)
{
    record_begin(out);
    codec_put_digest(out, &t->digest);
    codec_put_u64(out, t->size);
    codec_put_u64(out, t->time);
    codec_put_text(out, t->media_type);
}

int record_tag_decode(const char *data, size_t len, struct record_tag *t_r)
{
    struct codec_reader r = codec_open(data, len, RECORD_VERSION);

    codec_get_digest(&r, false, &t_r->digest);
    t_r->size = codec_get_u64(&r);
    t_r->time = codec_get_u64(&r);
    t_r->media_type = codec_get_text(&r, NAME_MEDIA_TYPE_MAX);
    return codec_end(&r);
}

static void contents_put(struct str *out, const struct manifest *m)
{
    codec_put_u8(out, m->is_index);
    codec_put_text(out, m->media_type);
    codec_put_text(out, m->artifact_type);
    codec_put_digest(out, &m->subject);
    codec_put_u32(out, (uint32_t)m->ref_count);
    for (size_t i = 0; i < m->ref_count; i++) {
        codec_put_u8(out, m->refs[i].kind);
        codec_put_u8(out, m->refs[i].exempt);
        codec_put_u64(out, m->refs[i].size);
        codec_put_digest(out, &m->refs[i].digest);
    }
    codec_put_u32(out, (uint32_t)m->annotation_count);
    for (size_t i = 0; i < m->annotation_count; i++) {
        codec_put_text(out, m->annotations[i].key);
        codec_put_text(out, m->annotations[i].value);
    }
}

/* A count of entries that each take bytes of the value; 0 when it cannot be. */
static size_t count_get(struct codec_reader *r, size_t max)
{
    size_t count = codec_get_u32(r);

    if (count > max || count > r->len)
        r->bad = true;
    return r->bad ? 0 : count;
}

static void annotations_get(struct codec_reader *r, struct mem_arena *arena, struct manifest *m_r)
{
    m_r->annotation_count = count_get(r, MANIFEST_ANNOTATIONS_MAX);
    m_r->annotations = mem_arena_alloc(arena, m_r->annotation_count * sizeof(*m_r->annotations));
    for (size_t i = 0; i < m_r->annotation_count; i++) {
        m_r->annotations[i].key = codec_get_text(r, r->len);
        m_r->annotations[i].value = codec_get_text(r, r->len);
    }
}

static void contents_get(struct codec_reader *r, struct mem_arena *arena, struct manifest *m_r)
{
    *m_r = (struct manifest){0};
    m_r->is_index = codec_get_u8(r);
    m_r->media_type = codec_get_text(r, NAME_MEDIA_TYPE_MAX);
    m_r->artifact_type = codec_get_text(r, NAME_MEDIA_TYPE_MAX);
    if (!*m_r->artifact_type)
        m_r->artifact_type = NULL;
    codec_get_digest(r, true, &m_r->subject);
    m_r->ref_count = count_get(r, MANIFEST_REFS_MAX);
    m_r->refs = mem_arena_alloc(arena, m_r->ref_count * sizeof(*m_r->refs));
    for (size_t i = 0; i < m_r->ref_count; i++) {
        m_r->refs[i].kind = codec_get_u8(r);
        m_r->refs[i].exempt = codec_get_u8(r);
        m_r->refs[i].size = codec_get_u64(r);
        codec_get_digest(r, false, &m_r->refs[i].digest);
    }
    annotations_get(r, arena, m_r);
}

void record_manifest_encode(struct str *out, const struct record_manifest *m)
{
    record_begin(out);
    codec_put_u64(out, m->size);
    codec_put_u64(out, m->time);
    contents_put(out, &m->contents);
}

int record_manifest_decode(const char *data, size_t len, struct mem_arena *arena,
                           struct record_manifest *m_r)
{
    struct codec_reader r = codec_open(data, len, RECORD_VERSION);

    m_r->size = codec_get_u64(&r);
    m_r->time = codec_get_u64(&r);
    contents_get(&r, arena, &m_r->contents);
    return codec_end(&r);
}

void record_referrer_encode(struct str *out, const struct record_manifest *m)
{
    const struct manifest_annotation *a;
    struct manifest_shown shown = {0};
    uint32_t count = 0;

    while (manifest_shown_next(&m->contents, &shown) != NULL)
        count++;
    record_begin(out);
    codec_put_u64(out, m->size);
    codec_put_text(out, m->contents.media_type);
    codec_put_text(out, m->contents.artifact_type);
    codec_put_u32(out, count);
    shown = (struct manifest_shown){0};
    while ((a = manifest_shown_next(&m->contents, &shown)) != NULL) {
        codec_put_text(out, a->key);
        codec_put_text(out, a->value);
    }
}

int record_referrer_decode(const char *data, size_t len, struct mem_arena *arena,
                           struct record_manifest *m_r)
{
    struct codec_reader r = codec_open(data, len, RECORD_VERSION);

    *m_r = (struct record_manifest){.size = codec_get_u64(&r)};
    m_r->contents.media_type = codec_get_text(&r, NAME_MEDIA_TYPE_MAX);
    m_r->contents.artifact_type = codec_get_text(&r, NAME_MEDIA_TYPE_MAX);
    if (!*m_r->contents.artifact_type)
        m_r->contents.artifact_type = NULL;
    annotations_get(&r, arena, &m_r->contents);
    return codec_end(&r);
}

void record_parent_encode(struct str *out, bool is_index)
{
    record_begin(out);
    codec_put_u8(out, is_index);
}

int record_parent_decode(const char *data, size_t len, bool *is_index_r)
{
    struct codec_reader r = codec_open(data, len, RECORD_VERSION);

    *is_index_r = codec_get_u8(&r);
    return codec_end(&r);
}

int record_manifest_peek(const char *data, size_t len, uint64_t *size_r, const char **media_type_r)
{
    struct codec_reader r = codec_open(data, len, RECORD_VERSION);

    *size_r = codec_get_u64(&r);
    codec_get_u64(&r); /* time */
    codec_get_u8(&r);  /* contents begin: is_index, media type */
    *media_type_r = codec_get_text(&r, NAME_MEDIA_TYPE_MAX);
    return r.bad ? ERR_DAMAGED : 0;
}
