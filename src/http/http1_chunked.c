/*
 * http1_chunked.c - the decoder of chunked bodies (RFC 9112 section 7.1).
 *
 * Runs in the workers, called by conn_body.c with whatever arrived. A byte-driven
 * machine: how the peer cuts its packets changes nothing. What does not follow
 * the grammar is an error for good, because a decoder that guesses is how two
 * parties come to disagree about where a request ends.
 */
#include "http/http1.h"
#include "http/http1_char.h"

#define SIZE_DIGITS_MAX 16
#define EXTENSION_MAX   256
#define TRAILER_MAX     4096

enum chunked_state {
    CHUNKED_SIZE, /* zero: a fresh decoder */
    CHUNKED_EXTENSION,
    CHUNKED_SIZE_LF,
    CHUNKED_DATA,
    CHUNKED_DATA_CR,
    CHUNKED_DATA_LF,
    CHUNKED_TRAILER, /* at the start of a trailer line */
    CHUNKED_TRAILER_NAME,
    CHUNKED_TRAILER_VALUE,
    CHUNKED_TRAILER_LF,
    CHUNKED_LAST_LF,
    CHUNKED_DONE,
    CHUNKED_BROKEN
};

static int hex_value(unsigned char c)
{
    if (http1_is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static int size_byte(struct http1_chunked *c, unsigned char byte)
{
    int digit = hex_value(byte);

    if (digit >= 0) {
        if (++c->line > SIZE_DIGITS_MAX)
            return CHUNKED_BROKEN;
        c->left = c->left << 4 | (uint64_t)digit;
        return CHUNKED_SIZE;
    }
    if (c->line == 0)
        return CHUNKED_BROKEN;
    if (byte == '\r')
        return CHUNKED_SIZE_LF;
    if (byte == ';') {
        c->line = 0;
        return CHUNKED_EXTENSION;
    }
    return CHUNKED_BROKEN;
}

static int extension_byte(struct http1_chunked *c, unsigned char byte)
{
    if (byte == '\r')
        return CHUNKED_SIZE_LF;
    if (++c->line > EXTENSION_MAX || !http1_is_value(byte))
        return CHUNKED_BROKEN;
    return CHUNKED_EXTENSION;
}

static int trailer_byte(struct http1_chunked *c, unsigned char byte)
{
    if (++c->trailer > TRAILER_MAX)
        return CHUNKED_BROKEN;
    switch (c->state) {
    case CHUNKED_TRAILER:
        if (byte == '\r')
            return CHUNKED_LAST_LF;
        return http1_is_token(byte) ? CHUNKED_TRAILER_NAME : CHUNKED_BROKEN;
    case CHUNKED_TRAILER_NAME:
        if (byte == ':')
            return CHUNKED_TRAILER_VALUE;
        return http1_is_token(byte) ? CHUNKED_TRAILER_NAME : CHUNKED_BROKEN;
    case CHUNKED_TRAILER_VALUE:
        if (byte == '\r')
            return CHUNKED_TRAILER_LF;
        return http1_is_value(byte) ? CHUNKED_TRAILER_VALUE : CHUNKED_BROKEN;
    case CHUNKED_TRAILER_LF:
        return byte == '\n' ? CHUNKED_TRAILER : CHUNKED_BROKEN;
    default:
        return byte == '\n' ? CHUNKED_DONE : CHUNKED_BROKEN;
    }
}

/* The state after one byte that is not payload. */
static int next_state(struct http1_chunked *c, unsigned char byte)
{
    switch (c->state) {
    case CHUNKED_SIZE:
        return size_byte(c, byte);
    case CHUNKED_EXTENSION:
        return extension_byte(c, byte);
    case CHUNKED_SIZE_LF:
        c->line = 0;
        if (byte != '\n')
            return CHUNKED_BROKEN;
        return c->left > 0 ? CHUNKED_DATA : CHUNKED_TRAILER;
    case CHUNKED_DATA_CR:
        return byte == '\r' ? CHUNKED_DATA_LF : CHUNKED_BROKEN;
    case CHUNKED_DATA_LF:
        return byte == '\n' ? CHUNKED_SIZE : CHUNKED_BROKEN;
    default:
        return trailer_byte(c, byte);
    }
}

int http1_chunked_decode(struct http1_chunked *c, const char *data, size_t len, size_t *used_r,
                         const char **data_r, size_t *data_len_r, bool *done_r)
{
    size_t used = 0;

    *used_r = 0;
    *data_r = NULL;
    *data_len_r = 0;
    while (used < len && c->state != CHUNKED_DATA && c->state < CHUNKED_DONE)
        c->state = next_state(c, (unsigned char)data[used++]);
    *done_r = c->state == CHUNKED_DONE;
    if (c->state == CHUNKED_BROKEN)
        return ERR_INVALID;
    if (c->state == CHUNKED_DATA && used < len) {
        size_t run = len - used;

        if (run > c->left)
            run = (size_t)c->left;
        *data_r = data + used;
        *data_len_r = run;
        c->left -= run;
        used += run;
        if (c->left == 0)
            c->state = CHUNKED_DATA_CR;
    }
    *used_r = used;
    return 0;
}
