/*
 * keys.c - what AUTH reads from the disk: its signing key and the users.
 *
 * Runs in AUTH. data_dir/auth/token.key holds 32 random bytes, so that tokens
 * outlive the process and the host; it is made once. The users' file is looked
 * at each second; while a new one has mistakes the old users stay. One that is not
 * there yet holds nobody. A crash while the key is made leaves no key, and the successor makes one:
 * the file gets its name when it is whole.
 */
#include "auth/state.h"

#include "base/file.h"
#include "base/log.h"
#include "base/must.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static int key_read(const char *path, struct str *bytes)
{
    int err = file_read_all(path, SIGN_PRIVATE_BYTES, bytes);

    if (err == 0 && bytes->len != SIGN_PRIVATE_BYTES)
        err = ERR_DAMAGED;
    return err;
}

/* Each second is tried and each reason told once. */
static void key_tell(struct auth *a, const char *path, int err)
{
    if (err != a->key_told)
        log_error(
            err == ERR_DAMAGED
                ? "the file is no key that signs tokens; remove it and a new one is made"
                : "cannot use the key that signs tokens: its directory and what is in it must "
                  "belong to the account of AUTH; until then logins are answered 503",
            "path=%s/auth/%s uid=%d err=%s", log_quote(a->start->conf->data_dir), path,
            (int)geteuid(), log_quote(err_text(err)));
    a->key_told = err;
}

/* What lies in data_dir/auth is reached from inside: data_dir is the others' and may be closed
 * to us. A directory of theirs could be one that they have put in its place. */
static int enter_directory(const struct auth *a)
{
    struct stat st;

    if (fchdir(a->start->auth_dir_fd) != 0 || stat(".", &st) != 0)
        return err_from_errno(errno);
    return st.st_uid == geteuid() || st.st_uid == 0 ? 0 : ERR_DENIED;
}

int auth_keys_open(struct auth *a)
{
    static const char path[] = "token.key";
    struct str bytes = {0};
    struct digest derived;
    int err = enter_directory(a);

    if (err == 0)
        err = key_read(path, &bytes);
    if (err == ERR_NOT_FOUND) {
        uint8_t fresh[SIGN_PRIVATE_BYTES];

        file_random(fresh, sizeof(fresh));
        str_append(&bytes, fresh, sizeof(fresh));
        explicit_bzero(fresh, sizeof(fresh));
        err = file_replace(path, bytes.data, bytes.len, 0600, (uid_t)-1, (gid_t)-1);
    }
    if (err == 0) {
        a->key = sign_key_private((const uint8_t *)bytes.data);
        sign_key_publish(a->key, a->public_key);
        str_puts(&bytes, "stamps");
        digest_of(DIGEST_SHA256, bytes.data, bytes.len, &derived);
        memcpy(a->stamp_key, derived.bytes, sizeof(a->stamp_key));
    } else {
        key_tell(a, path, err);
    }
    if (bytes.data)
        explicit_bzero(bytes.data, bytes.len);
    str_free(&bytes);
    return err;
}

/* The audit trail of who came, went or has another password. Both are sorted. */
static void log_differences(const struct htpasswd *old_users, const struct htpasswd *new_users)
{
    size_t i = 0, j = 0;

    while (i < old_users->count || j < new_users->count) {
        const struct htpasswd_user *o = i < old_users->count ? &old_users->users[i] : NULL;
        const struct htpasswd_user *n = j < new_users->count ? &new_users->users[j] : NULL;
        int order = !o ? 1 : !n ? -1 : strcmp(o->name, n->name);

        if (order < 0)
            log_notice("audit", "event=user-removed user=%s", o->name);
        else if (order > 0)
            log_notice("audit", "event=user-added user=%s", n->name);
        else if (strcmp(o->hash, n->hash) != 0)
            log_notice("audit", "event=password-changed user=%s", n->name);
        i += order <= 0;
        j += order >= 0;
    }
}

static bool same_file(const struct auth_file *a, const struct auth_file *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

void auth_users_look(struct auth *a)
{
    const char *path = a->start->conf->auth.htpasswd;
    struct auth_file now = {0};
    struct htpasswd *users;
    struct str mistakes = {0};
    struct stat st;

    if (stat(path, &st) == 0)
        now = (struct auth_file){
            .device = st.st_dev, .inode = st.st_ino, .size = st.st_size, .changed = st.st_ctim};
    if (same_file(&now, &a->file) && (now.inode != 0 || a->users))
        return;
    a->file = now;
    a->users_wrong = false;
    /* The section may come before the first user. A file that goes later is another matter. */
    if (!a->users && file_absent(path)) {
        log_warn("there are no users yet; make one with entrepotctl user add", "htpasswd=%s",
                 log_quote(path));
        MUST(htpasswd_parse(path, "", 0, &a->users, &mistakes) == 0);
        return;
    }
    if (htpasswd_load(path, &users, &mistakes) != 0) {
        a->users_wrong = true;
        log_lines(LOG_LEVEL_ERROR,
                  a->users ? "mistake in the file of users: the users read before stay"
                           : "mistake in the file of users: nobody can log in",
                  &mistakes);
        return;
    }
    if (a->users)
        log_differences(a->users, users);
    htpasswd_free(&a->users);
    a->users = users;
    log_notice("users read", "htpasswd=%s users=%zu", log_quote(path), users->count);
    auth_changed(a);
}
