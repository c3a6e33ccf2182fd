/*
 * log.c - the life-cycle log. Any process; lines of all processes meet in one
 * file opened for appending, one write(2) each, so they never mix.
 *
 * A crash loses no line that was written.
 */
#include "base/log.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 4096
#define QUOTE_BYTES    512
#define QUOTE_BUFFERS  8

static int log_descriptor = STDERR_FILENO;
static char *log_path;
static const char *log_role = "main";
static int log_slot;
static enum log_level log_highest = LOG_LEVEL_INFO;
static bool log_echoes;
static const char *log_program = "entrepotd"; /* in what is said to a person */
static bool log_is_plain;

int log_open(const char *path)
{
    int fd = STDERR_FILENO;
    char *copy;

    if (strcmp(path, "stderr") != 0) {
        fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
        if (fd < 0)
            return err_from_errno(errno);
    }
    copy = mem_strdup(path); /* path may be log_path itself */
    if (log_descriptor > STDERR_FILENO)
        close(log_descriptor);
    free(log_path);
    log_path = copy;
    log_descriptor = fd;
    return 0;
}

void log_echo(bool on)
{
    log_echoes = on;
}

int log_reopen(void)
{
    return log_path ? log_open(log_path) : 0;
}

int log_fd(void)
{
    return log_descriptor;
}

void log_plain(const char *program)
{
    log_program = program;
    log_is_plain = true;
}

void log_identity(const char *role, int slot)
{
    log_role = role;
    log_slot = slot;
}

void log_threshold(enum log_level level)
{
    log_highest = level;
}

static size_t line_begin(char *line, enum log_level level, const char *msg)
{
    static const char *const names[] = {"error", "warn", "notice", "info", "debug"};
    struct timespec now;
    struct tm tm;
    char when[32];
    int len;

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
    len =
        snprintf(line, LINE_MAX_BYTES, "time=%s.%03ldZ level=%s role=%s slot=%d pid=%d msg=\"%s\"",
                 when, now.tv_nsec / 1000000, names[level], log_role, log_slot, (int)getpid(), msg);
    return len < LINE_MAX_BYTES ? (size_t)len : LINE_MAX_BYTES - 1;
}

/* What of a line a person at a terminal wants. */
static void line_echo(enum log_level level, const char *msg, const char *fields, size_t len)
{
    if (log_is_plain || (log_echoes && level <= LOG_LEVEL_WARN && log_descriptor != STDERR_FILENO))
        dprintf(STDERR_FILENO, "%s: %s%s%.*s\n", log_program, msg, len > 0 ? ":" : "", (int)len,
                fields);
}

void log_write(enum log_level level, const char *msg, const char *fields, ...)
{
    char line[LINE_MAX_BYTES + 1];
    int saved = errno;
    size_t len, head;
    va_list args;

    if (level > log_highest)
        return;
    head = len = line_begin(line, level, msg);
    if (fields && len + 2 < LINE_MAX_BYTES) {
        int more;

        line[len++] = ' ';
        va_start(args, fields);
        errno = saved; /* for %m */
        more = vsnprintf(line + len, LINE_MAX_BYTES - len, fields, args);
        va_end(args);
        len += more < 0                              ? 0
               : (size_t)more < LINE_MAX_BYTES - len ? (size_t)more
                                                     : LINE_MAX_BYTES - len - 1;
    }
    line_echo(level, msg, line + head, len - head);
    if (log_is_plain) {
        errno = saved;
        return;
    }
    line[len++] = '\n';
    while (write(log_descriptor, line, len) < 0 && errno == EINTR)
        ;
    errno = saved;
}

static bool value_plain(const char *text)
{
    if (!*text)
        return false;
    for (; *text; text++)
        if (*text <= ' ' || *text == '"' || *text == '=' || *text == '\\' || *text >= 0x7f)
            return false;
    return true;
}

/* One byte as it stands inside quotes; its length, and out is no string. */
static size_t value_escape(char c, char out[4])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char byte = (unsigned char)c;

    if (c == '"' || c == '\\' || c == '\n') {
        out[0] = '\\';
        out[1] = c == '\n' ? 'n' : c;
        return 2;
    }
    if (byte < 0x20 || byte >= 0x7f) {
        out[0] = '\\';
        out[1] = 'x';
        out[2] = digits[byte >> 4];
        out[3] = digits[byte & 15];
        return 4;
    }
    out[0] = c;
    return 1;
}

void log_append_value(struct str *s, const char *text)
{
    if (!text) {
        str_putc(s, '-');
        return;
    }
    if (value_plain(text)) {
        str_puts(s, text);
        return;
    }
    str_putc(s, '"');
    for (; *text; text++) {
        char escaped[4];

        str_append(s, escaped, value_escape(*text, escaped));
    }
    str_putc(s, '"');
}

/* Takes nothing from the heap: must_fail() comes here when there is none left. */
const char *log_quote(const char *text)
{
    static char buffers[QUOTE_BUFFERS][QUOTE_BYTES];
    static unsigned next;
    char *out = buffers[next++ % QUOTE_BUFFERS];
    bool plain = text && value_plain(text);
    const char *end = plain ? "" : "\"", *cut = plain ? "..." : "...\"";
    size_t len = plain ? 0 : 1, fits; /* fits: the longest head with room for the cut mark */

    if (!text)
        return "-";
    out[0] = '"';
    for (fits = len; *text; text++) {
        char escaped[4];
        size_t more = value_escape(*text, escaped);

        if (len + more + strlen(end) >= QUOTE_BYTES) {
            len = fits;
            end = cut;
            break;
        }
        memcpy(out + len, escaped, more);
        len += more;
        if (len + strlen(cut) < QUOTE_BYTES)
            fits = len;
    }
    memcpy(out + len, end, strlen(end) + 1);
    return out;
}

void log_lines(enum log_level level, const char *msg, struct str *lines)
{
    char *rest = lines->data, *line;

    while (rest && (line = strsep(&rest, "\n")) != NULL)
        if (*line)
            log_write(level, msg, "detail=%s", log_quote(line));
    str_free(lines);
}
