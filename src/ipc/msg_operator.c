/*
 * msg_operator.c - encoding of the messages of msg_operator.h. Any process.
 *
 * Pure. A crash here leaves nothing.
 */
#include "ipc/msg_operator.h"

#include "ipc/role.h"
#include "oci/name.h"

#define WORD_MAX       64
#define PATH_MAX_BYTES 4096

void operator_evict_put(struct msg_writer *w, const struct operator_evict *q)
{
    msg_put_str(w, q->repo);
    msg_put_str(w, q->image);
}

void operator_evict_get(struct msg_reader *r, struct operator_evict *q_r)
{
    q_r->repo = msg_get_str(r, NAME_IMAGE_MAX);
    q_r->image = msg_get_str(r, NAME_IMAGE_MAX);
}

void operator_drop_put(struct msg_writer *w, const struct operator_drop *q)
{
    msg_put_str(w, q->repo);
    msg_put_u8(w, q->begin);
}

void operator_drop_get(struct msg_reader *r, struct operator_drop *q_r)
{
    q_r->repo = msg_get_str(r, CONF_NAME_MAX);
    q_r->begin = msg_get_u8(r);
}

void operator_dropped_put(struct msg_writer *w, const struct operator_dropped *d)
{
    stats_repo_put(w, &d->stats);
    msg_put_u8(w, d->state);
}

void operator_dropped_get(struct msg_reader *r, struct operator_dropped *d_r)
{
    stats_repo_get(r, &d_r->stats);
    d_r->state = msg_get_u8(r);
}

void operator_gc_put(struct msg_writer *w, bool now)
{
    msg_put_u8(w, now);
}

bool operator_gc_get(struct msg_reader *r)
{
    return msg_get_u8(r);
}

void operator_orphans_put(struct msg_writer *w, bool take)
{
    msg_put_u8(w, take);
}

bool operator_orphans_get(struct msg_reader *r)
{
    return msg_get_u8(r);
}

void operator_daemon_put(struct msg_writer *w, const struct operator_daemon *d)
{
    msg_put_str(w, d->version);
    msg_put_str(w, d->file);
    msg_put_u32(w, d->pid);
    msg_put_u32(w, d->generation);
    msg_put_u64(w, d->uptime_s);
}

void operator_daemon_get(struct msg_reader *r, struct operator_daemon *d_r)
{
    d_r->version = msg_get_str(r, WORD_MAX);
    d_r->file = msg_get_str(r, PATH_MAX_BYTES);
    d_r->pid = msg_get_u32(r);
    d_r->generation = msg_get_u32(r);
    d_r->uptime_s = msg_get_u64(r);
}

void operator_process_put(struct msg_writer *w, const struct operator_process *p)
{
    msg_put_str(w, p->role);
    msg_put_str(w, p->state);
    msg_put_str(w, p->trouble);
    msg_put_u32(w, p->slot);
    msg_put_u32(w, p->generation);
    msg_put_u32(w, p->restarts);
    msg_put_u32(w, p->pid);
    msg_put_u64(w, p->connections);
    msg_put_u64(w, p->requests);
    msg_put_u64(w, p->bytes_in);
    msg_put_u64(w, p->bytes_out);
    msg_put_u64(w, p->asks);
}

void operator_process_get(struct msg_reader *r, struct operator_process *p_r)
{
    p_r->role = msg_get_str(r, WORD_MAX);
    p_r->state = msg_get_str(r, WORD_MAX);
    p_r->trouble = msg_get_str(r, ROLE_TROUBLE_MAX);
    p_r->slot = msg_get_u32(r);
    p_r->generation = msg_get_u32(r);
    p_r->restarts = msg_get_u32(r);
    p_r->pid = msg_get_u32(r);
    p_r->connections = msg_get_u64(r);
    p_r->requests = msg_get_u64(r);
    p_r->bytes_in = msg_get_u64(r);
    p_r->bytes_out = msg_get_u64(r);
    p_r->asks = msg_get_u64(r);
}
