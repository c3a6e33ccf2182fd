/*
 * ctl_warm.c - entrepotctl warm: images fetched ahead of need.
 *
 * The fetcher does the work and goes on with it when this tool is stopped. When this tool dies
 * nothing is lost but who waited.
 */
#include "base/json.h"
#include "ipc/msg_fetch.h"
#include "oci/name.h"
#include "tools/ctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define POLL_US        200000
#define LINE_MAX_BYTES 1024

/* "linux/amd64", as registries call the machine this runs on. */
static const char *own_platform(char out[FETCH_PLATFORM_MAX])
{
    static const char *const names[][2] = {
        {"x86_64", "amd64"}, {"aarch64", "arm64"},   {"armv7l", "arm/v7"},   {"armv6l", "arm/v6"},
        {"i686", "386"},     {"ppc64le", "ppc64le"}, {"riscv64", "riscv64"}, {"s390x", "s390x"}};
    struct utsname u;
    const char *arch = "amd64";

    if (uname(&u) == 0) {
        arch = u.machine;
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
            if (strcmp(u.machine, names[i][0]) == 0)
                arch = names[i][1];
    }
    snprintf(out, FETCH_PLATFORM_MAX, "linux/%s", arch);
    return out;
}

/* REPOSITORY:IMAGE[:TAG|@DIGEST], taken apart in place. */
static bool image_parse(char *text, struct fetch_warm *q)
{
    struct digest digest;
    char *image = strchr(text, ':'), *at, *tag;

    if (!image)
        return false;
    *image++ = 0;
    q->repo = text;
    q->image = image;
    q->ref = "latest";
    at = strchr(image, '@');
    tag = strchr(image, ':');
    if (at) {
        *at = 0;
        q->ref = at + 1;
        if (digest_parse(q->ref, &digest) != 0)
            return false;
        tag = strchr(image, ':'); /* IMAGE:TAG@DIGEST: the digest counts */
        if (tag)
            *tag = 0;
    } else if (tag) {
        *tag = 0;
        q->ref = tag + 1;
        if (!name_tag_ok(q->ref, strlen(q->ref)))
            return false;
    }
    return name_image_ok(q->image, strlen(q->image));
}

static int warm_begin(const struct ctl *ctl, const struct fetch_warm *q, uint64_t *id_r)
{
    struct msg_writer question = {0};
    struct fetch_failure why = {.reason = ""};
    struct msg_reader reply = {0};
    struct str in = {0};
    int err;

    msg_begin(&question, MSG_WARM, 1);
    fetch_warm_put(&question, q);
    err = ctl_ask(ctl, &question, &in, &reply);
    if (err == 0) {
        *id_r = fetch_warm_id_get(&reply);
        err = msg_end(&reply);
    } else if (in.len > 0) {
        fetch_failure_get(&reply, &why);
        fprintf(stderr, "entrepotctl: %s:%s: %s\n", q->repo, q->image,
                *why.reason ? why.reason : err_text(err));
    }
    str_free(&in);
    return err;
}

static void warm_show(const struct ctl *ctl, const struct fetch_warm *q,
                      const struct fetch_warm_status *s)
{
    bool over = s->state != FETCH_WARM_RUNNING, tty = isatty(STDOUT_FILENO);
    char done[32], all[32];
    struct str reason = {0};

    if (ctl->json && over) {
        json_append_string(&reason, s->reason);
        printf("{\"repository\":\"%s\",\"image\":\"%s\",\"reference\":\"%s\",\"good\":%s,"
               "\"manifests\":%llu,\"blobs\":%llu,\"bytes\":%llu,\"failed\":%u,\"reason\":%s}\n",
               q->repo, q->image, q->ref, s->failed ? "false" : "true",
               (unsigned long long)s->manifests, (unsigned long long)s->blobs_done,
               (unsigned long long)s->bytes_done, s->failed, reason.data);
        str_free(&reason);
    }
    if (ctl->json || (!over && !tty))
        return;
    printf("%s%s:%s %s: %llu of %llu blobs, %s of %s%s%s%s", tty ? "\r\033[K" : "", q->repo,
           q->image, q->ref, (unsigned long long)s->blobs_done, (unsigned long long)s->blobs,
           ctl_bytes(s->bytes_done, done), ctl_bytes(s->bytes, all), s->failed ? ", FAILED: " : "",
           s->failed ? s->reason : "", over ? "\n" : "");
    fflush(stdout);
}

/* 0, or what went wrong, which is told. */
static int warm_follow(const struct ctl *ctl, const struct fetch_warm *q, uint64_t id)
{
    for (;;) {
        struct msg_writer question = {0};
        struct fetch_warm_status s = {.failed = 1};
        struct msg_reader reply = {0};
        struct str in = {0};
        bool over;
        int err;

        msg_begin(&question, MSG_WARM_STATUS, 1);
        fetch_warm_id_put(&question, id);
        err = ctl_ask(ctl, &question, &in, &reply);
        if (err == 0) {
            fetch_warm_status_get(&reply, &s);
            err = msg_end(&reply);
        } else {
            fprintf(stderr,
                    "entrepotctl: %s:%s: the fetcher was started anew; run this again: "
                    "what came is kept\n",
                    q->repo, q->image);
        }
        over = err != 0 || s.state != FETCH_WARM_RUNNING;
        if (err == 0)
            warm_show(ctl, q, &s);
        if (err == 0 && s.failed && over)
            err = ERR_UNAVAILABLE;
        str_free(&in);
        if (over)
            return err;
        usleep(POLL_US);
    }
}

static int warm_one(const struct ctl *ctl, char *text, const char *platform)
{
    struct fetch_warm q = {.platform = platform};
    uint64_t id = 0;
    int err;

    if (!image_parse(text, &q)) {
        fprintf(stderr, "entrepotctl: not REPOSITORY:IMAGE[:TAG|@DIGEST] nor a file: %s\n", text);
        return ERR_INVALID;
    }
    err = warm_begin(ctl, &q, &id);
    return err == 0 ? warm_follow(ctl, &q, id) : err;
}

/* A line an image; # begins a comment. */
static int warm_file(const struct ctl *ctl, FILE *file, const char *platform)
{
    char line[LINE_MAX_BYTES];
    int err = 0;

    while (fgets(line, sizeof(line), file)) {
        char *text = line + strspn(line, " \t");
        int one;

        text[strcspn(text, " \t\r\n#")] = 0;
        if (!*text)
            continue;
        one = warm_one(ctl, text, platform);
        if (one != 0)
            err = one;
    }
    return err;
}

static int usage(void)
{
    fputs("usage: entrepotctl warm [--platform OS/ARCH | --all-platforms] "
          "FILE|REPOSITORY:IMAGE[:TAG|@DIGEST]...\n",
          stderr);
    return EXIT_FAILURE;
}

int ctl_warm(const struct ctl *ctl, int argc, char **argv)
{
    char own[FETCH_PLATFORM_MAX];
    const char *platform = own_platform(own);
    int status = EXIT_SUCCESS, i = 0;

    for (; i < argc && argv[i][0] == '-'; i++) {
        if (strcmp(argv[i], "--all-platforms") == 0)
            platform = "";
        else if (strcmp(argv[i], "--platform") == 0 && i + 1 < argc &&
                 strlen(argv[i + 1]) < FETCH_PLATFORM_MAX && strchr(argv[i + 1], '/'))
            platform = argv[++i];
        else
            return usage();
    }
    if (i == argc)
        return usage();
    for (; i < argc; i++) {
        FILE *file = strchr(argv[i], ':') ? NULL : fopen(argv[i], "re");
        int err = file ? warm_file(ctl, file, platform) : warm_one(ctl, argv[i], platform);

        if (file)
            fclose(file);
        if (err != 0)
            status = EXIT_FAILURE;
    }
    return status;
}
