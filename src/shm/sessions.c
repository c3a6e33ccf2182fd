/*
 * sessions.c - how many upload sessions are open, of each store and of each holder.
 *
 * An anonymous shared mapping made by the master before it forks. Each count is one word; a
 * process that dies between a file and its count leaves a difference of one, until the catalog
 * counts the files.
 */
#include "shm/sessions.h"

#include "base/digest.h"
#include "base/mem.h"
#include "base/siphash.h"
#include "base/str.h"
#include "shm/index_format.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PLACES 65536
/* Behind the holders': those of stores. */
#define WORDS (PLACES + INDEX_STORES_MAX)

struct sessions_place {
    _Atomic uint32_t open;
    _Atomic uint32_t moves; /* sessions that came or went, ever */
};

struct sessions {
    struct sessions_place at[WORDS];
};

struct sessions_count {
    struct sessions *sessions;
    uint32_t moves[WORDS], found[WORDS];
};

int sessions_new(struct sessions **sessions_r)
{
    struct sessions *s =
        mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (s == MAP_FAILED)
        return err_from_errno(errno);
    *sessions_r = s;
    return 0;
}

uint32_t sessions_tag(const char *store_id, const char *holder)
{
    uint8_t key[16] = {0};
    uint64_t hash[2];
    int err = str_unhex(store_id, strlen(store_id), key, sizeof(key));

    (void)err; /* a store of a test has none: its tags are not keyed */
    siphash_128(key, holder, strlen(holder), hash);
    return (uint32_t)hash[0];
}

uint32_t sessions_tag_of(const char *id)
{
    uint8_t tag[SESSIONS_TAG_LEN / 2];

    if (strnlen(id, SESSIONS_ID_LEN) < SESSIONS_ID_LEN ||
        str_unhex(id + SESSIONS_ID_LEN - SESSIONS_TAG_LEN, SESSIONS_TAG_LEN, tag, sizeof(tag)) != 0)
        return 0;
    return (uint32_t)tag[0] << 24 | (uint32_t)tag[1] << 16 | (uint32_t)tag[2] << 8 | tag[3];
}

static bool add_below(struct sessions_place *at, uint64_t max)
{
    uint32_t now = atomic_load(&at->open);

    do {
        if (now >= max)
            return false;
    } while (!atomic_compare_exchange_weak(&at->open, &now, now + 1));
    atomic_fetch_add(&at->moves, 1);
    return true;
}

/* The catalog may have counted already what goes now. */
static void drop_one(struct sessions_place *at)
{
    uint32_t now = atomic_load(&at->open);

    while (now > 0 && !atomic_compare_exchange_weak(&at->open, &now, now - 1))
        ;
    atomic_fetch_add(&at->moves, 1);
}

int sessions_add(struct sessions *s, size_t store, uint32_t tag, uint64_t share, uint64_t max)
{
    if (!add_below(&s->at[tag % PLACES], share))
        return ERR_QUOTA;
    if (add_below(&s->at[PLACES + store], max))
        return 0;
    drop_one(&s->at[tag % PLACES]);
    return ERR_BUSY;
}

void sessions_drop(struct sessions *s, size_t store, uint32_t tag)
{
    drop_one(&s->at[tag % PLACES]);
    drop_one(&s->at[PLACES + store]);
}

struct sessions_count *sessions_count_begin(struct sessions *s)
{
    struct sessions_count *count = mem_alloc(sizeof(*count));

    count->sessions = s;
    for (size_t i = 0; i < WORDS; i++)
        count->moves[i] = atomic_load(&s->at[i].moves);
    return count;
}

void sessions_count_one(struct sessions_count *count, size_t store, uint32_t tag)
{
    count->found[tag % PLACES]++;
    count->found[PLACES + store]++;
}

/* As near to `now` as what was found allows when so many came or went meanwhile. */
static uint32_t corrected(uint32_t now, uint32_t found, uint32_t moves)
{
    uint32_t least = found > moves ? found - moves : 0;
    uint32_t most = found + moves;

    return now < least ? least : now > most ? most : now;
}

void sessions_count_end(struct sessions_count **count_p, bool whole)
{
    struct sessions_count *count = *count_p;

    for (size_t i = 0; i < WORDS && whole; i++) {
        struct sessions_place *at = &count->sessions->at[i];
        uint32_t moves = atomic_load(&at->moves) - count->moves[i];
        uint32_t now = atomic_load(&at->open), is;

        do {
            is = corrected(now, count->found[i], moves);
        } while (now != is && !atomic_compare_exchange_weak(&at->open, &now, is));
    }
    free(count);
    *count_p = NULL;
}
