/*
 * ctl_user.c - entrepotctl user: the file of users, edited as a whole.
 *
 * Works without a daemon; a running one takes the new file up within a second.
 * Lines that are not the user's stay as they are, comments too. The file is replaced as a whole: a
 * crash leaves the old one or the new one.
 */
#include "auth/htpasswd.h"
#include "base/file.h"
#include "base/json.h"
#include "conf/conf.h"
#include "tools/ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#define LINE_MAX_BYTES 512

struct users_file {
    char path[4096];
    int lock_fd; /* of its directory: two editors must not lose each other's change */
    struct str text;
    struct htpasswd *users;
    mode_t mode;
    uid_t uid;
    gid_t gid;
};

static int usage(void)
{
    fprintf(stderr, "usage: entrepotctl user add|passwd NAME [--password-stdin]\n"
                    "       entrepotctl user del NAME\n"
                    "       entrepotctl user list\n");
    return EXIT_FAILURE;
}

static bool read_line(FILE *in, char out[LINE_MAX_BYTES])
{
    size_t len;

    if (!fgets(out, LINE_MAX_BYTES, in))
        return false;
    len = strcspn(out, "\r\n");
    if (!out[len] && len == LINE_MAX_BYTES - 1)
        return false; /* longer */
    out[len] = 0;
    return true;
}

static bool prompt(const char *text, char out[LINE_MAX_BYTES])
{
    struct termios old_mode, quiet;
    bool good;

    if (tcgetattr(STDIN_FILENO, &old_mode) != 0) {
        fprintf(stderr, "entrepotctl: no terminal to ask for a password; use --password-stdin\n");
        return false;
    }
    quiet = old_mode;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    fputs(text, stderr);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
    good = read_line(stdin, out);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &old_mode);
    fputc('\n', stderr);
    return good;
}

static bool ask_password(bool from_stdin, char out[LINE_MAX_BYTES])
{
    char again[LINE_MAX_BYTES];
    bool same;

    if (from_stdin && !read_line(stdin, out)) {
        fprintf(stderr, "entrepotctl: no password on standard input\n");
        return false;
    }
    if (!from_stdin) {
        if (!prompt("New password: ", out) || !prompt("Again: ", again))
            return false;
        same = strcmp(out, again) == 0;
        explicit_bzero(again, sizeof(again));
        if (!same) {
            fprintf(stderr, "entrepotctl: these are two passwords; try again\n");
            return false;
        }
    }
    if (!*out)
        fprintf(stderr, "entrepotctl: an empty password would be no password\n");
    else if (strlen(out) > HTPASSWD_PASSWORD_MAX)
        fprintf(stderr, "entrepotctl: bcrypt takes %d bytes of a password; choose a shorter one\n",
                HTPASSWD_PASSWORD_MAX);
    return *out && strlen(out) <= HTPASSWD_PASSWORD_MAX;
}

static bool users_lock(struct users_file *f)
{
    char copy[sizeof(f->path)];

    snprintf(copy, sizeof(copy), "%s", f->path);
    f->lock_fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (f->lock_fd < 0 || flock(f->lock_fd, LOCK_EX) != 0) {
        fprintf(stderr, "entrepotctl: cannot open the directory of %s: %s\n", f->path,
                strerror(errno));
        return false;
    }
    return true;
}

/* An absent file is a new one, which AUTH's account may read and nobody else. */
static void users_owner(struct users_file *f, const struct conf *conf)
{
    struct stat st;

    f->mode = 0640;
    f->uid = (uid_t)-1;
    f->gid = (gid_t)-1;
    if (stat(f->path, &st) == 0) {
        f->mode = st.st_mode & 0777;
        f->uid = st.st_uid;
        f->gid = st.st_gid;
    } else if (geteuid() == 0) {
        ctl_account_group(*conf->auth_user ? conf->auth_user : conf->user, &f->gid);
    }
}

/* Users may come before the section that names their file: then it is the one beside the
 * configuration, as the configuration we ship has it. */
static bool users_path(struct users_file *f, const struct conf *conf)
{
    const char *slash = strrchr(conf->file, '/');
    int len;

    if (conf->auth.on)
        len = snprintf(f->path, sizeof(f->path), "%s", conf->auth.htpasswd);
    else
        len = snprintf(f->path, sizeof(f->path), "%.*shtpasswd",
                       slash ? (int)(slash + 1 - conf->file) : 0, conf->file);
    return (size_t)len < sizeof(f->path);
}

static bool users_open(struct users_file *f, const struct conf *conf)
{
    struct str mistakes = {0};
    int err;

    *f = (struct users_file){.lock_fd = -1};
    if (!users_path(f, conf)) {
        fprintf(stderr, "entrepotctl: the path of %s is too long\n", conf->file);
        return false;
    }
    users_owner(f, conf);
    if (!users_lock(f))
        return false;
    err = file_read_all(f->path, HTPASSWD_FILE_MAX, &f->text);
    if (err == 0 || err == ERR_NOT_FOUND)
        err = htpasswd_parse(f->path, f->text.data ? f->text.data : "", f->text.len, &f->users,
                             &mistakes);
    else
        fprintf(stderr, "entrepotctl: cannot read %s: %s\n", f->path, err_text(err));
    if (mistakes.data)
        fputs(mistakes.data, stderr);
    str_free(&mistakes);
    return err == 0;
}

static void users_close(struct users_file *f)
{
    if (f->lock_fd >= 0)
        close(f->lock_fd);
    htpasswd_free(&f->users);
    str_free(&f->text);
}

/* Everything but the user's line, then the new one (hash NULL: none). */
static int users_write(struct users_file *f, const char *name, const char *hash)
{
    struct str out = {0};
    size_t len = strlen(name);
    int err;

    for (const char *p = f->text.data; p && *p;) {
        size_t line = strcspn(p, "\n");

        if (line <= len || strncmp(p, name, len) != 0 || p[len] != ':') {
            str_append(&out, p, line);
            str_putc(&out, '\n');
        }
        p += line + (p[line] != 0);
    }
    if (hash)
        str_printf(&out, "%s:%s\n", name, hash);
    err = file_replace(f->path, out.data ? out.data : "", out.len, f->mode, f->uid, f->gid);
    if (err != 0)
        fprintf(stderr, "entrepotctl: cannot write %s: %s\n", f->path, err_text(err));
    str_free(&out);
    return err;
}

static int user_set(struct users_file *f, const char *name, bool from_stdin)
{
    char password[LINE_MAX_BYTES], hash[HTPASSWD_HASH_MAX];
    bool good = ask_password(from_stdin, password);
    int err = good ? htpasswd_hash(password, HTPASSWD_COST, hash) : ERR_INVALID;

    explicit_bzero(password, sizeof(password));
    if (good && err != 0)
        fprintf(stderr, "entrepotctl: cannot hash the password: %s\n", err_text(err));
    return err == 0 ? users_write(f, name, hash) : err;
}

static void list(const struct ctl *ctl, const struct users_file *f)
{
    struct str out = {0};

    for (size_t i = 0; i < f->users->count; i++) {
        if (!ctl->json) {
            printf("%s\n", f->users->users[i].name);
            continue;
        }
        str_puts(&out, i > 0 ? "," : "");
        json_append_string(&out, f->users->users[i].name);
    }
    if (ctl->json)
        printf("{\"users\":[%s]}\n", out.data ? out.data : "");
    str_free(&out);
}

static int user_change(const struct ctl *ctl, const struct conf *conf, struct users_file *f,
                       const char *verb, const char *name, bool from_stdin)
{
    const bool there = htpasswd_find(f->users, name) != NULL, add = strcmp(verb, "add") == 0;
    const char *done = add ? "added" : strcmp(verb, "del") == 0 ? "deleted" : "changed";
    int err;

    if (!conf_user_ok(name)) {
        fprintf(stderr, "entrepotctl: a user's name has 1 to %d letters, digits and any of ._@+-\n",
                CONF_USER_MAX);
        return ERR_INVALID;
    }
    if (there == add) {
        fprintf(stderr,
                add ? "entrepotctl: user %s exists; user passwd changes the password\n"
                    : "entrepotctl: there is no user %s\n",
                name);
        return add ? ERR_EXISTS : ERR_NOT_FOUND;
    }
    err = strcmp(verb, "del") == 0 ? users_write(f, name, NULL) : user_set(f, name, from_stdin);
    if (err == 0 && ctl->json)
        printf("{\"user\":\"%s\",\"%s\":true}\n", name, done);
    else if (err == 0)
        printf("user %s %s in %s\n", name, done, f->path);
    if (err == 0 && !conf->auth.on)
        fprintf(stderr,
                "%s has no logins yet: add auth { htpasswd = \"%s\" } to it and reload; until then "
                "everybody may do everything\n",
                conf->file, f->path);
    return err;
}

int ctl_user(const struct ctl *ctl, int argc, char **argv)
{
    const char *verb = argc > 0 ? argv[0] : "";
    const bool set = strcmp(verb, "add") == 0 || strcmp(verb, "passwd") == 0;
    const bool from_stdin = set && argc == 3 && strcmp(argv[2], "--password-stdin") == 0;
    struct conf *conf = NULL;
    struct users_file f;
    int err = ERR_INVALID;

    if (!(strcmp(verb, "list") == 0 && argc == 1) &&
        !((set || strcmp(verb, "del") == 0) && argc == 2) && !from_stdin)
        return usage();
    if (!ctl_conf(ctl, &conf))
        return EXIT_FAILURE;
    if (users_open(&f, conf)) {
        err = 0;
        if (argc == 1)
            list(ctl, &f);
        else
            err = user_change(ctl, conf, &f, verb, argv[1], from_stdin);
    }
    users_close(&f);
    conf_free(&conf);
    return err == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
