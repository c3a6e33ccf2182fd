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

enum fragment_type { FULL = 1, FIRST = 2, MIDDLE = 3, LAST = 4 };

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
        if (!fragment_at(data, len, at, &f) || !fragment_whole(data, at, &f) ||
            inside == (f.type <= FIRST))
            break;
        inside = f.type == FIRST || f.type == MIDDLE;
        at += HEADER + f.len;
    }
    *at_r = record;
    if (at >= len)
        return DB_LOG_WHOLE;
    if (begins_behind(data, len, at + 1))
        return DB_LOG_DAMAGED;
    return ends_short(data, len, at) ? DB_LOG_WHOLE : DB_LOG_TORN;
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

static int log_check_one(int dir_fd, const char *path, const char *name)
{
    int fd = openat(dir_fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    enum db_log_state state;
    struct stat st;
    void *data;
    size_t at;
    int err = 0;

    if (fd < 0 || fstat(fd, &st) != 0 || st.st_size == 0) {
        if (fd >= 0)
            close(fd);
        return 0; /* LevelDB tells what is wrong with it */
    }
    /* Not mapped: a bad sector would be a signal. */
    data = mem_alloc((size_t)st.st_size);
    err = file_pread_full(fd, data, (size_t)st.st_size, 0);
    if (err != 0) {
        tell_unread(path, name, err);
        free(data);
        close(fd);
        return ERR_IO;
    }
    state = db_log_judge(data, (size_t)st.st_size, &at);
    free(data);
    if (state == DB_LOG_TORN)
        err = cut(fd, path, name, (size_t)st.st_size, at);
    close(fd);
    if (state != DB_LOG_DAMAGED)
        return err;
    tell_damage(path, name, at);
    return ERR_DAMAGED;
}

int db_log_check(const char *path)
{
    struct dirent *entry;
    int err = 0;
    DIR *dir;

    if (file_dir_open(AT_FDCWD, path, &dir) != 0)
        return 0;
    while (err == 0 && (entry = readdir(dir))) {
        size_t len = strlen(entry->d_name);

        if (len > 4 && strcmp(entry->d_name + len - 4, ".log") == 0)
            err = log_check_one(dirfd(dir), path, entry->d_name);
    }
    closedir(dir);
    return err;
}
