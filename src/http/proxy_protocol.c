/*
 * proxy_protocol.c - parsing of PROXY protocol heads.
 *
 * Runs in workers, called by conn_proxy.c before anything else is read from a
 * connection; pure.
 */
#include "http/proxy_protocol.h"

#include "base/str.h"

#include <arpa/inet.h>
#include <string.h>

#define V1_MAX      107 /* with its CRLF */
#define V1_WORDS    6   /* PROXY TCP4 SOURCE DESTINATION PORT PORT */
#define V2_HEAD     16
#define V2_VERSION  0x20
#define V2_LOCAL    0
#define V2_PROXY    1
#define FAMILY_NONE 0
#define FAMILY_V4   1
#define FAMILY_V6   2
#define FAMILY_UNIX 3
#define STREAM      1
#define V4_BYTES    12
#define V6_BYTES    36
#define UNIX_BYTES  216
#define TLV_SSL     0x20
#define CLIENT_SSL  0x01

static const char v1_begin[] = "PROXY ";
static const char v2_begin[] = "\r\n\r\n\0\r\nQUIT\n";

#define V1_BEGIN (sizeof(v1_begin) - 1)
#define V2_BEGIN (sizeof(v2_begin) - 1)

static size_t at_most(size_t a, size_t b)
{
    return a < b ? a : b;
}

static bool begins(const char *data, size_t len, const char *begin, size_t begin_len)
{
    return memcmp(data, begin, at_most(len, begin_len)) == 0;
}

static size_t number16(const char *data)
{
    return (size_t)(uint8_t)data[0] << 8 | (uint8_t)data[1];
}

int proxy_protocol_missing(const char *data, size_t len, size_t *missing_r, bool *line_r)
{
    size_t whole = V2_HEAD;

    *line_r = false;
    *missing_r = 0;
    if (len == 0) {
        *missing_r = PROXY_PROTOCOL_MIN;
        return 0;
    }
    if (begins(data, len, v1_begin, V1_BEGIN)) {
        if (data[len - 1] == '\n')
            return 0;
        *line_r = len >= PROXY_PROTOCOL_MIN;
        whole = *line_r ? V1_MAX : PROXY_PROTOCOL_MIN;
    } else if (!begins(data, len, v2_begin, V2_BEGIN)) {
        return ERR_INVALID;
    } else if (len >= V2_HEAD) {
        whole = V2_HEAD + number16(data + 14);
        if (whole > PROXY_PROTOCOL_MAX || len > whole)
            return ERR_INVALID;
    }
    if (len >= whole)
        return whole == V1_MAX ? ERR_INVALID : 0;
    *missing_r = whole - len;
    return 0;
}

static int port_parse(const char *text, in_port_t *port_r)
{
    uint64_t port;

    if (str_parse_u64(text, strlen(text), &port) != 0 || port > 65535 ||
        (text[0] == '0' && text[1]))
        return ERR_INVALID;
    *port_r = htons((uint16_t)port);
    return 0;
}

static void client_set(struct proxy_protocol *p, int family, const void *address, in_port_t port)
{
    if (family == AF_INET) {
        struct sockaddr_in *v4 = (struct sockaddr_in *)&p->client.ss;

        v4->sin_family = AF_INET;
        v4->sin_port = port;
        memcpy(&v4->sin_addr, address, sizeof(v4->sin_addr));
        p->client.len = sizeof(*v4);
    } else {
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&p->client.ss;

        v6->sin6_family = AF_INET6;
        v6->sin6_port = port;
        memcpy(&v6->sin6_addr, address, sizeof(v6->sin6_addr));
        p->client.len = sizeof(*v6);
    }
    p->known = true;
}

/* What stands behind "PROXY ", without its CRLF. */
static int parse_words(char *line, struct proxy_protocol *p_r)
{
    char *words[V1_WORDS - 1], *rest = line;
    struct in6_addr source, destination;
    in_port_t port, other;
    size_t count = 0;
    int family;

    while (rest) {
        if (count == V1_WORDS - 1)
            return ERR_INVALID;
        words[count++] = strsep(&rest, " ");
    }
    /* "UNKNOWN" may be followed by anything, which is to be ignored. */
    if (count != V1_WORDS - 1)
        return ERR_INVALID;
    family = strcmp(words[0], "TCP4") == 0 ? AF_INET : strcmp(words[0], "TCP6") == 0 ? AF_INET6 : 0;
    if (family == 0 || inet_pton(family, words[1], &source) != 1 ||
        inet_pton(family, words[2], &destination) != 1 || port_parse(words[3], &port) != 0 ||
        port_parse(words[4], &other) != 0)
        return ERR_INVALID;
    client_set(p_r, family, &source, port);
    return 0;
}

static int parse_v1(const char *data, size_t len, struct proxy_protocol *p_r)
{
    char line[V1_MAX + 1];

    if (len > V1_MAX || memcmp(data + len - 2, "\r\n", 2) != 0 || memchr(data, 0, len) ||
        memchr(data, '\n', len - 1) || memchr(data, '\r', len - 2))
        return ERR_INVALID;
    len -= V1_BEGIN + 2;
    memcpy(line, data + V1_BEGIN, len);
    line[len] = 0;
    if (strcmp(line, "UNKNOWN") == 0 || strncmp(line, "UNKNOWN ", 8) == 0)
        return 0;
    return parse_words(line, p_r);
}

static int parse_extensions(const char *data, size_t len, struct proxy_protocol *p_r)
{
    while (len > 0) {
        size_t value;

        if (len < 3)
            return ERR_INVALID;
        value = number16(data + 1);
        if (value > len - 3)
            return ERR_INVALID;
        if (data[0] == TLV_SSL && value >= 5 && data[3] & CLIENT_SSL)
            p_r->tls = true;
        data += 3 + value;
        len -= 3 + value;
    }
    return 0;
}

static int parse_v2(const char *data, size_t len, struct proxy_protocol *p_r)
{
    uint8_t command = (uint8_t)data[12] & 0x0f, family = (uint8_t)data[13] >> 4,
            protocol = (uint8_t)data[13] & 0x0f;
    static const size_t bytes[] = {[FAMILY_NONE] = 0,
                                   [FAMILY_V4] = V4_BYTES,
                                   [FAMILY_V6] = V6_BYTES,
                                   [FAMILY_UNIX] = UNIX_BYTES};
    const char *address = data + V2_HEAD;
    in_port_t port;

    if (((uint8_t)data[12] & 0xf0) != V2_VERSION || command > V2_PROXY || family > FAMILY_UNIX)
        return ERR_INVALID;
    /* Whatever else these say is to be ignored. */
    if (command == V2_LOCAL || (family == FAMILY_NONE && protocol == 0))
        return 0;
    if (family == FAMILY_NONE || protocol != STREAM || len - V2_HEAD < bytes[family])
        return ERR_INVALID;
    if (family == FAMILY_V4) {
        memcpy(&port, address + 8, sizeof(port));
        client_set(p_r, AF_INET, address, port);
    } else if (family == FAMILY_V6) {
        memcpy(&port, address + 32, sizeof(port));
        client_set(p_r, AF_INET6, address, port);
    }
    return parse_extensions(address + bytes[family], len - V2_HEAD - bytes[family], p_r);
}

int proxy_protocol_parse(const char *data, size_t len, struct proxy_protocol *p_r)
{
    size_t missing;
    bool line;

    memset(p_r, 0, sizeof(*p_r));
    if (len < PROXY_PROTOCOL_MIN || proxy_protocol_missing(data, len, &missing, &line) != 0 ||
        missing > 0)
        return ERR_INVALID;
    return data[0] == v1_begin[0] ? parse_v1(data, len, p_r) : parse_v2(data, len, p_r);
}
