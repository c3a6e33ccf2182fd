/*
 * upstream.c - libcurl's multi-socket interface on our loop.
 *
 * The fetcher. Owns curl's handles and, through them, the connections to upstreams.
 * curl must not be called back from inside its callbacks; so requests begin and
 * cancelled ones end after the running round. A crash here cuts the downloads, which
 * the next fetcher resumes.
 */
#include "fetcher/upstream.h"

#include "base/container.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "fetcher/address.h"
#include "fetcher/headers.h"
#include "fetcher/url.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <unistd.h>

#define CONNECTIONS_KEPT 32
#define HOST_CONNECTIONS 32

struct watch {
    struct upstream *u;
    struct loop_fd fd;
};

struct upstream_request {
    struct upstream *u;
    struct upstream_ask ask;
    CURL *easy;
    struct curl_slist *list;
    struct upstream_head head;
    struct headers headers;
    size_t head_bytes;
    struct loop_timer stall;
    char error[CURL_ERROR_SIZE];
    enum upstream_state state;
    bool added;                          /* curl has it, and must be asked to let go of it */
    bool paused;                         /* the asker has no room: that is no stall */
    bool refused_address;                /* why it ends: the address is private */
    TAILQ_ENTRY(upstream_request) entry; /* of starting or ending */
    struct bucket_wait turn;
};

struct upstream {
    struct loop *loop;
    CURLM *multi;
    struct loop_timer timer;
    TAILQ_HEAD(, upstream_request) starting, ending;
    bool scheduled;
};

STATES_DEFINE(upstream_states, "an exchange with an upstream", UPSTREAM_STATES);

static void upstream_move(struct upstream_request *r, enum upstream_state state)
{
    states_must(&upstream_states, r->state, state);
    r->state = state;
}

const char *upstream_library(void)
{
    return curl_version();
}

static void request_free(struct upstream_request *r)
{
    struct upstream *u = r->u;

    bucket_leave(&r->turn);
    loop_timer_cancel(u->loop, &r->stall);
    if (r->added)
        curl_multi_remove_handle(u->multi, r->easy);
    curl_easy_cleanup(r->easy);
    curl_slist_free_all(r->list);
    headers_reset(&r->headers);
    loop_free_later(u->loop, r);
}

/* What curl's codes mean, and what a client may hear of them: nothing that names hosts, ports or
 * files, as curl's own words do. */
static const struct failure {
    CURLcode code;
    int err;
    const char *told;
} failures[] = {
    {CURLE_OK, 0, ""},
    {CURLE_COULDNT_RESOLVE_HOST, ERR_UNAVAILABLE, "its name is not known"},
    {CURLE_COULDNT_RESOLVE_PROXY, ERR_UNAVAILABLE, "its name is not known"},
    {CURLE_COULDNT_CONNECT, ERR_UNAVAILABLE, "it cannot be reached"},
    {CURLE_SSL_CONNECT_ERROR, ERR_UNAVAILABLE, "no TLS connection can be made to it"},
    {CURLE_PEER_FAILED_VERIFICATION, ERR_UNAVAILABLE, "its certificate is not to be trusted"},
    {CURLE_SSL_CACERT_BADFILE, ERR_UNAVAILABLE, "the CAs to verify it by cannot be read"},
    {CURLE_SSL_CERTPROBLEM, ERR_UNAVAILABLE, "no TLS connection can be made to it"},
    {CURLE_SSL_CIPHER, ERR_UNAVAILABLE, "no TLS connection can be made to it"},
    {CURLE_PARTIAL_FILE, ERR_CLOSED, "it broke the connection off"},
    {CURLE_RECV_ERROR, ERR_CLOSED, "it broke the connection off"},
    {CURLE_SEND_ERROR, ERR_CLOSED, "it broke the connection off"},
    {CURLE_GOT_NOTHING, ERR_CLOSED, "it broke the connection off"},
    {CURLE_HTTP2, ERR_CLOSED, "it broke the connection off"},
    {CURLE_HTTP2_STREAM, ERR_CLOSED, "it broke the connection off"},
};

static struct failure failure_of(const struct upstream_request *r, CURLcode code)
{
    if (r->refused_address)
        return (struct failure){code, ERR_DENIED,
                                "the address is private and allow_private is off"};
    if (code == CURLE_OPERATION_TIMEDOUT) /* curl's own: connecting */
        return (struct failure){code, r->head.status ? ERR_TIMEOUT : ERR_UNAVAILABLE,
                                "it did not answer in time"};
    for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++)
        if (failures[i].code == code)
            return failures[i];
    return (struct failure){code, ERR_PROTOCOL,
                            r->head_bytes > UPSTREAM_HEAD_MAX ? "the response's head is too long"
                                                              : "its answer cannot be used"};
}

static void request_done(struct upstream_request *r, int err, const char *why)
{
    if (r->state >= UPSTREAM_FINISHED)
        return;
    upstream_move(r, UPSTREAM_FINISHED);
    r->ask.on_done(r->ask.ctx, err, &r->head, why);
    request_free(r);
}

/* The log is the operator's: there the rest stands, without the path and its secrets. */
static void log_failure(const struct upstream_request *r, CURLcode code)
{
    const char *text = NULL;
    struct url url;

    curl_easy_getinfo(r->easy, CURLINFO_EFFECTIVE_URL, &text);
    if (!text || url_parse(text, &url) != 0)
        snprintf(url.host, sizeof(url.host), "?");
    log_info("an exchange with a remote failed", "host=%s reason=%s", log_quote(url.host),
             log_quote(r->error[0] ? r->error : curl_easy_strerror(code)));
}

static void upstream_collect(struct upstream *u)
{
    CURLMsg *m;
    int left;

    while ((m = curl_multi_info_read(u->multi, &left)) != NULL) {
        struct upstream_request *r = NULL;
        CURLcode code = m->data.result;
        struct failure failure;

        if (m->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &r);
        if (r->state >= UPSTREAM_FINISHED)
            continue;
        failure = failure_of(r, code);
        if (code != CURLE_OK && code != CURLE_WRITE_ERROR)
            log_failure(r, code);
        request_done(r, failure.err, failure.told);
    }
}

static void upstream_act(struct upstream *u, curl_socket_t fd, int what)
{
    int running;

    curl_multi_socket_action(u->multi, fd, what, &running);
    upstream_collect(u);
}

static void watch_ready(struct loop_fd *fd, uint32_t events)
{
    struct watch *w = CONTAINER_OF(fd, struct watch, fd);
    int what = (events & (EPOLLIN | EPOLLHUP) ? CURL_CSELECT_IN : 0) |
               (events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
               (events & EPOLLERR ? CURL_CSELECT_ERR : 0);

    upstream_act(w->u, fd->fd, what);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *socket_ctx)
{
    struct upstream *u = ctx;
    struct watch *w = socket_ctx;
    uint32_t events = (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u);

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (w) {
            loop_fd_remove(u->loop, &w->fd);
            loop_free_later(u->loop, w);
            curl_multi_assign(u->multi, fd, NULL);
        }
        return 0;
    }
    if (w) {
        loop_fd_events(u->loop, &w->fd, events);
        return 0;
    }
    w = mem_alloc(sizeof(*w));
    w->u = u;
    w->fd.fd = fd;
    w->fd.ready = watch_ready;
    if (loop_fd_add(u->loop, &w->fd, events) != 0) {
        free(w);
        return -1;
    }
    curl_multi_assign(u->multi, fd, w);
    return 0;
}

static int on_timer(CURLM *multi, long ms, void *ctx)
{
    struct upstream *u = ctx;

    (void)multi;
    if (ms < 0)
        loop_timer_cancel(u->loop, &u->timer);
    else
        loop_timer_set(u->loop, &u->timer, (uint64_t)ms);
    return 0;
}

static void timer_fire(struct loop_timer *timer)
{
    upstream_act(CONTAINER_OF(timer, struct upstream, timer), CURL_SOCKET_TIMEOUT, 0);
}

static curl_socket_t on_open(void *ctx, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct upstream_request *r = ctx;

    (void)purpose;
    if (!r->ask.any_address && !address_public(&address->addr)) {
        r->refused_address = true;
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* Before a byte is sent: over a connection just made, or over one that an earlier request left,
 * for which on_open was never asked. */
static int on_connection(void *ctx, char *peer, char *local, int peer_port, int local_port)
{
    struct upstream_request *r = ctx;

    (void)local;
    (void)peer_port;
    (void)local_port;
    r->head.inner = !address_text_public(peer);
    if (!r->head.inner || r->ask.any_address)
        return CURL_PREREQFUNC_OK;
    r->refused_address = true;
    return CURL_PREREQFUNC_ABORT;
}

static void stall_fire(struct loop_timer *timer)
{
    struct upstream_request *r = CONTAINER_OF(timer, struct upstream_request, stall);

    if (r->paused || r->turn.bucket) {
        loop_timer_set(r->u->loop, timer, r->ask.proxy->stall_timeout_ms);
        return;
    }
    request_done(r, ERR_TIMEOUT,
                 r->head.status ? "no byte came for the stall timeout"
                                : "no answer within the stall timeout");
}

static void request_alive(struct upstream_request *r)
{
    loop_timer_set(r->u->loop, &r->stall, r->ask.proxy->stall_timeout_ms);
}

static void head_fill(struct upstream_request *r)
{
    curl_off_t length = -1;
    long status = 0;

    curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(r->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    headers_show(&r->headers, &r->head);
    r->head.status = (int)status;
    r->head.length = length < 0 ? UINT64_MAX : (uint64_t)length;
}

static size_t on_header(char *line, size_t size, size_t count, void *ctx)
{
    struct upstream_request *r = ctx;
    size_t len = size * count;

    if (r->state >= UPSTREAM_FINISHED)
        return 0;
    request_alive(r);
    r->head_bytes += len;
    if (r->head_bytes > UPSTREAM_HEAD_MAX)
        return 0;
    if (len >= 5 && memcmp(line, "HTTP/", 5) == 0)
        headers_reset(&r->headers);
    else if (len > 2)
        headers_take(&r->headers, line, len);
    if (len <= 2)
        head_fill(r);
    return len;
}

/* The proxy may receive again. */
static void bucket_go(struct bucket_wait *wait)
{
    struct upstream_request *r = CONTAINER_OF(wait, struct upstream_request, turn);

    request_alive(r);
    curl_easy_pause(r->easy, CURLPAUSE_CONT);
}

static enum upstream_take tell_head(struct upstream_request *r)
{
    head_fill(r);
    upstream_move(r, UPSTREAM_TOLD);
    return r->ask.on_head ? r->ask.on_head(r->ask.ctx, &r->head) : UPSTREAM_TAKEN;
}

static enum upstream_take tell_body(struct upstream_request *r, const char *data, size_t len)
{
    enum upstream_take take =
        r->ask.on_body ? r->ask.on_body(r->ask.ctx, data, len) : UPSTREAM_TAKEN;

    if (take == UPSTREAM_PAUSE && r->ask.bucket)
        bucket_return(r->ask.bucket, len);
    return take;
}

static size_t on_write(char *data, size_t size, size_t count, void *ctx)
{
    struct upstream_request *r = ctx;
    size_t len = size * count;
    enum upstream_take take = UPSTREAM_TAKEN;

    if (r->state >= UPSTREAM_FINISHED)
        return 0;
    request_alive(r);
    if (r->state == UPSTREAM_RUNNING)
        take = tell_head(r);
    if (take == UPSTREAM_TAKEN && r->ask.bucket && !bucket_take(r->ask.bucket, len, &r->turn))
        return CURL_WRITEFUNC_PAUSE;
    if (take == UPSTREAM_TAKEN)
        take = tell_body(r, data, len);
    if (take == UPSTREAM_ABORT)
        return 0;
    r->paused = take == UPSTREAM_PAUSE;
    return r->paused ? CURL_WRITEFUNC_PAUSE : len;
}

/* Outside curl's callbacks: removes requests that were cancelled in one, and begins those that
 * were asked for in one. */
static void upstream_after(void *ctx)
{
    struct upstream *u = ctx;
    struct upstream_request *r;

    u->scheduled = false;
    while ((r = TAILQ_FIRST(&u->ending)) != NULL) {
        TAILQ_REMOVE(&u->ending, r, entry);
        request_free(r);
    }
    while ((r = TAILQ_FIRST(&u->starting)) != NULL) {
        TAILQ_REMOVE(&u->starting, r, entry);
        upstream_move(r, UPSTREAM_RUNNING);
        r->added = true;
        MUST(curl_multi_add_handle(u->multi, r->easy) == CURLM_OK);
    }
}

static void upstream_schedule(struct upstream *u)
{
    if (!u->scheduled)
        loop_after_round(u->loop, upstream_after, u);
    u->scheduled = true;
}

static void options_connection(struct upstream_request *r)
{
    const struct conf_proxy *p = r->ask.proxy;
    CURL *e = r->easy;

    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    curl_easy_setopt(e, CURLOPT_PIPEWAIT, 1L);
    curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)p->connect_timeout_ms);
    curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, p->tls_verify ? 1L : 0L);
    curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, p->tls_verify ? 2L : 0L);
    if (p->ca_file[0]) {
        curl_easy_setopt(e, CURLOPT_CAINFO, p->ca_file);
        curl_easy_setopt(e, CURLOPT_CAPATH, NULL); /* else the system's directory counts as well */
    }
    curl_easy_setopt(e, CURLOPT_PROXY, p->http_proxy);
    curl_easy_setopt(e, CURLOPT_NOPROXY, ""); /* no host is spared from it */
    curl_easy_setopt(e, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, on_open);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, r);
    curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, on_connection);
    curl_easy_setopt(e, CURLOPT_PREREQDATA, r);
    curl_easy_setopt(e, CURLOPT_BUFFERSIZE, 131072L);
}

struct upstream_request *upstream_start(struct upstream *u, const struct upstream_ask *ask)
{
    struct upstream_request *r = mem_alloc(sizeof(*r));
    CURL *e = curl_easy_init();

    MUST(e);
    r->u = u;
    r->ask = *ask;
    r->easy = e;
    r->head.length = UINT64_MAX;
    r->stall.fire = stall_fire;
    r->turn.go = bucket_go;
    for (size_t i = 0; i < UPSTREAM_HEADERS_MAX && ask->headers[i]; i++)
        r->list = curl_slist_append(r->list, ask->headers[i]);
    curl_easy_setopt(e, CURLOPT_PRIVATE, r);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, r->error);
    curl_easy_setopt(e, CURLOPT_URL, ask->url);
    curl_easy_setopt(e, CURLOPT_NOBODY, ask->head ? 1L : 0L);
    curl_easy_setopt(e, CURLOPT_HTTPHEADER, r->list);
    curl_easy_setopt(e, CURLOPT_USERAGENT, "entrepot");
    /* Set, so that curl decodes what comes encoded all the same. */
    curl_easy_setopt(e, CURLOPT_ACCEPT_ENCODING, "identity");
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, r);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_write);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, r);
    if (ask->username) {
        curl_easy_setopt(e, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
        curl_easy_setopt(e, CURLOPT_USERNAME, ask->username);
        curl_easy_setopt(e, CURLOPT_PASSWORD, ask->password);
    }
    options_connection(r);
    TAILQ_INSERT_TAIL(&u->starting, r, entry);
    loop_timer_set(u->loop, &r->stall,
                   ask->proxy->connect_timeout_ms + ask->proxy->stall_timeout_ms);
    upstream_schedule(u);
    return r;
}

void upstream_cancel(struct upstream_request *r)
{
    if (r->state >= UPSTREAM_FINISHED)
        return;
    upstream_move(r, UPSTREAM_CANCELLED);
    loop_timer_cancel(r->u->loop, &r->stall);
    if (!r->added)
        TAILQ_REMOVE(&r->u->starting, r, entry);
    TAILQ_INSERT_TAIL(&r->u->ending, r, entry);
    upstream_schedule(r->u);
}

void upstream_resume(struct upstream_request *r)
{
    if (!r->paused || r->state >= UPSTREAM_FINISHED)
        return;
    r->paused = false;
    request_alive(r);
    curl_easy_pause(r->easy, CURLPAUSE_CONT);
}

struct upstream *upstream_new(struct loop *loop)
{
    struct upstream *u = mem_alloc(sizeof(*u));

    MUST(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
    MUST(curl_version_info(CURLVERSION_NOW)->features & CURL_VERSION_ASYNCHDNS);
    u->loop = loop;
    u->timer.fire = timer_fire;
    TAILQ_INIT(&u->starting);
    TAILQ_INIT(&u->ending);
    u->multi = curl_multi_init();
    MUST(u->multi);
    curl_multi_setopt(u->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(u->multi, CURLMOPT_SOCKETDATA, u);
    curl_multi_setopt(u->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(u->multi, CURLMOPT_TIMERDATA, u);
    curl_multi_setopt(u->multi, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS_KEPT);
    curl_multi_setopt(u->multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)HOST_CONNECTIONS);
    return u;
}
