/*
 * bearer.c - the token dance of distribution's "token authentication" pages.
 *
 * The fetcher. Owns tokens and the one request for a token that all who need it
 * wait for. Tokens and passwords are in no log line and no message. A crash here
 * loses the tokens, which are asked for again.
 */
#include "fetcher/bearer.h"

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/must.h"
#include "fetcher/site.h"
#include "fetcher/url.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <uthash.h>

#define REPLY_MAX      (1u << 20)
#define TOKEN_MAX      65536
#define TOKENS_MAX     4096
#define LIFE_DEFAULT_S 60
#define LIFE_MAX_S     86400
#define PASSWORD_MAX   65536

struct bearer {
    struct proxy *p;
    char *key, *url; /* url: of the request, for its origin */
    char *token;     /* NULL: being asked for */
    uint64_t good_until_ms;
    struct upstream_request *request;
    struct str body;
    TAILQ_HEAD(, bearer_wait) waits;
    UT_hash_handle hh;
};

static void secret_free(char **secret)
{
    if (*secret)
        explicit_bzero(*secret, strlen(*secret));
    free(*secret);
    *secret = NULL;
}

const char *bearer_password(struct proxy *p)
{
    struct str text = {0};
    struct stat st;
    int64_t mtime;

    if (!p->conf->username[0] || !p->conf->password_file[0])
        return NULL;
    if (stat(p->conf->password_file, &st) != 0) {
        log_warn("cannot read the password of a proxy: asking anonymously", "repository=%s path=%s",
                 p->repo->name, log_quote(p->conf->password_file));
        return NULL;
    }
    mtime = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    if (p->password && mtime == p->password_mtime_ns)
        return p->password;
    if (file_read_all(p->conf->password_file, PASSWORD_MAX, &text) != 0) {
        log_warn("cannot read the password of a proxy: asking anonymously", "repository=%s path=%s",
                 p->repo->name, log_quote(p->conf->password_file));
        str_free(&text);
        return NULL;
    }
    while (text.len > 0 && (text.data[text.len - 1] == '\n' || text.data[text.len - 1] == '\r'))
        text.data[--text.len] = 0;
    secret_free(&p->password);
    p->password = mem_strdup(text.data ? text.data : "");
    p->password_mtime_ns = mtime;
    if (text.data)
        explicit_bzero(text.data, text.len);
    str_free(&text);
    return p->password;
}

static char *key_of(const struct challenge *c, bool credentials)
{
    struct str key = {0};

    str_printf(&key, "%s\n%s\n%s\n%d %d", c->realm, c->service, c->scope, credentials, c->inner);
    return key.data;
}

static struct bearer *bearer_find(struct proxy *p, const struct challenge *c, bool credentials)
{
    struct bearer *b;
    char *key = key_of(c, credentials);

    HASH_FIND_STR(p->tokens, key, b);
    free(key);
    return b;
}

/* Nobody waits for it any more. */
static void bearer_free(struct bearer *b)
{
    HASH_DEL(b->p->tokens, b);
    if (b->request)
        upstream_cancel(b->request);
    secret_free(&b->token);
    if (b->body.data)
        explicit_bzero(b->body.data, b->body.len);
    str_free(&b->body);
    free(b->key);
    free(b->url);
    loop_free_later(b->p->f->loop, b);
}

const char *bearer_peek(struct proxy *p, const struct challenge *c, bool credentials)
{
    struct bearer *b = bearer_find(p, c, credentials);

    return b && b->token && loop_now_ms(p->f->loop) < b->good_until_ms ? b->token : NULL;
}

static void bearer_tell(struct bearer *b, int err, uint32_t retry_after_s, const char *why)
{
    struct bearer_wait *w;

    while ((w = TAILQ_FIRST(&b->waits)) != NULL) {
        TAILQ_REMOVE(&b->waits, w, entry);
        w->bearer = NULL;
        w->done(w, err, b->token, retry_after_s, why);
    }
    if (!b->token)
        bearer_free(b);
}

static enum upstream_take bearer_body(void *ctx, const void *data, size_t len)
{
    struct bearer *b = ctx;

    if (b->body.len + len > REPLY_MAX)
        return UPSTREAM_ABORT;
    str_append(&b->body, data, len);
    return UPSTREAM_TAKEN;
}

/* A token is a header's value: what could end it is refused. */
static bool token_ok(const struct json_value *v)
{
    if (!v || v->type != JSON_STRING || v->len == 0 || v->len > TOKEN_MAX)
        return false;
    for (size_t i = 0; i < v->len; i++)
        if ((unsigned char)v->text[i] <= 0x20 || (unsigned char)v->text[i] >= 0x7f)
            return false;
    return true;
}

static int bearer_parse(struct bearer *b)
{
    struct mem_arena *arena = mem_arena_new();
    const struct json_value *token = NULL, *expires = NULL;
    struct json_value *top;
    int64_t life = LIFE_DEFAULT_S;
    const char *why;
    int err = json_parse(arena, b->body.data ? b->body.data : "", b->body.len, &top, &why);

    if (err == 0)
        err = json_member(top, "token", &token);
    if (err == 0 && !token)
        err = json_member(top, "access_token", &token);
    if (err == 0)
        err = json_member(top, "expires_in", &expires);
    if (err == 0 && !token_ok(token))
        err = ERR_PROTOCOL;
    if (err == 0) {
        if (expires && json_integer(expires, &life) != 0)
            life = LIFE_DEFAULT_S;
        if (life > LIFE_MAX_S)
            life = LIFE_MAX_S;
        b->token = mem_strdup(token->text);
        b->good_until_ms = loop_now_ms(b->p->f->loop) + (uint64_t)life * 800;
    }
    if (b->body.data)
        explicit_bzero(b->body.data, b->body.len);
    str_reset(&b->body);
    mem_arena_free(&arena);
    return err;
}

static void bearer_done(void *ctx, int err, const struct upstream_head *head, const char *why)
{
    struct bearer *b = ctx;
    uint32_t retry_after = 0;
    char text[256];

    b->request = NULL;
    if (err != 0) {
        snprintf(text, sizeof(text), "the token server cannot be asked: %s", why);
        err = err == ERR_TIMEOUT ? ERR_TIMEOUT : ERR_UNAVAILABLE;
    } else if (head->status == 200) {
        err = bearer_parse(b) == 0 ? 0 : ERR_PROTOCOL;
        snprintf(text, sizeof(text), "the token server's answer holds no token");
    } else {
        snprintf(text, sizeof(text), "the token server answered %d", head->status);
        err = head->status == 429                          ? ERR_BUSY
              : head->status >= 500                        ? ERR_UNAVAILABLE
              : head->status == 401 || head->status == 403 ? ERR_DENIED
                                                           : ERR_PROTOCOL;
        retry_after = limit_retry_after(head->retry_after, time(NULL));
    }
    if (err != ERR_BUSY && retry_after == UINT32_MAX)
        retry_after = 0;
    bearer_tell(b, err, retry_after, text);
}

static void scope_append(struct str *url, const char *scope)
{
    while (*scope) {
        size_t len = strcspn(scope, " ");
        char *one = mem_strndup(scope, len);

        if (len > 0) {
            str_puts(url, "&scope=");
            str_percent_encode(url, one);
        }
        free(one);
        scope += len + (scope[len] == ' ');
    }
}

/* Credentials belong to the remotes; their realm may be a sister host, over TLS when the
 * remote is. */
static bool credentials_belong(const struct proxy *p, const char *text)
{
    struct url to;

    if (url_parse(text, &to) != 0)
        return false;
    for (size_t i = 0; i < p->conf->remote_count; i++) {
        const struct conf_remote *r = &p->conf->remotes[i];

        if (site_same(r->host, to.host) && (to.tls || !r->tls))
            return true;
    }
    return false;
}

static bool is_remote(const struct proxy *p, const char *text)
{
    struct url to;

    if (url_parse(text, &to) != 0)
        return false;
    for (size_t i = 0; i < p->conf->remote_count; i++) {
        const struct conf_remote *r = &p->conf->remotes[i];

        if (strcmp(r->host, to.host) == 0 && r->port == to.port && r->tls == to.tls)
            return true;
    }
    return false;
}

static void bearer_ask(struct bearer *b, const struct challenge *c, bool credentials)
{
    struct proxy *p = b->p;
    struct upstream_ask ask = {.proxy = p->conf,
                               .headers = {"Accept: application/json"},
                               .on_body = bearer_body,
                               .on_done = bearer_done,
                               .ctx = b};
    struct str url = {0};

    str_puts(&url, b->url);
    str_puts(&url, strchr(b->url, '?') ? "&service=" : "?service=");
    str_percent_encode(&url, c->service);
    scope_append(&url, c->scope);
    ask.url = url.data;
    ask.any_address =
        p->conf->allow_private || c->inner || p->conf->http_proxy[0] || is_remote(p, b->url);
    if (credentials && credentials_belong(p, b->url)) {
        ask.username = p->conf->username;
        ask.password = bearer_password(p);
        if (!ask.password)
            ask.username = NULL;
    }
    b->request = upstream_start(p->upstream, &ask);
    str_free(&url);
}

static void tokens_trim(struct proxy *p)
{
    uint64_t now = loop_now_ms(p->f->loop);
    struct bearer *b, *next;

    HASH_ITER(hh, p->tokens, b, next)
        if (b->token && (now >= b->good_until_ms || HASH_COUNT(p->tokens) >= TOKENS_MAX))
            bearer_free(b);
}

void bearer_get(struct proxy *p, const char *remote_url, const struct challenge *c,
                bool credentials, struct bearer_wait *wait)
{
    struct bearer *b = bearer_find(p, c, credentials);
    struct str url = {0};

    if (b && b->token) {
        bearer_free(b); /* or it would not be asked for */
        b = NULL;
    }
    if (!b) {
        if (HASH_COUNT(p->tokens) >= TOKENS_MAX)
            tokens_trim(p);
        b = mem_alloc(sizeof(*b));
        b->p = p;
        b->key = key_of(c, credentials);
        TAILQ_INIT(&b->waits);
        if (url_resolve(remote_url, c->realm, &url) != 0) {
            str_reset(&url);
            str_puts(&url, "http://invalid.invalid/"); /* RFC 6761: it never resolves */
        }
        b->url = url.data;
        HASH_ADD_KEYPTR(hh, p->tokens, b->key, strlen(b->key), b);
        bearer_ask(b, c, credentials);
    }
    wait->bearer = b;
    TAILQ_INSERT_TAIL(&b->waits, wait, entry);
}

void bearer_leave(struct bearer_wait *wait)
{
    if (wait->bearer)
        TAILQ_REMOVE(&wait->bearer->waits, wait, entry);
    wait->bearer = NULL;
}

void bearer_drop(struct proxy *p, const char *token)
{
    struct bearer *b, *next;

    HASH_ITER(hh, p->tokens, b, next)
        if (b->token && strcmp(b->token, token) == 0)
            bearer_free(b);
}

size_t bearer_count(const struct proxy *p)
{
    return HASH_COUNT(p->tokens);
}
