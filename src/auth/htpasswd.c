/*
 * htpasswd.c - users and their bcrypt hashes.
 *
 * Runs in AUTH, in `entrepotd -t` and in entrepotctl. Other hashes than bcrypt
 * are mistakes: MD5 and SHA-1 of passwords fall to a home computer. Changes nothing.
 */
#include "auth/htpasswd.h"

#include "base/file.h"
#include "base/mem.h"
#include "conf/conf.h"

#include <crypt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BCRYPT_LEN 60
/* Each step doubles the time; 16 is seconds a login already. */
#define COST_MIN 4
#define COST_MAX 15

__attribute__((format(printf, 4, 5))) static void mistake(struct str *out, const char *path,
                                                          size_t line, const char *format, ...)
{
    char text[256];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    str_printf(out, "%s:%zu: %s\n", path, line, text);
}

static const char alphabet[] = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/* $2a$, $2b$ or $2y$, two digits, $, 53 characters. */
static bool hash_ok(const char *hash)
{
    uint64_t cost;

    return strlen(hash) == BCRYPT_LEN && strncmp(hash, "$2", 2) == 0 && strchr("aby", hash[2]) &&
           hash[3] == '$' && hash[6] == '$' && str_parse_u64(hash + 4, 2, &cost) == 0 &&
           cost >= COST_MIN && cost <= COST_MAX && strspn(hash + 7, alphabet) == BCRYPT_LEN - 7;
}

static void take_line(struct htpasswd *h, const char *path, size_t number, char *line,
                      struct str *mistakes)
{
    char *colon = strchr(line, ':');

    if (!colon) {
        mistake(mistakes, path, number, "no colon; a line is USER:BCRYPT-HASH");
        return;
    }
    *colon = 0;
    if (!conf_user_ok(line))
        mistake(mistakes, path, number,
                "not a user's name: 1 to %d letters, digits and any of ._@+-", CONF_USER_MAX);
    else if (!hash_ok(colon + 1))
        mistake(mistakes, path, number,
                "user %s: not a bcrypt hash of cost %d to %d; set the password with entrepotctl "
                "user passwd, or htpasswd -B",
                line, COST_MIN, COST_MAX);
    h->users[h->count++] = (struct htpasswd_user){line, colon + 1};
}

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct htpasswd_user *)a)->name, ((const struct htpasswd_user *)b)->name);
}

int htpasswd_parse(const char *path, const char *text, size_t len, struct htpasswd **htpasswd_r,
                   struct str *mistakes)
{
    struct htpasswd *h = mem_alloc(sizeof(*h));
    size_t before = mistakes->len, number = 0, lines = 1;
    char *copy, *next;

    *htpasswd_r = NULL;
    h->arena = mem_arena_new();
    copy = mem_arena_strndup(h->arena, text, len);
    if (memchr(text, 0, len))
        mistake(mistakes, path, 1, "not a text file: it holds a byte 0");
    for (const char *p = copy; *p; p++)
        lines += *p == '\n';
    h->users = mem_arena_alloc(h->arena, lines * sizeof(*h->users));
    for (char *line = copy; line && *line; line = next) {
        size_t end = strcspn(line, "\n");

        next = line[end] ? line + end + 1 : NULL;
        line[end] = 0;
        number++;
        if (end > 0 && line[end - 1] == '\r')
            line[end - 1] = 0;
        if (*line && *line != '#')
            take_line(h, path, number, line, mistakes);
    }
    qsort(h->users, h->count, sizeof(*h->users), compare);
    for (size_t i = 1; i < h->count; i++)
        if (strcmp(h->users[i - 1].name, h->users[i].name) == 0)
            str_printf(mistakes, "%s: user %s stands there twice; remove one line\n", path,
                       h->users[i].name);
    if (mistakes->len > before) {
        htpasswd_free(&h);
        return ERR_INVALID;
    }
    *htpasswd_r = h;
    return 0;
}

int htpasswd_load(const char *path, struct htpasswd **htpasswd_r, struct str *mistakes)
{
    struct str text = {0};
    int err = file_read_all(path, HTPASSWD_FILE_MAX, &text);

    *htpasswd_r = NULL;
    if (err != 0)
        str_printf(mistakes,
                   "%s: cannot read it: %s; make it with entrepotctl user add, readable for the "
                   "daemon's account\n",
                   path, err_text(err));
    else
        err = htpasswd_parse(path, text.data ? text.data : "", text.len, htpasswd_r, mistakes);
    if (text.data)
        explicit_bzero(text.data, text.len);
    str_free(&text);
    return err;
}

void htpasswd_free(struct htpasswd **htpasswd)
{
    if (!*htpasswd)
        return;
    mem_arena_free(&(*htpasswd)->arena);
    free(*htpasswd);
    *htpasswd = NULL;
}

const struct htpasswd_user *htpasswd_find(const struct htpasswd *htpasswd, const char *name)
{
    struct htpasswd_user key = {.name = name};

    return htpasswd->count == 0
               ? NULL
               : bsearch(&key, htpasswd->users, htpasswd->count, sizeof(*htpasswd->users), compare);
}

bool htpasswd_verify(const char *hash, const char *password)
{
    struct crypt_data *data = mem_alloc(sizeof(*data)); /* 32 KiB: not for a thread's stack */
    const char *got = crypt_r(password, hash, data);
    bool good = got && strlen(got) == strlen(hash) &&
                str_equal_constant_time(got, hash, strlen(hash)) && *got != '*';

    explicit_bzero(data, sizeof(*data));
    free(data);
    return good;
}

static int hash_cost(const char *hash)
{
    return (hash[4] - '0') * 10 + hash[5] - '0';
}

int htpasswd_cost(const struct htpasswd *htpasswd)
{
    int cost = 0;

    for (size_t i = 0; i < htpasswd->count; i++)
        if (hash_cost(htpasswd->users[i].hash) > cost)
            cost = hash_cost(htpasswd->users[i].hash);
    return cost > 0 ? cost : HTPASSWD_COST;
}

/* Takes the time of a hash of that cost. Its text is random: nobody has the password. */
static void verify_in_vain(int cost, const char *password)
{
    char hash[HTPASSWD_HASH_MAX];
    uint8_t random[BCRYPT_LEN];
    int head = snprintf(hash, sizeof(hash), "$2b$%02d$", cost);

    file_random(random, sizeof(random));
    for (int i = head; i < BCRYPT_LEN; i++)
        hash[i] = alphabet[random[i] % (sizeof(alphabet) - 1)];
    hash[BCRYPT_LEN] = 0;
    (void)htpasswd_verify(hash, password);
}

bool htpasswd_verify_evenly(const char *hash, int cost, const char *password)
{
    if (!hash) {
        verify_in_vain(cost, password);
        return false;
    }
    if (htpasswd_verify(hash, password))
        return true;
    /* 2^c + 2^c + 2^(c+1) + ... + 2^(cost-1) is 2^cost. */
    for (int c = hash_cost(hash); c < cost; c++)
        verify_in_vain(c, password);
    return false;
}

int htpasswd_hash(const char *password, int cost, char out[HTPASSWD_HASH_MAX])
{
    struct crypt_data *data;
    char salt[CRYPT_GENSALT_OUTPUT_SIZE];
    uint8_t random[16];
    const char *got = NULL;
    int err = 0;

    if (strlen(password) > HTPASSWD_PASSWORD_MAX)
        return ERR_TOO_BIG;
    data = mem_alloc(sizeof(*data));
    file_random(random, sizeof(random));
    if (crypt_gensalt_rn("$2b$", (unsigned long)cost, (const char *)random, sizeof(random), salt,
                         sizeof(salt)))
        got = crypt_r(password, salt, data);
    if (!got || strlen(got) != BCRYPT_LEN)
        err = ERR_UNSUPPORTED;
    else
        memcpy(out, got, BCRYPT_LEN + 1);
    explicit_bzero(data, sizeof(*data));
    free(data);
    return err;
}
