/*
 * readers.c - questions for lists, one a round of the loop, the askers by turns.
 *
 * Runs in the catalog. Owns the waiting questions; a crash leaves the askers with EOF, and
 * they ask again. An asker is a peer of the socket: a worker whose clients read much lets
 * another's, and the operator's tool, wait for one slice of its own and no more.
 */
#include "catalog/readers.h"

#include "base/container.h"
#include "base/mem.h"

#include <stdlib.h>
#include <sys/queue.h>

#define WAITING_MAX 8192

struct reader_question {
    struct serve_return to;
    struct str message;
    STAILQ_ENTRY(reader_question) entry;
};

struct reader {
    uint64_t peer;
    STAILQ_HEAD(, reader_question) questions; /* never empty */
    TAILQ_ENTRY(reader) entry;
};

struct readers {
    struct loop *loop;
    void (*answer)(struct serve_return to, struct msg_reader *question, void *ctx);
    void *ctx;
    struct loop_timer next;
    TAILQ_HEAD(, reader) waiting; /* the first one's turn is next */
    size_t count;                 /* questions of all */
    bool served;                  /* one, in this round */
};

static void question_free(struct readers *readers, struct reader *reader)
{
    struct reader_question *q = STAILQ_FIRST(&reader->questions);

    STAILQ_REMOVE_HEAD(&reader->questions, entry);
    readers->count--;
    str_free(&q->message);
    free(q);
}

static void reader_free(struct readers *readers, struct reader *reader)
{
    while (!STAILQ_EMPTY(&reader->questions))
        question_free(readers, reader);
    TAILQ_REMOVE(&readers->waiting, reader, entry);
    free(reader);
}

static void schedule(struct readers *readers)
{
    if (!TAILQ_EMPTY(&readers->waiting) && !readers->served)
        loop_timer_set(readers->loop, &readers->next, 0);
}

/* Only now: a timer that is set while timers fire may fire in the same round. */
static void round_over(void *ctx)
{
    struct readers *readers = ctx;

    readers->served = false;
    schedule(readers);
}

static void serve_next(struct loop_timer *timer)
{
    struct readers *readers = CONTAINER_OF(timer, struct readers, next);
    struct reader *reader = TAILQ_FIRST(&readers->waiting);
    struct reader_question *q;
    struct serve_return to;
    struct msg_reader question;
    struct str message;

    if (!reader)
        return;
    q = STAILQ_FIRST(&reader->questions);
    to = q->to;
    message = q->message;
    q->message = (struct str){0};
    question_free(readers, reader);
    if (STAILQ_EMPTY(&reader->questions)) {
        reader_free(readers, reader);
    } else {
        TAILQ_REMOVE(&readers->waiting, reader, entry);
        TAILQ_INSERT_TAIL(&readers->waiting, reader, entry);
    }
    readers->served = true;
    loop_after_round(readers->loop, round_over, readers);
    if (msg_reader_init(&question, message.data, message.len) == 0)
        readers->answer(to, &question, readers->ctx);
    str_free(&message);
}

struct readers *readers_new(struct loop *loop,
                            void (*answer)(struct serve_return to, struct msg_reader *question,
                                           void *ctx),
                            void *ctx)
{
    struct readers *readers = mem_alloc(sizeof(*readers));

    readers->loop = loop;
    readers->answer = answer;
    readers->ctx = ctx;
    readers->next.fire = serve_next;
    TAILQ_INIT(&readers->waiting);
    return readers;
}

void readers_free(struct readers **readers_p)
{
    struct readers *readers = *readers_p;
    struct reader *reader;

    *readers_p = NULL;
    while ((reader = TAILQ_FIRST(&readers->waiting)) != NULL)
        reader_free(readers, reader);
    loop_timer_cancel(readers->loop, &readers->next);
    free(readers);
}

static struct reader *reader_find(struct readers *readers, uint64_t peer)
{
    struct reader *reader;

    TAILQ_FOREACH(reader, &readers->waiting, entry)
        if (reader->peer == peer)
            return reader;
    return NULL;
}

int readers_add(struct readers *readers, struct serve_return to, const struct msg_reader *question)
{
    struct reader *reader = reader_find(readers, to.peer);
    struct reader_question *q;

    if (readers->count >= WAITING_MAX)
        return ERR_BUSY;
    if (!reader) {
        reader = mem_alloc(sizeof(*reader));
        reader->peer = to.peer;
        STAILQ_INIT(&reader->questions);
        TAILQ_INSERT_TAIL(&readers->waiting, reader, entry);
    }
    q = mem_alloc(sizeof(*q));
    q->to = to;
    str_append(&q->message, question->data, question->len);
    STAILQ_INSERT_TAIL(&reader->questions, q, entry);
    readers->count++;
    schedule(readers);
    return 0;
}

void readers_gone(struct readers *readers, uint64_t peer)
{
    struct reader *reader = reader_find(readers, peer);

    if (reader)
        reader_free(readers, reader);
}
