/*
 * load_cold.c - many clients want the same thing at the same moment.
 */
#include "load.h"

#include "client.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

struct cold {
    int port;
    char **paths;
    size_t path_count;
    pthread_barrier_t ready;
    double *first, *done; /* seconds since begin, by client */
    double begin;
};

static void cold_one(void *ctx, size_t n)
{
    struct cold *cold = ctx;
    struct client c;
    struct client_reply r;
    char head[4096];

    snprintf(head, sizeof(head), "GET %s HTTP/1.1\r\n", cold->paths[n % cold->path_count]);
    if (client_open(&c, cold->port) != 0)
        client_die("client %zu is refused", n);
    pthread_barrier_wait(&cold->ready);
    if (n == 0)
        cold->begin = client_now();
    if (client_request(&c, head, NULL, 0) != 0 || client_reply(&c, &r) != 0 || r.status != 200 ||
        r.length == 0 || client_skip(&c, 1) != 0)
        client_die("client %zu has no answer (%d)", n, r.status);
    cold->first[n] = client_now();
    if (client_skip(&c, r.length - 1) != 0)
        client_die("client %zu was cut off", n);
    cold->done[n] = client_now();
    client_close(&c);
}

void load_cold(int port, size_t clients, char **paths, size_t path_count)
{
    struct cold cold = {.port = port, .paths = paths, .path_count = path_count};
    struct rlimit files = {clients + 64, clients + 64};
    double last = 0;

    setrlimit(RLIMIT_NOFILE, &files);
    cold.first = calloc(clients, sizeof(double));
    cold.done = calloc(clients, sizeof(double));
    if (!cold.first || !cold.done ||
        pthread_barrier_init(&cold.ready, NULL, (unsigned)clients) != 0)
        client_die("no memory");
    load_threads(clients, cold_one, &cold);
    for (size_t i = 0; i < clients; i++) {
        cold.first[i] -= cold.begin;
        last = cold.done[i] - cold.begin > last ? cold.done[i] - cold.begin : last;
    }
    printf("last_s %.6f\n", last);
    load_print_times("first_byte", cold.first, clients);
    free(cold.first);
    free(cold.done);
}
