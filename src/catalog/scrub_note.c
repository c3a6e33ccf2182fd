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

#include <string.h>

static const struct meta_key note_key = {.kind = META_SCRUB};

void scrub_note_put(struct db *db, const struct scrub_note *note)
{
    struct str value = {0};

    codec_put_u8(&value, RECORD_VERSION);
    codec_put_u8(&value, note->running);
    codec_put_u64(&value, note->started_s);
    codec_put_u64(&value, note->finished_s);
    codec_put_bytes(&value, note->cursor.data, note->cursor.len);
    meta_put(db, note_key, &value);
    str_free(&value);
}

int scrub_note_get(struct db *db, struct scrub_note *note_r)
{
    struct str value = {0};
    struct codec_reader r;
    const void *cursor;
    int err = meta_get(db, note_key, &value);

    if (err == 0) {
        r = codec_open(value.data, value.len, RECORD_VERSION);
        note_r->running = codec_get_u8(&r);
        note_r->started_s = codec_get_u64(&r);
        note_r->finished_s = codec_get_u64(&r);
        cursor = codec_get_bytes(&r, META_PLACE_MAX, &note_r->cursor.len);
        err = codec_end(&r);
        if (err == 0 && note_r->cursor.len > 0)
            memcpy(note_r->cursor.data, cursor, note_r->cursor.len);
    }
    str_free(&value);
    return err;
}
