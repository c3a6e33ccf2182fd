/*
 * scrub_note.c - where the scrub's pass stands, in the database.
 *
 * Runs in the catalog. A reload replaces that process: without the note a daemon
 * that is reloaded once a week would never finish, or never begin, a pass a month
 * long. A note that is lost or damaged costs reading some blobs twice.
 */
#include "catalog/scrub.h"
#include "ipc/msg.h"
#include "meta/db.h"

#include <string.h>

static void key_note(struct key *k)
{
    key_begin(k, 'S');
}

void scrub_note_put(struct db *db, const struct scrub_note *note)
{
    struct msg_writer w = {0};
    struct key k;

    msg_put_u8(&w, KEYS_VERSION);
    msg_put_u8(&w, note->running);
    msg_put_u64(&w, note->started_s);
    msg_put_u64(&w, note->finished_s);
    msg_put_bytes(&w, note->cursor.data, note->cursor.len);
    key_note(&k);
    db_put(db, k.data, k.len, w.buf.data, w.buf.len);
    msg_writer_free(&w);
}

int scrub_note_get(struct db *db, struct scrub_note *note_r)
{
    struct msg_reader r = {0};
    struct str value = {0};
    const void *cursor;
    struct key k;
    int err;

    key_note(&k);
    err = db_get(db, k.data, k.len, &value);
    if (err == 0) {
        r.data = value.data;
        r.len = value.len;
        r.bad = msg_get_u8(&r) != KEYS_VERSION;
        note_r->running = msg_get_u8(&r);
        note_r->started_s = msg_get_u64(&r);
        note_r->finished_s = msg_get_u64(&r);
        cursor = msg_get_bytes(&r, KEY_MAX, &note_r->cursor.len);
        err = msg_end(&r) == 0 ? 0 : ERR_DAMAGED;
        if (err == 0 && note_r->cursor.len > 0)
            memcpy(note_r->cursor.data, cursor, note_r->cursor.len);
    }
    str_free(&value);
    return err;
}
