/*
 * load_delete.c - deletes blobs of a filled catalog: its records, which is what a delete costs.
 */
#include "load.h"

#include "client.h"
#include "filled.h"

struct delete
{
    int port;
    size_t clients, count;
};

static void delete_some(void *ctx, size_t n)
{
    const struct delete *d = ctx;
    struct client c;

    if (client_open(&c, d->port) != 0)
        client_die("nobody listens on port %d", d->port);
    for (size_t i = n; i < d->count; i += d->clients) {
        struct digest digest = filled_digest('b', i);
        char head[512], image[32], text[DIGEST_TEXT_MAX];
        struct client_reply r;

        filled_image(i, image);
        snprintf(head, sizeof(head), "DELETE /v2/%s/blobs/%s HTTP/1.1\r\n", image,
                 digest_text(&digest, text));
        client_must(&c, head, NULL, 0, 202, &r);
    }
    client_close(&c);
}

void load_delete(int port, size_t clients, size_t count)
{
    struct delete d = {.port = port, .clients = clients, .count = count};
    double begin = client_now();

    load_threads(clients, delete_some, &d);
    printf("seconds %.3f\n", client_now() - begin);
}
