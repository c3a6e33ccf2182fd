/*
 * load_pull.c - pulls: by clients that hardly read, while a worker is killed, one
 * after the other, and the very first one.
 */
#include "load.h"

#include "client.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define RECEIVE_BYTES  4096
#define RETRY_US       500
#define FIRST_DEADLINE 60
#define TIMES_MAX      100000

static void request_text(char *out, size_t size, const char *path)
{
    snprintf(out, size,
             "GET %s HTTP/1.1\r\nAccept: application/vnd.docker.distribution.manifest.v2+json, "
             "application/vnd.oci.image.manifest.v1+json\r\n",
             path);
}

/* Every client gets its answer's head and then takes nothing more: the server must
 * hold a response open for each of them. */
void load_slow(int port, const char *path, size_t count)
{
    struct client *clients = calloc(count, sizeof(*clients));
    struct rlimit files = {count + 64, count + 64};
    char head[4096], end;

    setrlimit(RLIMIT_NOFILE, &files);
    request_text(head, sizeof(head), path);
    for (size_t i = 0; i < count && clients; i++) {
        struct client_reply r;
        int bytes = RECEIVE_BYTES;

        if (client_open(&clients[i], port) != 0)
            client_die("client %zu is refused", i);
        setsockopt(clients[i].fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
        if (client_request(&clients[i], head, NULL, 0) != 0 || client_reply(&clients[i], &r) != 0 ||
            r.status != 200)
            client_die("client %zu has no answer", i);
    }
    puts("ready");
    fflush(stdout);
    while (read(STDIN_FILENO, &end, 1) > 0)
        continue;
    free(clients);
}

struct busy {
    int port;
    char head[4096];
    double end;
    _Atomic uint64_t answers, lost, refused;
    pthread_mutex_t lock;
    double first_lost, first_after; /* of the first loss, and the next answer to anybody */
    double recovered[TIMES_MAX];    /* a lost client's wait for its next answer */
    size_t recovered_count;
};

static void busy_answered(struct busy *b, double lost_at)
{
    double now = client_now();

    atomic_fetch_add(&b->answers, 1);
    pthread_mutex_lock(&b->lock);
    if (b->first_lost > 0 && b->first_after == 0)
        b->first_after = now;
    if (lost_at > 0 && b->recovered_count < TIMES_MAX)
        b->recovered[b->recovered_count++] = now - lost_at;
    pthread_mutex_unlock(&b->lock);
}

static void busy_lost(struct busy *b)
{
    atomic_fetch_add(&b->lost, 1);
    pthread_mutex_lock(&b->lock);
    if (b->first_lost == 0)
        b->first_lost = client_now();
    pthread_mutex_unlock(&b->lock);
}

static void busy_one(void *ctx, size_t n)
{
    struct busy *b = ctx;
    struct client c = {.fd = -1};
    double lost_at = 0;

    (void)n;
    while (client_now() < b->end) {
        struct client_reply r;

        if (c.fd < 0 && client_open(&c, b->port) != 0) {
            atomic_fetch_add(&b->refused, 1);
            usleep(RETRY_US);
            continue;
        }
        if (client_request(&c, b->head, NULL, 0) != 0 || client_reply(&c, &r) != 0 ||
            client_skip(&c, r.length) != 0) {
            client_close(&c);
            busy_lost(b);
            lost_at = lost_at > 0 ? lost_at : client_now();
            continue;
        }
        if (r.status != 200)
            client_die("status %d under load", r.status);
        busy_answered(b, lost_at);
        lost_at = 0;
    }
    client_close(&c);
}

void load_busy(int port, const char *path, size_t clients, double seconds)
{
    static struct busy b = {.lock = PTHREAD_MUTEX_INITIALIZER};

    b.port = port;
    b.end = client_now() + seconds;
    request_text(b.head, sizeof(b.head), path);
    load_threads(clients, busy_one, &b);
    printf("answers %llu\nlost %llu\nrefused %llu\n", (unsigned long long)b.answers,
           (unsigned long long)b.lost, (unsigned long long)b.refused);
    if (b.first_lost > 0)
        printf("next_answer_ms %.3f\n", (b.first_after - b.first_lost) * 1e3);
    load_print_times("recovered", b.recovered, b.recovered_count);
}

void load_latency(int port, const char *path, size_t count)
{
    double *times = calloc(count, sizeof(*times));
    struct client c;
    struct client_reply r;
    char head[4096];

    request_text(head, sizeof(head), path);
    if (!times || client_open(&c, port) != 0)
        client_die("nobody listens on port %d", port);
    for (size_t i = 0; i < count; i++) {
        double begin = client_now();

        client_must(&c, head, NULL, 0, 200, &r);
        times[i] = client_now() - begin;
    }
    client_close(&c);
    load_print_times("answer", times, count);
    free(times);
}

void load_first(int port, const char *path)
{
    double end = client_now() + FIRST_DEADLINE;
    char head[4096];

    request_text(head, sizeof(head), path);
    while (client_now() < end) {
        struct client c;
        struct client_reply r = {0};

        if (client_open(&c, port) != 0) {
            usleep(RETRY_US);
            continue;
        }
        if (client_request(&c, head, NULL, 0) == 0 && client_reply(&c, &r) == 0 &&
            r.status == 200) {
            printf("at_s %.6f\n", client_now());
            return;
        }
        client_close(&c);
    }
    client_die("no answer in %d s", FIRST_DEADLINE);
}
