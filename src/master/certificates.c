/*
 * certificates.c - what HTTPS connectors need, read where keys may be read.
 *
 * Runs in the master. It keeps files' bytes and lets a child of a moment parse
 * them, so that a reload whose files do not fit is refused and yet no copy of a
 * key is left on the heap that other roles inherit. They overwrite the bytes
 * before they do anything else; workers take them into use. A crash of the child is a reload, or
 * start, that is refused.
 */
#include "base/container.h"
#include "base/file.h"
#include "base/mem.h"
#include "master/master.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROTATE_MS      ((uint64_t)3600 * 1000)
#define FILE_BYTES_MAX (1 << 20)

static int file_take(const char *path, struct tls_file *file_r, struct str *why)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st = {0};
    int err = 0;

    file_r->path = path;
    if (fd < 0 || fstat(fd, &st) != 0) {
        str_printf(why, "%s: cannot be opened: %s\n", path, strerror(errno));
        err = ERR_INVALID;
    } else if (!S_ISREG(st.st_mode) || st.st_size > FILE_BYTES_MAX) {
        str_printf(why, "%s: is not a file of at most 1 MiB\n", path);
        err = ERR_INVALID;
    } else {
        /* All at once: a buffer that grows leaves parts of a key behind. */
        file_r->len = (size_t)st.st_size;
        file_r->data = mem_alloc(file_r->len + 1);
        if (file_pread_full(fd, file_r->data, file_r->len, 0) != 0) {
            str_printf(why, "%s: cannot be read\n", path);
            err = ERR_INVALID;
        }
    }
    if (fd >= 0)
        close(fd);
    return err;
}

static void file_wipe(struct tls_file *file)
{
    if (file->data)
        explicit_bzero(file->data, file->len);
    free(file->data);
}

static int pair_take(const char *name, const struct conf_certificate *c, struct tls_pair *pair_r,
                     struct str *why)
{
    int err, key_err;

    pair_r->name = name;
    err = file_take(c->file, &pair_r->certificate, why);
    key_err = file_take(c->key_file, &pair_r->key, why);
    return err != 0 ? err : key_err;
}

static int connector_take(const struct conf_connector *c, struct tls_pairs *pairs_r,
                          struct str *why)
{
    int err;

    pairs_r->pairs = mem_alloc_array(c->host_count + 1, sizeof(*pairs_r->pairs));
    err = pair_take(NULL, &c->certificate, &pairs_r->pairs[pairs_r->count++], why);
    if (*c->client_ca) {
        int ca_err = file_take(c->client_ca, &pairs_r->client_ca, why);

        if (err == 0)
            err = ca_err;
    }
    for (size_t i = 0; i < c->host_count; i++) {
        int host_err = 0;

        if (*c->hosts[i].certificate.file)
            host_err = pair_take(c->hosts[i].name, &c->hosts[i].certificate,
                                 &pairs_r->pairs[pairs_r->count++], why);
        if (err == 0)
            err = host_err;
    }
    return err;
}

/* In a child: what OpenSSL says of each connector's files, as lines; warnings when it ends well. */
__attribute__((noreturn)) static void check_child(const struct tls_pairs *all, size_t count,
                                                  int out_fd)
{
    struct str why = {0};
    int err = 0;

    for (size_t i = 0; i < count; i++) {
        struct tls *tls = NULL;

        if (all[i].count > 0 && tls_new(&all[i], NULL, &tls, &why) != 0)
            err = ERR_INVALID;
        if (tls)
            tls_dates(tls, &all[i], &why);
        tls_free(&tls);
    }
    if (why.len > 0 && file_write_full(out_fd, why.data, why.len) != 0)
        err = ERR_IO;
    _exit(err == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
}

static int check(const struct tls_pairs *all, size_t count, struct str *why)
{
    char text[1024];
    int out[2], status = -1;
    ssize_t got;
    pid_t pid;

    if (pipe2(out, O_CLOEXEC) != 0)
        return ERR_NO_FILES;
    pid = fork();
    if (pid == 0)
        check_child(all, count, out[1]);
    close(out[1]);
    while (pid > 0 && ((got = read(out[0], text, sizeof(text))) > 0 || (got < 0 && errno == EINTR)))
        if (got > 0)
            str_append(why, text, (size_t)got);
    close(out[0]);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS)
        return 0;
    if (why->len == 0)
        str_puts(why, "the certificates could not be checked\n");
    return ERR_INVALID;
}

int certificates_read(const struct conf *conf, struct tls_pairs **certificates_r, struct str *why)
{
    struct tls_pairs *all = mem_alloc_array(conf->connector_count + 1, sizeof(*all));
    bool any = false;
    int err = 0;

    for (size_t i = 0; i < conf->connector_count; i++) {
        const struct conf_connector *c = &conf->connectors[i];

        if (c->admin || !*c->certificate.file)
            continue;
        any = true;
        if (connector_take(c, &all[i], why) != 0)
            err = ERR_INVALID;
    }
    if (err == 0 && any)
        err = check(all, conf->connector_count, why);
    if (err != 0)
        certificates_wipe(&all, conf->connector_count);
    *certificates_r = all;
    return err;
}

void certificates_wipe(struct tls_pairs **certificates, size_t count)
{
    struct tls_pairs *all = *certificates;

    *certificates = NULL;
    for (size_t i = 0; all && i < count; i++) {
        for (size_t j = 0; j < all[i].count; j++) {
            file_wipe(&all[i].pairs[j].certificate);
            file_wipe(&all[i].pairs[j].key);
        }
        file_wipe(&all[i].client_ca);
        free(all[i].pairs);
    }
    free(all);
}

static void rotate(struct loop_timer *timer)
{
    struct master *m = CONTAINER_OF(timer, struct master, tickets_timer);

    tls_tickets_rotate(m->tickets);
    loop_timer_set(m->loop, timer, ROTATE_MS);
}

void certificates_rotate_tickets(struct master *m)
{
    m->tickets_timer.fire = rotate;
    loop_timer_set(m->loop, &m->tickets_timer, ROTATE_MS);
}
