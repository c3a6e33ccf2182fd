/*
 * scrub_note.c - where the scrub's pass stands, in the database.
 *
 * Runs in the catalog. A reload replaces that process: without the note a daemon
 * that is reloaded once a week would never finish, or never begin, a pass a month
 * long. A note that is lost or damaged costs reading some blobs twice. A crash leaves the note
 * before.
 */
#include "catalog/scrub.h"
#include "meta/codec.h"
#include "meta/db.h"
#include "meta/records.h"

#include <string.h>

static void key_note(struct key *k)
{
    key_begin(k, 'S');
}

void scrub_note_put(struct db *db, const struct scrub_note *note)
{
    struct str value = {0};
    struct key k;

    codec_put_u8(&value, RECORD_VERSION);
    codec_put_u8(&value, note->running);
    codec_put_u64(&value, note->started_s);
    codec_put_u64(&value, note->finished_s);
    codec_put_bytes(&value, note->cursor.data, note->cursor.len);
    key_note(&k);
    db_put(db, k.data, k.len, value.data, value.len);
    str_free(&value);
}

int scrub_note_get(struct db *db, struct scrub_note *note_r)
{
    struct str value = {0};
    struct codec_reader r;
    const void *cursor;
    struct key k;
    int err;

    key_note(&k);
    err = db_get(db, k.data, k.len, &value);
    if (err == 0) {
        r = codec_open(value.data, value.len, RECORD_VERSION);
        note_r->running = codec_get_u8(&r);
        note_r->started_s = codec_get_u64(&r);
        note_r->finished_s = codec_get_u64(&r);
        cursor = codec_get_bytes(&r, KEY_MAX, &note_r->cursor.len);
        err = codec_end(&r);
        if (err == 0 && note_r->cursor.len > 0)
            memcpy(note_r->cursor.data, cursor, note_r->cursor.len);
    }
    str_free(&value);
    return err;
}
