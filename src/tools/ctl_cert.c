/*
 * ctl_cert.c - entrepotctl cert: certificates for HTTPS connectors.
 *
 * Runs as whoever may write into the directory, root as a rule; needs no daemon.
 * The CA is made once and kept. Keys are written before what is made of them and
 * are never replaced, so an interrupted run is finished by the next one, and a
 * renewal is one rename: at no moment do a certificate and its key not fit.
 */
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "tools/cert.h"
#include "tools/ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEFAULT_DIR    "/etc/entrepot/tls"
#define NAMES_MAX      64
#define FILE_BYTES_MAX (64u << 10)
#define CA_FILE        "ca.crt"
#define CA_KEY_FILE    "ca.key"
/* Names of files, one a line, for the package's postrm. */
#define MADE_FILE ".made-by-entrepotctl"

struct cert_run {
    const char *dir; /* absolute */
    int dir_fd;
    bool force;
    char *name_list[NAMES_MAX];
    struct cert_names names;
    char *file, *key_file; /* names in the directory */
    struct str ca, ca_key, key, certificate, why;
    bool ca_made, key_made;
};

static int usage(void)
{
    fprintf(stderr,
            "usage: entrepotctl cert [--dir DIR] [--force] NAME...\n"
            "  NAME     host name or address of the registry as clients write it, without a "
            "port;\n"
            "           the first one names the files\n"
            "  --dir    where CA and certificates are (default " DEFAULT_DIR ")\n"
            "  --force  renew a certificate that is there; its key and the CA stay\n");
    return EXIT_FAILURE;
}

static bool arguments(struct cert_run *run, int argc, char **argv)
{
    run->dir = DEFAULT_DIR;
    for (int i = 0; i < argc; i++) {
        const char *wrong;

        if (strcmp(argv[i], "--force") == 0) {
            run->force = true;
            continue;
        }
        if (strcmp(argv[i], "--dir") == 0 && i + 1 < argc) {
            run->dir = argv[++i];
            continue;
        }
        if (argv[i][0] == '-' || run->names.count == NAMES_MAX)
            return false;
        wrong = cert_name_check(argv[i]);
        if (wrong) {
            fprintf(stderr, "entrepotctl: %s %s\n", argv[i], wrong);
            return false;
        }
        run->name_list[run->names.count++] = argv[i];
    }
    run->names.names = (const char *const *)run->name_list;
    return run->names.count > 0;
}

static bool fail(const struct cert_run *run, const char *file, const char *what)
{
    fprintf(stderr, "entrepotctl: %s/%s: %s\n", run->dir, file, what);
    return false;
}

static bool there(const struct cert_run *run, const char *file)
{
    return faccessat(run->dir_fd, file, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static bool take(const struct cert_run *run, const char *file, struct str *out)
{
    char *path = NULL;
    int err;

    if (asprintf(&path, "%s/%s", run->dir, file) < 0)
        abort();
    err = file_read_all(path, FILE_BYTES_MAX, out);
    free(path);
    return err == 0 || fail(run, file, err_text(err));
}

/* Names a new file in the note of what we made, before it is there: a purge takes what is
 * named and leaves what an operator has put beside it. */
static bool note(const struct cert_run *run, const char *file)
{
    int fd = openat(run->dir_fd, MADE_FILE, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC,
                    0644);
    struct str line = {0};
    int err = fd < 0 ? err_from_errno(errno) : 0;

    str_printf(&line, "%s\n", file);
    if (err == 0)
        err = file_write_full(fd, line.data, line.len);
    if (err == 0 && fsync(fd) != 0)
        err = err_from_errno(errno);
    if (fd >= 0)
        close(fd);
    str_free(&line);
    return err == 0 || fail(run, MADE_FILE, err_text(err));
}

static bool keep(const struct cert_run *run, const char *file, const struct str *data, mode_t mode)
{
    int err;

    if (!there(run, file) && !note(run, file))
        return false;
    err = file_replace_at(run->dir_fd, file, data->data, data->len, mode);
    return err == 0 || fail(run, file, err_text(err));
}

/* The key that lies there, or a new one. */
static bool key_of(struct cert_run *run, const char *file, struct str *key, bool *made_r)
{
    *made_r = !there(run, file);
    if (!*made_r)
        return take(run, file, key);
    if (cert_key_new(key, &run->why) != 0)
        return fail(run, file, run->why.data);
    return keep(run, file, key, 0600);
}

static bool ca_of(struct cert_run *run)
{
    char host[256] = "", name[64];
    bool made;

    if (there(run, CA_FILE)) {
        if (!there(run, CA_KEY_FILE))
            return fail(run, CA_KEY_FILE,
                        "the CA's key is not there; bring it back, or remove " CA_FILE
                        " to make a new CA, which clients must get");
        return take(run, CA_FILE, &run->ca) && take(run, CA_KEY_FILE, &run->ca_key);
    }
    if (!key_of(run, CA_KEY_FILE, &run->ca_key, &made))
        return false;
    gethostname(host, sizeof(host) - 1);
    snprintf(name, sizeof(name), "Entrepot CA of %.40s", host);
    if (cert_ca_new(&run->ca_key, name, &run->ca, &run->why) != 0)
        return fail(run, CA_FILE, run->why.data);
    run->ca_made = true;
    return keep(run, CA_FILE, &run->ca, 0644);
}

static bool certificate_of(struct cert_run *run)
{
    const char *stem = run->names.names[0];

    if (strncmp(stem, "*.", 2) == 0)
        stem += 2;
    if (strcmp(stem, "ca") == 0) {
        fputs("entrepotctl: the files of a server called ca would be the CA's; give another name "
              "first\n",
              stderr);
        return false;
    }
    if (asprintf(&run->file, "%s.crt", stem) < 0 || asprintf(&run->key_file, "%s.key", stem) < 0)
        abort();
    if (!run->force && there(run, run->file))
        return fail(run, run->file, "is there already; --force renews it");
    if (!ca_of(run) || !key_of(run, run->key_file, &run->key, &run->key_made))
        return false;
    if (cert_server_new(&run->ca, &run->ca_key, &run->key, &run->names, &run->certificate,
                        &run->why) != 0)
        return fail(run, run->file, run->why.data);
    return keep(run, run->file, &run->certificate, 0644);
}

static const char *day(const struct str *certificate, char out[32])
{
    struct str why = {0};
    time_t end = 0;
    struct tm tm;

    out[0] = 0;
    if (cert_end(certificate, &end, &why) == 0)
        strftime(out, 32, "%Y-%m-%d", gmtime_r(&end, &tm));
    str_free(&why);
    return out;
}

static void put_path(struct str *out, const char *key, const struct cert_run *run, const char *file)
{
    struct str path = {0};

    str_printf(&path, "%s/%s", run->dir, file);
    str_printf(out, ",\"%s\":", key);
    json_append_string(out, path.data);
    str_free(&path);
}

static void print_json(const struct cert_run *run)
{
    struct str out = {0};
    char end[32], ca_end[32];

    str_puts(&out, "{\"names\":[");
    for (size_t i = 0; i < run->names.count; i++) {
        str_puts(&out, i > 0 ? "," : "");
        json_append_string(&out, run->names.names[i]);
    }
    str_puts(&out, "]");
    put_path(&out, "certificate", run, run->file);
    put_path(&out, "key", run, run->key_file);
    put_path(&out, "ca", run, CA_FILE);
    str_printf(&out, ",\"expires\":\"%s\",\"ca_expires\":\"%s\",\"ca_made\":%s}\n",
               day(&run->certificate, end), day(&run->ca, ca_end), run->ca_made ? "true" : "false");
    fputs(out.data, stdout);
    str_free(&out);
}

static void print_text(const struct cert_run *run)
{
    const char *name = run->names.names[0];
    bool v6 = strchr(name, ':') != NULL;
    const char *open = v6 ? "[" : "", *shut = v6 ? "]" : "";
    char end[32], ca_end[32];

    printf("%s/%s\n%s/%s\n    certificate of", run->dir, run->file, run->dir, run->key_file);
    for (size_t i = 0; i < run->names.count; i++)
        printf(" %s", run->names.names[i]);
    printf(" until %s, and its key%s\n", day(&run->certificate, end),
           run->key_made ? "" : " (as before)");
    printf("%s/" CA_FILE "\n%s/" CA_KEY_FILE "\n    the CA until %s%s; its key signs what every "
           "client trusts: keep it secret\n\n",
           run->dir, run->dir, day(&run->ca, ca_end), run->ca_made ? "" : " (as before)");
    printf("Into the configuration, then reload (service entrepot reload):\n\n"
           "    connector \"0.0.0.0:443\" {\n"
           "        repository = NAME\n"
           "        tls_certificate = \"%s/%s\"\n"
           "        tls_key = \"%s/%s\"\n"
           "    }\n\n",
           run->dir, run->file, run->dir, run->key_file);
    printf("On every client a copy of " CA_FILE "; behind another port than 443, write NAME:PORT "
           "for NAME:\n\n"
           "  Docker engine (no restart)  /etc/docker/certs.d/%s%s%s/ca.crt\n"
           "  podman, skopeo, buildah     /etc/containers/certs.d/%s%s%s/ca.crt\n"
           "  containerd                  /etc/containerd/certs.d/%s%s%s/ca.crt and beside it "
           "hosts.toml:\n\n"
           "    server = \"https://%s%s%s\"\n\n"
           "    [host.\"https://%s%s%s\"]\n"
           "      ca = \"/etc/containerd/certs.d/%s%s%s/ca.crt\"\n",
           open, name, shut, open, name, shut, open, name, shut, open, name, shut, open, name, shut,
           open, name, shut);
}

static void wipe(struct str *key)
{
    if (key->data)
        explicit_bzero(key->data, key->cap);
    str_free(key);
}

int ctl_cert(const struct ctl *ctl, int argc, char **argv)
{
    struct cert_run run = {.dir_fd = -1};
    char *real = NULL;
    bool good = false;
    int err;

    if (!arguments(&run, argc, argv))
        return usage();
    err = file_mkdirs(run.dir, 0755);
    if (err == 0)
        err = file_mkdir_open(run.dir, 0755, (uid_t)-1, (gid_t)-1, &run.dir_fd);
    if (err != 0) {
        fprintf(stderr, "entrepotctl: cannot use the directory %s: %s; name another with --dir\n",
                run.dir, err_text(err));
    } else {
        real = realpath(run.dir, NULL);
        if (real)
            run.dir = real;
        flock(run.dir_fd, LOCK_EX); /* two first runs would make two CAs */
        good = certificate_of(&run);
        close(run.dir_fd);
    }
    if (good)
        (ctl->json ? print_json : print_text)(&run);
    wipe(&run.ca_key);
    wipe(&run.key);
    str_free(&run.ca);
    str_free(&run.certificate);
    str_free(&run.why);
    free(run.file);
    free(run.key_file);
    free(real);
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
