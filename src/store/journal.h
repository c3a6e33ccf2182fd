/*
 * journal.h - a store's journal: a second witness of what only the database knows.
 *
 * Blobs can be read again from a store's files; which of them are manifests of which image, and
 * what tags point to, cannot. The journal has a line for each change of that, written after the
 * database has it, so that `entrepotctl rebuild` makes a database anew. It is never the truth: a
 * daemon works without it, and writes it anew from the database when it lacks something.
 *
 * Text, appended to. A line:
 *   SUM NUMBER KIND FIELDS
 * SUM: CRC-32 (ISO 3309, as of zlib) of all that follows it up to the end of the line, 8 hex
 * digits. NUMBER: of the change, decimal; each follows the one before. The database holds the last
 * one (meta/witness.h). What was there when the file was written whole has the number of its first
 * line. KIND and FIELDS:
 * - J VERSION DATABASE STORE: the first line, whose it is (identity.h);
 * - M REPO IMAGE DIGEST SIZE TYPE: a manifest, and what it is served as;
 * - m REPO IMAGE DIGEST: it is gone;
 * - T REPO IMAGE TAG DIGEST TIME: a tag points to a manifest since, in seconds since 1970;
 * - t REPO IMAGE TAG: it is gone;
 * - E COUNT UNTIL: the end of what was written whole: lines since the first, and the number from
 *   which on they are the state of one moment;
 * - L NUMBER: the database had lost what is after that number, and an earlier version went on.
 * A line without its end was not written to its end. Whatever is no such line
 * counts as damage.
 */
#ifndef ENTREPOT_STORE_JOURNAL_H
#define ENTREPOT_STORE_JOURNAL_H

#include "base/digest.h"
#include "base/err.h"
#include "base/str.h"
#include "store/identity.h"
#include "store/store.h"

#include <stdbool.h>
#include <stdint.h>

#define JOURNAL_VERSION  1
#define JOURNAL_LINE_MAX 1024

enum journal_kind {
    JOURNAL_BEGIN = 'J',
    JOURNAL_MANIFEST = 'M',
    JOURNAL_MANIFEST_GONE = 'm',
    JOURNAL_TAG = 'T',
    JOURNAL_TAG_GONE = 't',
    JOURNAL_END = 'E',
    JOURNAL_LOST = 'L'
};

struct journal_line {
    enum journal_kind kind;
    uint64_t number;
    const char *repo, *image, *tag, *media_type; /* those that the kind has */
    struct digest digest;
    uint64_t size;                /* of M */
    uint64_t time;                /* of T */
    uint64_t until;               /* of E */
    uint64_t count;               /* of E, L; the version of J */
    const char *database, *store; /* of J */
};

/* Appends the line with its sum and end. */
void journal_put(struct str *out, const struct journal_line *line);
/* `text` without its end, cut apart in place (text[len] becomes NUL), so that *line_r points into
 * it. DAMAGED: no such line. */
must_check int journal_take(char *text, size_t len, struct journal_line *line_r);

/* What a file is as a whole. */
struct journal_file {
    char database[IDENTITY_ID_LEN + 1], store[IDENTITY_ID_LEN + 1]; /* "": no first line */
    uint64_t first, last;                                           /* numbers */
    uint64_t settled; /* from this number on the lines before it are the state of one moment */
    uint64_t lines, bad, bytes;
    bool other;       /* the first line is whole, and another version's */
    bool torn;        /* the last line has no end */
    bool gap;         /* numbers are missing */
    bool complete;    /* what was written whole is all there */
    uint64_t changed; /* number of the last line that is a change */
    uint64_t fell;    /* number of the first line L of a database that lacked changes; 0: none */
};

/* What keeps a journal from being read or written, for messages. */
const char *journal_err_text(int err);

/* journal_file.c. All block, and are CONFLICT where what lies in its place is no file. */
/* Reads it from its beginning and calls for each good line but J, E and L, in their order. `each`
 * may be NULL. NOT_FOUND: there is none; IO. */
must_check int journal_read(const struct store *store,
                            void (*each)(void *ctx, const struct journal_line *line), void *ctx,
                            struct journal_file *file_r);
/* The same from the first line and the last ones alone: whose it is, and the last number. */
must_check int journal_glance(const struct store *store, struct journal_file *file_r);
/* To the one that is there; a crash of the machine may take it back until it is synced. */
must_check int journal_append(const struct store *store, const struct str *text);
must_check int journal_sync(const struct store *store);
/* A new one is written in pieces, the first of which begins it, and has the old one's place when it
 * is placed: durably, and as a whole. After a failure nothing is left of it. */
must_check int journal_new_write(const struct store *store, const struct str *text, bool begin);
must_check int journal_new_place(const struct store *store);
void journal_new_drop(const struct store *store);
/* Puts it where it counts no more and whoever wants to may look: another database's, or of before a
 * rebuild. */
must_check int journal_aside(const struct store *store);

/* Is it the journal of that store and database (`store` NULL: of whichever store)? One whose first
 * line is damaged is: it lies in the store. */
bool journal_ours(const struct journal_file *file, const char *database, const char *store);
/* Does a database that has written `number` last lack changes that the file has? */
bool journal_ahead(const struct journal_file *file, uint64_t number);
/* Nothing is missing up to `last`. */
bool journal_whole(const struct journal_file *file);

#endif
