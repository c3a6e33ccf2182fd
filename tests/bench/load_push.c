/*
 * load_push.c - pushes: large blobs from memory, small blobs with manifests, tags;
 * and what a push cannot beat, hashing and copying the same bytes.
 */
#include "load.h"

#include "base/digest.h"
#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define PIECE (1u << 20)
#define SMALL 4096
#define MANIFEST                                                                                   \
    "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\","           \
    "\"config\":{\"mediaType\":\"application/octet-stream\",\"digest\":\"%s\",\"size\":%d},"       \
    "\"layers\":[{\"mediaType\":\"application/octet-stream\",\"digest\":\"%s\",\"size\":%d}]}"
#define MANIFEST_TYPE "Content-Type: application/vnd.oci.image.manifest.v1+json\r\n"

struct push {
    int port;
    uint64_t bytes;
    double seconds, begin;
    double *finish; /* of each client: how long the final PUT took */
    _Atomic uint64_t done;
};

static void randomize(char *data, size_t len)
{
    for (size_t at = 0; at < len; at += 256)
        if (getrandom(data + at, len - at < 256 ? len - at : 256, 0) < 0)
            client_die("getrandom: %s", strerror(errno));
}

static uint64_t random_number(void)
{
    uint64_t value;

    randomize((char *)&value, sizeof(value));
    return value;
}

static void open_or_die(struct client *c, int port)
{
    if (client_open(c, port) != 0)
        client_die("nobody listens on port %d", port);
}

/* The session's URL with the digest, ready for the final PUT. */
static void finish_target(const struct client_reply *r, const char *digest, char *out, size_t size)
{
    snprintf(out, size, "%s%cdigest=%s", r->location, strchr(r->location, '?') ? '&' : '?', digest);
}

struct source {
    char *piece; /* sent again and again, its first word counts */
    uint64_t first;
    char digest[DIGEST_TEXT_MAX];
};

static void source_piece(struct source *s, uint64_t number)
{
    uint64_t word = s->first + number;

    memcpy(s->piece, &word, sizeof(word));
}

static void source_new(struct source *s, uint64_t bytes)
{
    struct digest_ctx *ctx = digest_ctx_new(DIGEST_SHA256);
    struct digest digest;

    s->piece = malloc(PIECE);
    if (!s->piece)
        client_die("no memory");
    randomize(s->piece, PIECE);
    s->first = random_number();
    for (uint64_t at = 0; at < bytes; at += PIECE) {
        source_piece(s, at / PIECE);
        digest_ctx_update(ctx, s->piece, bytes - at < PIECE ? (size_t)(bytes - at) : PIECE);
    }
    digest_ctx_peek(ctx, &digest);
    digest_ctx_free(&ctx);
    digest_text(&digest, s->digest);
}

static void source_send(struct source *s, struct client *c, uint64_t bytes)
{
    for (uint64_t at = 0; at < bytes; at += PIECE) {
        source_piece(s, at / PIECE);
        if (client_send(c, s->piece, bytes - at < PIECE ? (size_t)(bytes - at) : PIECE) != 0)
            client_die("a push was cut");
    }
}

static struct source *sources;

static void push_one(void *ctx, size_t n)
{
    struct push *p = ctx;
    struct client c;
    struct client_reply r;
    char head[4096], target[3072];

    open_or_die(&c, p->port);
    snprintf(head, sizeof(head), "POST /v2/bench/push%zu/blobs/uploads/ HTTP/1.1\r\n", n);
    client_must(&c, head, NULL, 0, 202, &r);
    snprintf(head, sizeof(head), "PATCH %s HTTP/1.1\r\nContent-Type: application/octet-stream\r\n",
             r.location);
    if (client_request(&c, head, NULL, p->bytes) != 0)
        client_die("a push was cut");
    source_send(&sources[n], &c, p->bytes);
    if (client_reply(&c, &r) != 0 || client_skip(&c, r.length) != 0 || r.status != 202)
        client_die("PATCH: status %d", r.status);
    finish_target(&r, sources[n].digest, target, sizeof(target));
    snprintf(head, sizeof(head), "PUT %s HTTP/1.1\r\n", target);
    p->finish[n] = client_now();
    client_must(&c, head, NULL, 0, 201, &r);
    p->finish[n] = client_now() - p->finish[n];
    client_close(&c);
}

void load_push(int port, size_t clients, uint64_t bytes)
{
    struct push p = {.port = port, .bytes = bytes};
    double begin;

    p.finish = calloc(clients + 1, sizeof(*p.finish));
    sources = calloc(clients + 1, sizeof(*sources));
    for (size_t i = 0; i < clients && sources; i++)
        source_new(&sources[i], bytes);
    begin = client_now();
    load_threads(clients, push_one, &p);
    printf("mib_s %.1f\n", (double)bytes * (double)clients / (client_now() - begin) / (1 << 20));
    for (size_t i = 0; i < clients && sources; i++)
        free(sources[i].piece);
    load_print_times("finish", p.finish, clients);
    free(p.finish);
    free(sources);
}

/* Blob and manifest; the manifest's length. */
static int push_pair(struct client *c, const char *image, const char *tag)
{
    char data[SMALL], head[4096], target[3072], manifest[1024], text[DIGEST_TEXT_MAX];
    struct digest digest;
    struct client_reply r;
    int len;

    randomize(data, sizeof(data));
    digest_of(DIGEST_SHA256, data, sizeof(data), &digest);
    digest_text(&digest, text);
    snprintf(head, sizeof(head), "POST /v2/%s/blobs/uploads/ HTTP/1.1\r\n", image);
    client_must(c, head, NULL, 0, 202, &r);
    finish_target(&r, text, target, sizeof(target));
    snprintf(head, sizeof(head), "PUT %s HTTP/1.1\r\nContent-Type: application/octet-stream\r\n",
             target);
    client_must(c, head, data, sizeof(data), 201, &r);
    len = snprintf(manifest, sizeof(manifest), MANIFEST, text, SMALL, text, SMALL);
    snprintf(head, sizeof(head), "PUT /v2/%s/manifests/%s HTTP/1.1\r\n" MANIFEST_TYPE, image, tag);
    client_must(c, head, manifest, (size_t)len, 201, &r);
    return len;
}

static void small_one(void *ctx, size_t n)
{
    struct push *p = ctx;
    struct client c;
    char image[64], tag[32];

    open_or_die(&c, p->port);
    snprintf(image, sizeof(image), "bench/small%zu", n);
    for (size_t i = 0; client_now() < p->begin + p->seconds; i++) {
        snprintf(tag, sizeof(tag), "t%zu", i);
        push_pair(&c, image, tag);
        atomic_fetch_add(&p->done, 1);
    }
    client_close(&c);
}

void load_small(int port, size_t clients, double seconds)
{
    struct push p = {.port = port, .seconds = seconds, .begin = client_now()};

    load_threads(clients, small_one, &p);
    printf("pairs_s %.1f\n", (double)p.done / (client_now() - p.begin));
}

/* What is compared: SHA-256 over the file, then a copy that is as durable as a push. */
void load_hash_copy(const char *path, uint64_t bytes)
{
    char *data = malloc(PIECE), copy[4096];
    struct digest digest;
    double begin, hashed;
    int from = open(path, O_RDONLY | O_CLOEXEC), to;

    snprintf(copy, sizeof(copy), "%s.copy", path);
    if (!data || from < 0)
        client_die("%s: %s", path, strerror(errno));
    begin = client_now();
    if (digest_of_file(DIGEST_SHA256, from, bytes, &digest) != 0)
        client_die("%s cannot be read", path);
    hashed = client_now();
    to = open(copy, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    for (uint64_t at = 0; at < bytes && to >= 0; at += PIECE)
        if (pread(from, data, PIECE, (off_t)at) != PIECE || write(to, data, PIECE) != PIECE)
            client_die("%s cannot be copied", path);
    if (to < 0 || fdatasync(to) != 0)
        client_die("%s: %s", copy, strerror(errno));
    printf("mib_s %.1f\nhash_mib_s %.1f\n", (double)bytes / (client_now() - begin) / (1 << 20),
           (double)bytes / (hashed - begin) / (1 << 20));
    close(to);
    close(from);
    unlink(copy);
    free(data);
}
