/*
 * access.c - the access log. Runs in workers, which share the file by O_APPEND.
 *
 * A crash loses no line that was written.
 */
#include "worker/access.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *path_open = "off";
static int fd_open = -1;

int access_open(const char *path)
{
    path_open = path;
    return access_reopen();
}

int access_reopen(void)
{
    int fd = -1;

    if (strcmp(path_open, "stderr") == 0) {
        fd_open = STDERR_FILENO;
        return 0;
    }
    if (strcmp(path_open, "off") != 0) {
        fd = open(path_open, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
        if (fd < 0)
            return err_from_errno(errno);
    }
    if (fd_open > STDERR_FILENO)
        close(fd_open);
    fd_open = fd;
    return 0;
}

static void append_time(struct str *line)
{
    struct timespec now;
    struct tm tm;
    char text[32];

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    str_printf(line, "time=%s.%03ldZ", text, now.tv_nsec / 1000000);
}

static uint64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

void access_log(const struct http_request *r)
{
    static struct str line; /* one thread writes, and the memory is used again */
    char client[NET_ADDR_TEXT_MAX];
    const char *agent = http_header_get(r, "User-Agent");

    if (fd_open < 0)
        return;
    str_reset(&line);
    append_time(&line);
    str_printf(&line, " req=%s client=%s method=", r->id,
               net_addr_text((const struct sockaddr *)&r->client.ss, r->client.len, client));
    log_append_value(&line, r->method_text);
    str_puts(&line, " target=");
    log_append_value(&line, r->target);
    str_printf(&line, " status=%d sent=%llu took_us=%llu ", r->status,
               (unsigned long long)r->bytes_sent, (unsigned long long)(now_us() - r->started_us));
    if (r->log_fields)
        str_printf(&line, "%s ", r->log_fields);
    if (*r->client_name) {
        str_puts(&line, "cert=");
        log_append_value(&line, r->client_name);
        str_putc(&line, ' ');
    }
    str_puts(&line, "agent=");
    log_append_value(&line, agent);
    str_putc(&line, '\n');
    if (write(fd_open, line.data, line.len) < 0)
        log_debug("cannot write the access log", NULL);
}
