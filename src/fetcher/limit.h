/*
 * limit.h - "too many requests" of remotes: what is left alone for how long, and how it is found
 * out that it is over.
 *
 * Remotes count apart what differs: pulls, HEADs, bytes from a CDN, tokens. So there is a limit a
 * remote and kind of request (enum fetch_limit), and a 429 closes that one alone. It is closed for
 * minutes at most, whatever the remote said; then one request, the probe, asks, and the others
 * wait for what becomes of it.
 */
#ifndef ENTREPOT_FETCHER_LIMIT_H
#define ENTREPOT_FETCHER_LIMIT_H

#include "base/states.h"
#include "ipc/msg_fetch.h"

#include <sys/queue.h>
#include <time.h>

/* Of a 429: closed that long at most, and told to clients as that at most. */
#define LIMIT_CLOSED_MAX_S 300
/* Of ratelimit-remaining without "w=" (as Docker Hub's), and with. */
#define LIMIT_WINDOW_S     21600
#define LIMIT_WINDOW_MAX_S 86400

#define LIMIT_STATES(X)                                                                            \
    /* requests pass: limit_open */                                                                \
    X(LIMIT_OPEN, TO(LIMIT_CLOSED))                                                                \
    /* none does until `until_ms`; whoever comes first then is the probe: limit_close */           \
    X(LIMIT_CLOSED, TO(LIMIT_CLOSED) | TO(LIMIT_PROBED) | TO(LIMIT_OPEN))                          \
    /* the probe is under way, the others are in line: limit_ask */                                \
    X(LIMIT_PROBED, TO(LIMIT_OPEN) | TO(LIMIT_CLOSED))
enum limit_state { LIMIT_STATES(STATES_ENUM) };
extern const struct states limit_states;

struct limit;

/* Of one request; embedded in its owner, zero before. */
struct limit_pass {
    void (*go)(struct limit_pass *pass); /* no more in line: ask again */
    struct limit *limit;                 /* limit.c's own: in its line, or its probe */
    TAILQ_ENTRY(limit_pass) entry;
};

struct limit {
    enum limit_state state;
    uint64_t until_ms;
    unsigned strikes; /* closed so often since it was open */
    struct limit_pass *probe;
    TAILQ_HEAD(, limit_pass) line;
};

enum limit_word { LIMIT_GO, LIMIT_WAIT, LIMIT_NO };

void limit_init(struct limit *l);
/* May a request pass? WAIT: `go` follows, unless it leaves. */
enum limit_word limit_ask(struct limit *l, struct limit_pass *pass, uint64_t now_ms);
/* The remote said 429. `wait_s`: what it asked for, UINT32_MAX: nothing that is understood; then
 * it is a second, and twice as long each time. Returns for how many seconds it is closed. */
uint32_t limit_close(struct limit *l, uint64_t now_ms, uint32_t wait_s);
void limit_open(struct limit *l);
/* The remote answered otherwise. If this is the probe, that opens. */
void limit_passed(struct limit_pass *pass);
/* It is over. A probe without an answer leaves its place to the next. Harmless otherwise. */
void limit_leave(struct limit_pass *pass);
/* Seconds until a probe is let through; 0: it may be asked. */
uint32_t limit_closed_s(const struct limit *l, uint64_t now_ms);

/* What a remote said of pulls: zero-initialise. */
struct limit_rate {
    uint64_t limit, left; /* UINT64_MAX: not told */
    uint64_t until_ms;    /* counts until then */
};
/* The values of ratelimit-limit and ratelimit-remaining; NULL: not there. */
void limit_rate_take(struct limit_rate *rate, const char *limit, const char *remaining,
                     uint64_t now_ms);
bool limit_rate_known(const struct limit_rate *rate, uint64_t now_ms);

/* Retry-After (RFC 9110 section 10.2.3) in seconds from `now`: a number, perhaps with a fraction
 * or "s", or a date in one of the three forms of section 5.6.7 or as RFC 3339 writes it.
 * UINT32_MAX: it is none of these, or NULL. More than LIMIT_CLOSED_MAX_S is that much. */
uint32_t limit_retry_after(const char *text, time_t now);

#endif
