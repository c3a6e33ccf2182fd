/*
 * log.h - the life-cycle log: logfmt, one write(2) a line.
 *
 * Line: time=RFC3339 level=... role=... slot=... pid=... msg="..." then the
 * fields the caller gave. error = the operator must act, warn = degraded,
 * notice = life cycle, info = request, debug = for us.
 */
#ifndef ENTREPOT_BASE_LOG_H
#define ENTREPOT_BASE_LOG_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>

/* In the order of the words of `log_level` in conf/conf_schema.h. */
enum log_level {
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARN,
    LOG_LEVEL_NOTICE,
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG
};

/* Opens `path` for appending ("stderr" means descriptor 2) and makes it the
 * destination. On failure the old destination stays. */
must_check int log_open(const char *path);
/* Opens the same path again (USR1, after rotation). */
must_check int log_reopen(void);
/* The descriptor lines go to. */
int log_fd(void);
/* Until further notice warnings and errors go to standard error too, short ("entrepotd: ...").
 * Nothing is said twice: while the log is standard error itself, this does nothing. */
void log_echo(bool on);
/* This process is a tool with no log: what would be a line of it goes to standard error, as a
 * person wants it ("PROGRAM: msg: fields"). `program` must be static. */
void log_plain(const char *program);
/* What every line of this process says about itself. `role` must be static. */
void log_identity(const char *role, int slot);
/* Lines above this level are dropped; default INFO. */
void log_threshold(enum log_level level);

/* `fields` is a printf format that yields logfmt fields ("path=%s err=%d") or
 * NULL. Values that may hold spaces, quotes, control or foreign bytes go
 * through log_quote(). `msg` must be a literal. */
__attribute__((format(printf, 3, 4))) void log_write(enum log_level level, const char *msg,
                                                     const char *fields, ...);
/* A line of the log for each line of `lines`, which is freed. */
void log_lines(enum log_level level, const char *msg, struct str *lines);
#define log_error(...)  log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)   log_write(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_notice(...) log_write(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...)   log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)  log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

/* Appends `text` as a logfmt value: bare when it is plain, else quoted with
 * \" \\ \n and \xNN escapes. NULL gives `-`. */
void log_append_value(struct str *s, const char *text);
/* The same into one of 8 rotating static buffers of 512 bytes (longer text is
 * cut and ends in "..."). */
const char *log_quote(const char *text);

#endif
