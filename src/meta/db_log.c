/*
 * db_log.c - tells damage of LevelDB's log from what a power cut leaves.
 *
 * Runs in the catalog and in entrepotctl before the database is opened, and only then: nobody
 * writes the log meanwhile. A crash while a log is cut leaves it torn; the next start cuts it.
 */
#include "meta/db_log.h"

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK  32768
#define HEADER 7 /* u32 CRC, u16 length, u8 type */
/* A batch begins with u64 sequence number, u32 count of changes. */
#define BATCH_HEADER    12
#define BATCH_COUNT_MAX (1u << 24)

/* LevelDB has two at most; leftovers may lie beside them. */
#define LOGS_MAX   64
#define NAME_BYTES 32

enum fragment_type { FULL = 1, FIRST = 2, MIDDLE = 3, LAST = 4, NO_TYPE = 255 };

struct fragment {
    uint8_t type;
    size_t len;
    const uint8_t *data;
};

static uint64_t get_le(const uint8_t *p, size_t bytes)
{
    uint64_t v = 0;

    for (size_t i = bytes; i-- > 0;)
        v = v << 8 | p[i];
    return v;
}

/* CRC-32C (RFC 3720 appendix B.4), as LevelDB stores it: turned and with a number added. */
static uint32_t stored_crc(const uint8_t *data, size_t len)
{
    static uint32_t table[256];
    uint32_t crc = ~0u;

    for (uint32_t i = 0; !table[255] && i < 256; i++) {
        uint32_t v = i;

        for (int bit = 0; bit < 8; bit++)
            v = v >> 1 ^ (v & 1 ? 0x82f63b78u : 0);
        table[i] = v;
    }
    for (size_t i = 0; i < len; i++)
        crc = table[(crc ^ data[i]) & 255] ^ crc >> 8;
    crc = ~crc;
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

static bool fragment_at(const uint8_t *data, size_t len, size_t at, struct fragment *f_r)
{
    size_t room = BLOCK - at % BLOCK;

    if (room < HEADER || len - at < HEADER)
        return false;
    f_r->len = get_le(data + at + 4, 2);
    f_r->type = data[at + 6];
    f_r->data = data + at + HEADER;
    return f_r->type >= FULL && f_r->type <= LAST && f_r->len <= room - HEADER &&
           f_r->len <= len - at - HEADER;
}

static bool fragment_whole(const uint8_t *data, size_t at, const struct fragment *f)
{
    return get_le(data + at, 4) == stored_crc(data + at + 6, f->len + 1);
}

static bool whole_at(const uint8_t *data, size_t len, size_t at, struct fragment *f_r)
{
    return fragment_at(data, len, at, f_r) && fragment_whole(data, at, f_r);
}

/* Does a record of ours begin anywhere from `at` on? The length of one that changed does not tell
 * where the next begins, so each place is tried; the batch's header spares most of the sums. */
static bool begins_behind(const uint8_t *data, size_t len, size_t at)
{
    struct fragment f;

    for (; at < len; at++) {
        if (!fragment_at(data, len, at, &f) || f.type > FIRST || f.len < BATCH_HEADER)
            continue;
        if (get_le(f.data, 8) >> 56 != 0 || get_le(f.data + 8, 4) > BATCH_COUNT_MAX)
            continue;
        if (fragment_whole(data, at, &f))
            return true;
    }
    return false;
}

/* Does the file end within a fragment that may be good so far? */
static bool ends_short(const uint8_t *data, size_t len, size_t at)
{
    size_t room = BLOCK - at % BLOCK;

    return len - at < HEADER || (data[at + 6] != 0 && get_le(data + at + 4, 2) <= room - HEADER &&
                                 get_le(data + at + 4, 2) > len - at - HEADER);
}

enum db_log_state db_log_judge(const void *bytes, size_t len, size_t *at_r)
{
    const uint8_t *data = bytes;
    size_t at = 0, record = 0; /* where the present record begins */
    bool inside = false;
    struct fragment f;

    while (at < len) {
        size_t room = BLOCK - at % BLOCK;

        if (room < HEADER) { /* filled with zeroes */
            at += room;
            continue;
        }
        if (!inside)
            record = at;
        if (!whole_at(data, len, at, &f) || inside == (f.type <= FIRST))
            break;
        inside = f.type == FIRST || f.type == MIDDLE;
        at += HEADER + f.len;
    }
    *at_r = at >= len && !inside ? len : record;
    if (at >= len)
        return DB_LOG_WHOLE;
    if (begins_behind(data, len, at + 1))
        return DB_LOG_DAMAGED;
    return ends_short(data, len, at) ? DB_LOG_WHOLE : DB_LOG_TORN;
}

/* LevelDB leaves a fragment of no known type out, and the rest of a block behind one that is
 * nothing but zeroes. A length is believed where the next fragment begins behind it. */
static size_t blank_one(uint8_t *data, size_t len, size_t at)
{
    size_t room = BLOCK - at % BLOCK;
    struct fragment f, next;

    if (fragment_at(data, len, at, &f) && whole_at(data, len, at + HEADER + f.len, &next)) {
        data[at + 6] = NO_TYPE;
        return at + HEADER + f.len;
    }
    memset(data + at, 0, len - at < HEADER ? len - at : HEADER);
    return at + room;
}

size_t db_log_blank(void *bytes, size_t len)
{
    uint8_t *data = bytes;
    size_t at = 0, count = 0;
    struct fragment f;

    while (at < len) {
        if (BLOCK - at % BLOCK < HEADER) {
            at += BLOCK - at % BLOCK;
        } else if (whole_at(data, len, at, &f)) {
            at += HEADER + f.len;
        } else {
            at = blank_one(data, len, at);
            count++;
        }
    }
    return count;
}

/* The numbers that LevelDB gives to changes, which go on from one log to the next. */
struct numbers {
    uint64_t first, next; /* of the first change; after the last one */
    bool known;           /* a header that two blocks share is not looked at */
};

/* `end`: whole records are before it. */
static void numbers_of(const uint8_t *data, size_t end, struct numbers *n_r)
{
    struct fragment f;
    size_t at = 0;

    *n_r = (struct numbers){0};
    while (at < end) {
        if (BLOCK - at % BLOCK < HEADER) {
            at += BLOCK - at % BLOCK;
            continue;
        }
        if (!fragment_at(data, end, at, &f))
            break;
        if (f.type <= FIRST) {
            n_r->known = f.len >= BATCH_HEADER;
            if (n_r->known && at == 0)
                n_r->first = get_le(f.data, 8);
            if (n_r->known)
                n_r->next = get_le(f.data, 8) + get_le(f.data + 8, 4);
        }
        at += HEADER + f.len;
    }
}

/* It is tried again and again: told once. */
static void tell_damage(const char *path, const char *name, size_t at)
{
    static size_t told = SIZE_MAX;

    if (at != told)
        log_error("the database's log is damaged: what stands behind this byte would be lost "
                  "without a word, so the database is not opened: entrepotctl rebuild",
                  "path=%s file=%s byte=%zu", log_quote(path), name, at);
    told = at;
}

static int cut(int fd, const char *path, const char *name, size_t len, size_t at)
{
    if (ftruncate(fd, (off_t)at) != 0 || fsync(fd) != 0) {
        log_error("cannot cut the database's log", "path=%s file=%s reason=%s", log_quote(path),
                  name, log_quote(strerror(errno)));
        return ERR_IO;
    }
    log_notice("the database's log ends in a change that a power cut left unfinished; it was never "
               "acknowledged and is cut off",
               "path=%s file=%s byte=%zu bytes=%zu", log_quote(path), name, at, len - at);
    return 0;
}

/* It is tried again and again: told once. */
static void tell_unread(const char *path, const char *name, int err)
{
    static bool told;

    if (!told)
        log_error("cannot read the database's log: its disk may be failing; bring back what it "
                  "holds, or entrepotctl rebuild",
                  "path=%s file=%s err=%s", log_quote(path), name, log_quote(err_text(err)));
    told = true;
}

/* A log that was looked at. */
struct one {
    char name[NAME_BYTES];
    uint64_t number;
    size_t len, at; /* at: where the first record begins that is not whole, or the end */
    enum db_log_state state;
    struct numbers numbers;
};

/* One of no bytes, or that cannot be opened: LevelDB tells what is wrong with it. */
static int look(int fd, const char *path, struct one *one)
{
    struct stat st;
    void *data;
    int err;

    if (fd < 0 || fstat(fd, &st) != 0 || st.st_size == 0)
        return 0;
    /* Not mapped: a bad sector would be a signal. */
    one->len = (size_t)st.st_size;
    data = mem_alloc(one->len);
    err = file_pread_full(fd, data, one->len, 0);
    if (err == 0) {
        one->state = db_log_judge(data, one->len, &one->at);
        numbers_of(data, one->at, &one->numbers);
    } else {
        tell_unread(path, one->name, err);
        err = ERR_IO;
    }
    free(data);
    return err;
}

/* LevelDB begins a log when the one before has its last change, which was synced: only the end of
 * the last one may be unfinished, and no change is missing between two. */
static int check_older(const char *path, const struct one *one, const struct one *next)
{
    if (one->state != DB_LOG_WHOLE || one->at < one->len || one->len == 0 ||
        (one->numbers.known && next->numbers.first > 0 &&
         next->numbers.first != one->numbers.next)) {
        tell_damage(path, one->name, one->at);
        return ERR_DAMAGED;
    }
    return 0;
}

static int check_last(int fd, const char *path, const struct one *one)
{
    if (one->state == DB_LOG_TORN)
        return cut(fd, path, one->name, one->len, one->at);
    if (one->state == DB_LOG_WHOLE)
        return 0;
    tell_damage(path, one->name, one->at);
    return ERR_DAMAGED;
}

static int compare(const void *a, const void *b)
{
    const struct one *x = a, *y = b;

    return x->number < y->number ? -1 : x->number > y->number;
}

bool db_log_is(const char *name)
{
    size_t len = strlen(name);

    return len > 4 && strcmp(name + len - 4, ".log") == 0;
}

static size_t list(DIR *dir, struct one *logs)
{
    struct dirent *entry;
    size_t count = 0;

    while (count < LOGS_MAX && (entry = readdir(dir))) {
        if (!db_log_is(entry->d_name) || strlen(entry->d_name) >= NAME_BYTES)
            continue;
        memcpy(logs[count].name, entry->d_name, strlen(entry->d_name) + 1);
        logs[count++].number = strtoull(entry->d_name, NULL, 10);
    }
    qsort(logs, count, sizeof(*logs), compare);
    return count;
}

/* From the last one back: what follows a log says what its end may be. */
static int check_all(int dir_fd, const char *path, struct one *logs, size_t count)
{
    const struct one *next = NULL;
    int err = 0;

    for (size_t i = count; i-- > 0 && err == 0;) {
        int fd = openat(dir_fd, logs[i].name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

        err = look(fd, path, &logs[i]);
        if (err == 0 && next)
            err = check_older(path, &logs[i], next);
        else if (err == 0)
            err = check_last(fd, path, &logs[i]);
        if (fd >= 0)
            close(fd);
        if (logs[i].len > 0)
            next = &logs[i];
    }
    return err;
}

int db_log_check(const char *path)
{
    struct one *logs;
    int err;
    DIR *dir;

    if (file_dir_open(AT_FDCWD, path, &dir) != 0)
        return 0;
    logs = mem_alloc_array(LOGS_MAX, sizeof(*logs));
    err = check_all(dirfd(dir), path, logs, list(dir, logs));
    free(logs);
    closedir(dir);
    return err;
}
