/*
 * load.c - load that a Python client cannot make: see usage below. Runs beside
 * the servers that tests/bench/run measures, only ever on loopback.
 */
#include "load.h"

#include "client.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "load push PORT CLIENTS BYTES         each client pushes one blob: MiB/s of all\n"
    "load small PORT CLIENTS SECONDS      4 KiB blob and manifest, over and over: pairs/s\n"
    "load delete PORT CLIENTS COUNT       blobs that tests/bench/fill made: s\n"
    "load hashcopy FILE BYTES             SHA-256 of a file, then a durable copy: MiB/s\n"
    "load slow PORT PATH CLIENTS          pulls that read nothing more until stdin ends\n"
    "load busy PORT PATH CLIENTS SECONDS  pulls; which were lost, how long until the next answer\n"
    "load latency PORT PATH COUNT         one request after the other: ms\n"
    "load cold PORT CLIENTS PATH...       each once, all at the same moment: s until the last\n"
    "load first PORT PATH                 when the first 200 came (CLOCK_MONOTONIC)\n";

struct thread {
    pthread_t id;
    void (*work)(void *ctx, size_t n);
    void *ctx;
    size_t n;
};

static void *run(void *arg)
{
    struct thread *t = arg;

    t->work(t->ctx, t->n);
    return NULL;
}

void load_threads(size_t count, void (*work)(void *ctx, size_t n), void *ctx)
{
    struct thread *threads = calloc(count + 1, sizeof(*threads));
    pthread_attr_t attr;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 256u << 10);
    for (size_t i = 0; threads && i < count; i++) {
        threads[i] = (struct thread){.work = work, .ctx = ctx, .n = i};
        if (pthread_create(&threads[i].id, &attr, run, &threads[i]) != 0)
            client_die("no thread");
    }
    for (size_t i = 0; threads && i < count; i++)
        pthread_join(threads[i].id, NULL);
    pthread_attr_destroy(&attr);
    free(threads);
}

uint64_t load_number(const char *text)
{
    char *end;
    uint64_t value = strtoull(text, &end, 10);

    if (!*text || *end)
        client_die("not a number: %s", text);
    return value;
}

static int compare(const void *a, const void *b)
{
    const double *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

void load_print_times(const char *name, double *times, size_t count)
{
    if (count == 0)
        return;
    qsort(times, count, sizeof(*times), compare);
    printf("%s_median_ms %.3f\n%s_p99_ms %.3f\n", name, times[count / 2] * 1e3, name,
           times[count * 99 / 100] * 1e3);
}

int main(int argc, char **argv)
{
    const char *verb = argc > 3 ? argv[1] : "";
    int port = argc > 3 && strcmp(verb, "hashcopy") != 0 ? (int)load_number(argv[2]) : 0;

    if (strcmp(verb, "push") == 0 && argc == 5)
        load_push(port, load_number(argv[3]), load_number(argv[4]));
    else if (strcmp(verb, "small") == 0 && argc == 5)
        load_small(port, load_number(argv[3]), (double)load_number(argv[4]));
    else if (strcmp(verb, "delete") == 0 && argc == 5)
        load_delete(port, load_number(argv[3]), load_number(argv[4]));
    else if (strcmp(verb, "hashcopy") == 0 && argc == 4)
        load_hash_copy(argv[2], load_number(argv[3]));
    else if (strcmp(verb, "slow") == 0 && argc == 5)
        load_slow(port, argv[3], load_number(argv[4]));
    else if (strcmp(verb, "busy") == 0 && argc == 6)
        load_busy(port, argv[3], load_number(argv[4]), (double)load_number(argv[5]));
    else if (strcmp(verb, "latency") == 0 && argc == 5)
        load_latency(port, argv[3], load_number(argv[4]));
    else if (strcmp(verb, "cold") == 0 && argc >= 5)
        load_cold(port, load_number(argv[3]), argv + 4, (size_t)argc - 4);
    else if (strcmp(verb, "first") == 0 && argc == 4)
        load_first(port, argv[3]);
    else
        client_die("usage:\n%s", usage);
    return 0;
}
