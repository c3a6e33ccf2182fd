/*
 * msg.c - encoding and decoding of messages. Pure; any process.
 *
 * A reader that once failed stays failed and yields zeros and empty strings, so
 * callers check once, at msg_end.
 */
#include "ipc/msg.h"

#include "base/must.h"

#include <string.h>

enum asker { ASKER_ALL, ASKER_OPERATOR };

static const struct {
    const char *name;
    enum msg_role role;
    enum asker asker;
    unsigned deadline_ms;
} types[MSG_TYPE_COUNT] = {[MSG_NONE] = {"NONE", MSG_ROLE_NOBODY, ASKER_ALL, 0},
#define X(name, role, asker, deadline)                                                             \
    [MSG_##name] = {#name, MSG_ROLE_##role, ASKER_##asker, deadline},
                           MSG_TABLE(X)
#undef X
};

const char *msg_name(unsigned type)
{
    return type < MSG_TYPE_COUNT ? types[type].name : "unknown";
}

unsigned msg_deadline_ms(unsigned type)
{
    return type < MSG_TYPE_COUNT ? types[type].deadline_ms : 0;
}

enum msg_role msg_role(unsigned type)
{
    return type < MSG_TYPE_COUNT ? types[type].role : MSG_ROLE_NOBODY;
}

bool msg_privileged(unsigned type)
{
    return type < MSG_TYPE_COUNT && types[type].asker == ASKER_OPERATOR;
}

void msg_begin(struct msg_writer *w, enum msg_type type, uint64_t id)
{
    const uint16_t head[4] = {(uint16_t)type, 0, 0, 0};

    str_reset(&w->buf);
    str_append(&w->buf, head, sizeof(head));
    str_append(&w->buf, &id, sizeof(id));
}

enum msg_type msg_writer_type(const struct msg_writer *w)
{
    uint16_t type;

    MUST(w->buf.len >= MSG_HEADER);
    memcpy(&type, w->buf.data, sizeof(type));
    return type;
}

void msg_put_u8(struct msg_writer *w, uint8_t v)
{
    str_append(&w->buf, &v, sizeof(v));
}

void msg_put_u32(struct msg_writer *w, uint32_t v)
{
    str_append(&w->buf, &v, sizeof(v));
}

void msg_put_u64(struct msg_writer *w, uint64_t v)
{
    str_append(&w->buf, &v, sizeof(v));
}

void msg_put_i32(struct msg_writer *w, int32_t v)
{
    str_append(&w->buf, &v, sizeof(v));
}

void msg_put_bytes(struct msg_writer *w, const void *data, size_t len)
{
    MUST(len <= MSG_MAX);
    msg_put_u32(w, (uint32_t)len);
    str_append(&w->buf, data, len);
}

/* With its end mark, so that the reader can hand out a pointer into the message. */
void msg_put_str(struct msg_writer *w, const char *text)
{
    if (!text)
        text = "";
    msg_put_bytes(w, text, strlen(text) + 1);
}

void msg_put_digest(struct msg_writer *w, const struct digest *d)
{
    msg_put_u8(w, d->alg);
    str_append(&w->buf, d->bytes, digest_len(d->alg));
}

void reply_err_put(struct msg_writer *w, int err)
{
    msg_put_i32(w, err);
}

void reply_count_put(struct msg_writer *w, uint32_t count)
{
    msg_put_u32(w, count);
}

void reply_entries_put(struct msg_writer *w, const struct msg_writer *entries)
{
    if (entries->buf.len > 0)
        str_append(&w->buf, entries->buf.data, entries->buf.len);
}

void msg_writer_free(struct msg_writer *w)
{
    str_free(&w->buf);
}

int msg_reader_init(struct msg_reader *r, const void *data, size_t len)
{
    uint16_t head[4];

    *r = (struct msg_reader){.data = data, .len = len, .at = MSG_HEADER};
    if (len < MSG_HEADER || len > MSG_MAX)
        return ERR_PROTOCOL;
    memcpy(head, data, sizeof(head));
    memcpy(&r->id, r->data + sizeof(head), sizeof(r->id));
    r->type = head[0];
    if (head[0] == MSG_NONE || head[0] >= MSG_TYPE_COUNT || head[1] || head[2] || head[3])
        return ERR_PROTOCOL;
    return 0;
}

static const void *take(struct msg_reader *r, size_t len)
{
    const void *p;

    if (r->bad || r->len - r->at < len) {
        r->bad = true;
        return NULL;
    }
    p = r->data + r->at;
    r->at += len;
    return p;
}

static void take_into(struct msg_reader *r, void *out, size_t len)
{
    const void *p = take(r, len);

    if (p)
        memcpy(out, p, len);
    else
        memset(out, 0, len);
}

uint8_t msg_get_u8(struct msg_reader *r)
{
    uint8_t v;

    take_into(r, &v, sizeof(v));
    return v;
}

uint32_t msg_get_u32(struct msg_reader *r)
{
    uint32_t v;

    take_into(r, &v, sizeof(v));
    return v;
}

uint64_t msg_get_u64(struct msg_reader *r)
{
    uint64_t v;

    take_into(r, &v, sizeof(v));
    return v;
}

int32_t msg_get_i32(struct msg_reader *r)
{
    int32_t v;

    take_into(r, &v, sizeof(v));
    return v;
}

const void *msg_get_bytes(struct msg_reader *r, size_t max, size_t *len_r)
{
    uint32_t len = msg_get_u32(r);
    const void *p = len <= max ? take(r, len) : NULL;

    if (!p) {
        r->bad = true;
        *len_r = 0;
        return "";
    }
    *len_r = len;
    return p;
}

const char *msg_get_str(struct msg_reader *r, size_t max)
{
    size_t len;
    const char *p = msg_get_bytes(r, max + 1, &len);

    if (len == 0 || memchr(p, 0, len) != p + len - 1) {
        r->bad = true;
        return "";
    }
    return p;
}

void msg_get_digest(struct msg_reader *r, bool optional, struct digest *d_r)
{
    size_t len;
    const void *p;

    *d_r = (struct digest){.alg = msg_get_u8(r)};
    len = digest_len(d_r->alg);
    if (r->bad || (len == 0 && !(optional && d_r->alg == 0))) {
        r->bad = true;
        d_r->alg = 0;
        return;
    }
    p = take(r, len);
    if (p)
        memcpy(d_r->bytes, p, len);
    else
        d_r->alg = 0;
}

int reply_err_get(struct msg_reader *r)
{
    int err = msg_get_i32(r);

    return r->bad ? ERR_PROTOCOL : err;
}

uint32_t reply_count_get(struct msg_reader *r)
{
    uint32_t count = msg_get_u32(r);

    if (count > r->len - r->at)
        r->bad = true;
    return r->bad ? 0 : count;
}

int msg_end(const struct msg_reader *r)
{
    return r->bad || r->at != r->len ? ERR_PROTOCOL : 0;
}
