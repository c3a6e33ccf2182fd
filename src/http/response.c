/*
 * response.c - answers: the head, and sending it with its body.
 *
 * Runs in workers. Head and small bodies leave in one sendmsg; files by
 * sendfile, at most a piece a turn so that one fast reader does not starve
 * others. A crash here costs the worker's connections; none of their clients takes what came for
 * the whole, for a length or an end mark is missing.
 */
#include "base/log.h"
#include "base/must.h"
#include "http/conn.h"
#include "http/io.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define PARTS_MAX  8
#define FILE_PIECE (1u << 20)
/* What was in memory is not looked at again for so long. A client may take minutes for a piece,
 * and the kernel drop the rest of it meanwhile. */
#define READY_MS 100
/* The status line and the lines that every answer has, at their longest. */
#define FRONT_MAX 256
/* Header lines that a handler adds to a pull's answer. */
#define LINES_USUAL 320

static const struct {
    int status;
    const char *text;
} texts[] = {
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {206, "Partial Content"},
    {304, "Not Modified"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {426, "Upgrade Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {507, "Insufficient Storage"},
};

const char *http_status_text(int status)
{
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (texts[i].status == status)
            return texts[i].text;
    return "Unknown";
}

void response_begin(struct http_conn *c)
{
    str_reset(&c->out);
    str_reserve(&c->out, FRONT_MAX + LINES_USUAL);
    c->out.len = FRONT_MAX;
}

static struct str *header_begin(struct http_request *r, const char *name)
{
    struct str *out = &r->conn->out;

    MUST(!r->answered);
    str_puts(out, name);
    str_append(out, ": ", 2);
    return out;
}

/* No value may end its line early: `before` is where it begins. */
static void header_end(struct str *out, size_t before)
{
    const char *value = out->data + before;
    size_t len = out->len - before;

    MUST(!memchr(value, '\0', len) && !memchr(value, '\r', len) && !memchr(value, '\n', len));
    str_append(out, "\r\n", 2);
}

void http_header_add(struct http_request *r, const char *name, const char *format, ...)
{
    struct str *out = header_begin(r, name);
    size_t before = out->len;
    va_list args;

    va_start(args, format);
    str_vprintf(out, format, args);
    va_end(args);
    header_end(out, before);
}

void http_header_put(struct http_request *r, const char *name, const char *value)
{
    struct str *out = header_begin(r, name);
    size_t before = out->len;

    str_puts(out, value);
    header_end(out, before);
}

/* The clock is read once a second, not once an answer. */
static const char *date_text(struct http_server *server)
{
    uint64_t now_s = loop_now_ms(server->setup.loop) / 1000;
    time_t wall;
    struct tm tm;

    if (server->date_s == now_s && *server->date)
        return server->date;
    wall = time(NULL);
    gmtime_r(&wall, &tm);
    strftime(server->date, sizeof(server->date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
    server->date_s = now_s;
    return server->date;
}

/* Leaves what is sent, and empty segments, behind. */
static void skip_sent(struct http_conn *c)
{
    while (c->segment < c->r.segment_count && c->segment_at == c->r.segments[c->segment].len) {
        c->segment++;
        c->segment_at = c->ready_until = 0;
    }
}

/* The head grows towards its beginning. */
static void front_bytes(struct http_conn *c, const char *text, size_t len)
{
    MUST(len <= c->out_at);
    c->out_at -= len;
    memcpy(c->out.data + c->out_at, text, len);
}

static void front(struct http_conn *c, const char *text)
{
    front_bytes(c, text, strlen(text));
}

static void front_u64(struct http_conn *c, uint64_t number)
{
    do {
        front_bytes(c, &"0123456789"[number % 10], 1);
        number /= 10;
    } while (number > 0);
}

/* From the last line to the status line. */
static void front_lines(struct http_conn *c, bool bodyless)
{
    const struct http_request *r = &c->r;

    front(c, "\r\n");
    front(c, r->id);
    front(c, "X-Request-Id: ");
    if (r->close)
        front(c, "Connection: close\r\n");
    else if (r->http10)
        front(c, "Connection: keep-alive\r\n");
    front(c, "\r\n");
    if (!bodyless) {
        front_u64(c, r->response_length);
        front(c, "\r\nContent-Length: ");
    }
    front(c, date_text(c->server));
    front(c, "\r\nDate: ");
    front(c, http_status_text(r->status));
    front(c, " ");
    front_u64(c, (uint64_t)r->status);
    front(c, "HTTP/1.1 ");
}

void response_build_head(struct http_conn *c)
{
    struct http_request *r = &c->r;
    bool bodyless = r->status == 204 || r->status == 304;

    /* A client that waits for 100 Continue may or may not send its body now: only
     * a new connection knows where the next request begins. */
    if (!c->body_done && r->expect_continue && !c->body_wanted)
        c->stream_lost = true;
    if (!c->body_done && c->body == CONN_BODY_LENGTH &&
        c->body_left > c->server->setup.limits.drain_bytes)
        r->close = true;
    if (c->server->draining || c->stream_lost)
        r->close = true;
    c->out_at = FRONT_MAX;
    front_lines(c, bodyless);
    str_append(&c->out, "\r\n", 2);
    c->segment = 0;
    c->segment_at = c->ready_until = 0;
    if (r->method == HTTP_HEAD || bodyless)
        r->segment_count = 0;
    skip_sent(c);
}

static void answer(struct http_request *r, int status)
{
    struct http_conn *c = r->conn;

    MUST(!r->answered && c->active && status >= 200);
    r->answered = true;
    r->status = status;
    conn_kick(c);
}

void http_answer_empty(struct http_request *r, int status)
{
    r->response_length = 0;
    r->segment_count = 0;
    answer(r, status);
}

void http_answer_memory(struct http_request *r, int status, const void *data, size_t len)
{
    struct http_segment *segment = mem_arena_alloc(r->arena, sizeof(*segment));

    *segment = (struct http_segment){.data = data, .fd = -1, .len = len};
    http_answer_segments(r, status, segment, len > 0 ? 1 : 0);
}

void http_answer_segments(struct http_request *r, int status, struct http_segment *segments,
                          size_t count)
{
    r->segments = segments;
    r->segment_count = count;
    r->response_length = 0;
    for (size_t i = 0; i < count; i++)
        r->response_length += segments[i].len;
    answer(r, status);
}

void http_answer_length(struct http_request *r, int status, uint64_t length)
{
    MUST(r->method == HTTP_HEAD || status == 304);
    r->segment_count = 0;
    r->response_length = length;
    answer(r, status);
}

void http_file_grown(struct http_request *r, uint64_t end)
{
    r->file_end = end;
    if (!r->conn->starved)
        return;
    r->conn->starved = false;
    conn_kick(r->conn);
}

static void sent(struct http_conn *c, size_t len)
{
    size_t of_head = c->out.len - c->out_at;

    if (of_head > len)
        of_head = len;
    c->out_at += of_head;
    len -= of_head;
    c->r.bytes_sent += len;
    c->moved += len + of_head;
    atomic_fetch_add_explicit(&c->server->setup.counters->bytes_out, len + of_head,
                              memory_order_relaxed);
    while (len > 0) {
        uint64_t left = c->r.segments[c->segment].len - c->segment_at;
        uint64_t run = len < left ? len : left;

        c->segment_at += run;
        len -= (size_t)run;
        skip_sent(c);
    }
}

/* The rest of the head and the memory segments that follow it. */
static int send_memory(struct http_conn *c, size_t *done_r)
{
    struct iovec parts[PARTS_MAX];
    size_t count = 0, i;
    uint64_t at = c->segment_at;

    if (c->out_at < c->out.len)
        parts[count++] = (struct iovec){c->out.data + c->out_at, c->out.len - c->out_at};
    for (i = c->segment; i < c->r.segment_count && c->r.segments[i].data && count < PARTS_MAX;
         i++) {
        parts[count++] = (struct iovec){(char *)(uintptr_t)c->r.segments[i].data + at,
                                        (size_t)(c->r.segments[i].len - at)};
        at = 0;
    }
    /* What follows at once leaves in the same packet; a growing file may take its time. */
    return io_write(&c->io, parts, count, i < c->r.segment_count && c->r.file_end == UINT64_MAX,
                    done_r);
}

static int send_file(struct http_conn *c, size_t *done_r)
{
    const struct http_segment *segment = &c->r.segments[c->segment];
    uint64_t left = segment->len - c->segment_at;
    uint64_t offset = segment->offset + c->segment_at;
    size_t len = left > FILE_PIECE ? FILE_PIECE : (size_t)left;
    uint64_t now = loop_now_ms(c->server->setup.loop);

    /* A deadline moves the connection on, too: the thread is not overtaken. */
    if (c->reading_ahead)
        return ERR_BUSY;
    if (offset >= c->r.file_end) {
        c->starved = true;
        return ERR_BUSY;
    }
    if (len > c->r.file_end - offset)
        len = (size_t)(c->r.file_end - offset);
    if (c->r.file_end == UINT64_MAX &&
        (c->segment_at >= c->ready_until || now - c->ready_ms >= READY_MS)) {
        c->ready_until = c->segment_at + len;
        c->ready_ms = now;
        if (readahead_start(c, segment->fd, offset, len))
            return ERR_BUSY;
    }
    return io_send_file(&c->io, segment->fd, offset, len, done_r);
}

enum conn_step response_step(struct http_conn *c)
{
    struct http_request *r = &c->r;
    bool memory = c->out_at < c->out.len;
    size_t done;
    int err;

    if (!memory && c->segment == r->segment_count)
        return STEP_STATE;
    memory = memory || r->segments[c->segment].data;
    err = memory ? send_memory(c, &done) : send_file(c, &done);
    if (err == ERR_BUSY)
        return STEP_WAIT;
    if (err == ERR_DAMAGED || err == ERR_IO)
        log_error(err == ERR_IO ? "a file cannot be read; the connection is cut"
                                : "a file ended before its length; the connection is cut",
                  "req=%s", r->id);
    if (err != 0) {
        c->aborted = true;
        return STEP_STATE;
    }
    sent(c, done);
    if (c->out_at == c->out.len && c->segment == r->segment_count)
        return STEP_STATE;
    return memory ? STEP_AGAIN : STEP_YIELD;
}
